"""Losses: functions of scores, and the values that choose between them.

A loss value gets the states [T, D] of the steps that have a target, their targets [T], the negatives drawn for them, and
``items``, which gives item vectors: ``items(rows) -> [..., D]`` and ``items() -> [I+1, D]``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

ItemVectors = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Negatives of a batch.

    Attributes:
        items: [T, K] for every step its own, or [K] shared by all steps.
        expected: [K] float, how often each shared negative was expected in the draw; empty where each step has its own.
    """

    items: Tensor
    expected: Tensor


def bce(positive: Tensor, negative: Tensor) -> Tensor:
    """Eq. 14: mean over steps of -ln s(positive) - sum over negatives of ln(1 - s(negative)).

    Shapes: positive [T], negative [T, K].  At scores of zero with K = 1 it is 2 ln 2.
    """
    return functional.softplus(-positive).mean() + functional.softplus(negative).sum(-1).mean()


def cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean over steps of -ln softmax(scores)[target] over all items; scores [T, I+1] with padding in column 0, left out."""
    return functional.cross_entropy(scores[:, 1:], targets - 1)


def sampled_softmax(positive: Tensor, negative: Tensor, expected: Tensor | None = None) -> Tensor:
    """Cross-entropy with the sum over items estimated from a sample.

    The target stands for itself; each negative stands for ``1 / expected`` items (the logQ correction), so that the sum is
    unbiased.

    Args:
        positive: [T].
        negative: [T, K], -inf where the negative is the step's own target.
        expected: [K], how often each negative was expected in the sample; None leaves the correction out.
    """
    if expected is not None:
        negative = negative - expected.log()
    return functional.cross_entropy(
        torch.cat([positive[:, None], negative], dim=1),
        torch.zeros(len(positive), dtype=torch.long, device=positive.device),
    )


class Loss(ABC):
    """A loss: a value."""

    @property
    def per_step(self) -> int:
        """Negatives that each step needs."""
        return 0

    @property
    def shared(self) -> int:
        """Negatives that the whole batch shares."""
        return 0

    @abstractmethod
    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean loss, a scalar: states [T, D], targets [T]."""


@dataclass(frozen=True)
class BCE(Loss):
    """Binary cross-entropy with random negatives at each step, Eq. 14; the paper draws one."""

    negatives: int = 1

    @property
    def per_step(self) -> int:
        """Negatives that each step needs."""
        return self.negatives

    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean over steps."""
        # One look-up for both: the gradient of a big table is dense, so each look-up costs a pass over all of it.
        asked = items(torch.cat([targets[:, None], drawn.items], dim=1))
        scores = torch.einsum("td,tkd->tk", states, asked)
        return bce(scores[:, 0], scores[:, 1:])


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy over every item."""

    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean over steps."""
        return cross_entropy(states @ items().T, targets)


@dataclass(frozen=True)
class SampledSoftmax(Loss):
    """Cross-entropy against a sample of items shared by the batch, with the logQ correction.

    Attributes:
        negatives: size of the sample.
        by: "uniform" draws, or draws by "popularity" in training (corrected for with frequencies of the training part).
        logq: apply the correction.
    """

    negatives: int = 512
    by: Literal["uniform", "popularity"] = "uniform"
    logq: bool = True

    @property
    def shared(self) -> int:
        """Negatives that the whole batch shares."""
        return self.negatives

    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean over steps."""
        whole = items()
        positive = (states * whole[targets]).sum(-1)
        negative = states @ whole[drawn.items].T
        negative = negative.masked_fill(drawn.items == targets[:, None], -math.inf)
        return sampled_softmax(positive, negative, drawn.expected if self.logq else None)
