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

from tmmsrec.nn.dots import dots
from tmmsrec.nn.softmax import cross_entropy

ItemVectors = Callable[..., Tensor]
Draws = Literal["uniform", "popularity", "batch", "mixed"]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Negatives of a batch.

    Attributes:
        items: [T, K] for every step its own, or [K] shared by all steps.
        expected: [K] float, how often each shared negative was expected in the draw; empty where each step has its own.
        among: I, how many items there are.
    """

    items: Tensor
    expected: Tensor
    among: int


def bce(positive: Tensor, negative: Tensor) -> Tensor:
    """Eq. 14: mean over steps of -ln s(positive) - sum over negatives of ln(1 - s(negative)).

    Shapes: positive [T], negative [T, K].  At scores of zero with K = 1 it is 2 ln 2.
    """
    return functional.softplus(-positive).mean() + functional.softplus(negative).sum(-1).mean()


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
        negative = negative - expected.log().to(negative.dtype)
    return functional.cross_entropy(
        torch.cat([positive[:, None], negative], dim=1),
        torch.zeros(len(positive), dtype=torch.long, device=positive.device),
    )


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking (Rendle et al. 2009): mean of -ln s(positive - negative).

    Shapes: positive [T], negative [T, K].  At equal scores it is ln 2.
    """
    return functional.softplus(negative - positive[:, None]).mean()


def gbce(positive: Tensor, negative: Tensor, among: int, calibration: float) -> Tensor:
    """Generalised BCE of gSASRec (Petrov and Macdonald 2023): the positive's probability raised to beta before the logarithm.

    With K of ``among - 1`` possible negatives drawn, alpha = K / (among - 1) and beta = alpha (t (1 - 1/alpha) + 1/alpha).
    t = 0 gives beta = 1, which is ``bce``; t = 1 gives beta = alpha, which makes the sampled probabilities those of a softmax.

    Shapes: positive [T], negative [T, K].
    """
    alpha = min(1.0, negative.shape[1] / max(1, among - 1))
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    return beta * functional.softplus(-positive).mean() + functional.softplus(negative).sum(-1).mean()


def hinge(positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Mean of max(0, margin - positive + negative); shapes positive [T], negative [T, K]."""
    return functional.relu(margin - positive[:, None] + negative).mean()


def info_nce(scores: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """InfoNCE (van den Oord et al. 2018): each state must find its own target among all targets of the batch.

    Args:
        scores: [T, T] of states (rows) with the targets of all states (columns); the diagonal is right.
        targets: [T]; other columns with a row's own target are left out, as they would be right too.
        temperature: scores are divided by it.
    """
    same = (targets[:, None] == targets).fill_diagonal_(False)
    return functional.cross_entropy(
        (scores / temperature).masked_fill(same, -math.inf), torch.arange(len(targets), device=targets.device)
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

    def for_items(self, n_items: int) -> Loss:
        """The loss that is meant for so many items: this one, where it does not choose by size."""
        return self

    @abstractmethod
    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean loss, a scalar: states [T, D], targets [T]."""


def _asked(states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> tuple[Tensor, Tensor]:
    """Scores [T] of the targets and [T, K] of each step's own negatives."""
    # One look-up for both: the gradient of a big table is dense, so each look-up costs a pass over all of it.
    vectors = items(torch.cat([targets[:, None], drawn.items], dim=1))
    scores = dots(states, vectors)
    return scores[:, 0], scores[:, 1:]


@dataclass(frozen=True)
class _Drawing(Loss):
    """A loss with negatives of each step's own.

    Attributes:
        negatives: how many.
    """

    negatives: int = 1

    def __post_init__(self) -> None:
        if self.negatives < 1:
            raise ValueError(f"{type(self).__name__} needs at least one negative, got {self.negatives}")

    @property
    def per_step(self) -> int:
        """Negatives that each step needs."""
        return self.negatives


@dataclass(frozen=True)
class BCE(_Drawing):
    """Binary cross-entropy with random negatives at each step, Eq. 14; the paper draws one."""

    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean over steps."""
        return bce(*_asked(states, targets, drawn, items))


@dataclass(frozen=True)
class GBCE(_Drawing):
    """Generalised binary cross-entropy, see ``gbce``.

    Attributes:
        calibration: t, from 0 (plain BCE) to 1 (probabilities of a softmax); its authors take .75 with 256 negatives.
    """

    negatives: int = 256
    calibration: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.calibration <= 1:
            raise ValueError(f"GBCE.calibration lies between 0 and 1, got {self.calibration}")

    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean over steps."""
        return gbce(*_asked(states, targets, drawn, items), drawn.among, self.calibration)


@dataclass(frozen=True)
class BPR(_Drawing):
    """Bayesian personalised ranking: the target before each random negative."""

    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean over steps and negatives."""
        return bpr(*_asked(states, targets, drawn, items))


@dataclass(frozen=True)
class Hinge(_Drawing):
    """The target ahead of each random negative by a margin.

    Attributes:
        margin: by how much.
    """

    margin: float = 1.0

    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean over steps and negatives."""
        return hinge(*_asked(states, targets, drawn, items), self.margin)


@dataclass(frozen=True)
class InfoNCE(Loss):
    """The target among the targets of the whole batch, which are so drawn by popularity.

    Attributes:
        temperature: scores are divided by it.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"InfoNCE.temperature must be above 0, got {self.temperature}")

    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean over steps."""
        return info_nce(states @ items(targets).T, targets, self.temperature)


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy over every item."""

    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean over steps."""
        return cross_entropy(states, items(), targets)


@dataclass(frozen=True)
class SampledSoftmax(Loss):
    """Cross-entropy against a sample of items shared by the batch, with the logQ correction.

    Attributes:
        negatives: size of the sample.
        by: how it is drawn: "uniform"; by "popularity" in training; "batch", from the batch's own targets; or "mixed", half of it
            from them and half uniform, so that items that nobody takes are drawn too (Yang et al. 2020).
        logq: correct for how often each was to be expected; popularity is that of the training part.
    """

    negatives: int = 512
    by: Draws = "uniform"
    logq: bool = True

    @property
    def shared(self) -> int:
        """Negatives that the whole batch shares."""
        return self.negatives

    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The mean over steps."""
        asked = torch.cat([targets, drawn.items])
        # In a small catalogue many rows are asked for twice: then all vectors are fewer.
        vectors = items(asked) if len(asked) <= drawn.among else items()[asked]
        positive = (states * vectors[: len(targets)]).sum(-1)
        negative = states @ vectors[len(targets) :].T
        negative = negative.masked_fill(drawn.items == targets[:, None], -math.inf)
        return sampled_softmax(positive, negative, drawn.expected if self.logq else None)


@dataclass(frozen=True)
class BySize(Loss):
    """The loss that suits the size of the catalogue; it is decided when a model is built, and told.

    Cross-entropy multiplies with every item in each step: 128 histories of 8 steps, a million items and d = 128 are 260 GFLOP.

    Attributes:
        bound: the most items for which ``small`` is taken.
        small: up to the bound.
        large: above it.
    """

    bound: int = 200_000
    small: Loss = CrossEntropy()
    large: Loss = SampledSoftmax(1024, "mixed")

    def for_items(self, n_items: int) -> Loss:
        """The one that is taken."""
        return (self.small if n_items <= self.bound else self.large).for_items(n_items)

    @property
    def per_step(self) -> int:
        """Not known before the catalogue is; ``Method.sized`` puts the loss that is taken in the place of this one."""
        raise ValueError("BySize is decided by a catalogue: ask for_items(n)")

    shared = per_step

    def __call__(self, states: Tensor, targets: Tensor, drawn: Drawn, items: ItemVectors) -> Tensor:
        """The loss that is taken."""
        return self.for_items(drawn.among)(states, targets, drawn, items)
