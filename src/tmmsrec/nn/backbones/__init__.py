"""Backbones: a history read left to right.  A new one is one file in this folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from tmmsrec.nn.look import Look


class Backbone(ABC):
    """A sequence encoder: a value.

    ``causal`` says that a step's vector depends on that step and those before it alone; ``probe`` tries that out.

    What it builds maps (x [B, L, d] right-padded, mask [B, L] bool or None) to [B, L, d]; the mask, where given, says which steps
    hold something, among them steps inside a history whose item lacks the modality.  One that ``looks`` may be given a Look as a
    third.  It may also have a method ``newest(x, mask, last)``, a shorter way to the rows of that result at the columns ``last``
    [B]; see ``newest``.
    """

    causal: ClassVar[bool] = True
    source: ClassVar[str] = "its author"

    @property
    def looks(self) -> bool:
        """Whether it can look at a history as a time encoder says."""
        return False

    @property
    def stacks(self) -> bool:
        """Whether encoders of several streams may be read as one: nothing in them is written in place or drawn but by Dropout."""
        return False

    @abstractmethod
    def build(self, width: int, length: int) -> nn.Module:
        """The module for streams of ``width`` and at most ``length`` steps."""


_NOISE = 1e-4  # by which equal states may differ: some ways to compute, such as by FFT, mix rounding of later steps in
_probed: set[tuple[type, str, int, int]] = set()


def probe(backbone: Backbone, encoder: nn.Module, width: int, length: int) -> None:
    """Try out what a backbone promises on two random histories, once for each backbone, width and length.

    Raises:
        ValueError: it takes other arguments, gives another shape, or calls itself causal and changes a state by what comes later.
    """
    parameter, this = next(encoder.parameters(), torch.empty(0)), (type(backbone), repr(backbone), width, length)
    if this in _probed or parameter.is_meta:
        return
    name, was = type(backbone).__name__, encoder.training
    x = torch.randn(2, length, width, generator=torch.Generator().manual_seed(0)).to(parameter.device)
    other = x.clone()
    other[:, length // 2 :] = other[:, length // 2 :].flip(0)
    mask = torch.ones(2, length, dtype=torch.bool, device=x.device)
    with torch.no_grad():
        try:
            states, changed = (encoder.eval()(one, mask) for one in (x, other))
        except TypeError as problem:
            raise ValueError(f"{name}: what it builds takes (x [B, L, d], mask [B, L] or None): {problem}") from problem
        finally:
            encoder.train(was)
    if states.shape != x.shape:
        raise ValueError(f"{name} gave {[*states.shape]} for streams of {[*x.shape]}: a backbone gives a vector for every step")
    ahead = float((states - changed)[:, : length // 2].abs().max()) if length > 1 else 0.0
    if backbone.causal and ahead > _NOISE * max(1.0, float(states.abs().max())):
        raise ValueError(
            f"{name} calls itself causal, but what comes later changes a state by {ahead:.3g}: each step would see its own target. "
            "Let it read earlier steps only, or say causal = False"
        )
    _probed.add(this)


def newest(encoder: nn.Module, x: Tensor, mask: Tensor | None, last: Tensor, look: Look | None = None) -> Tensor:
    """[B, d] the rows of ``encoder(x, mask)`` at the columns ``last`` [B]: all that ranking needs."""
    looking = () if look is None else (look,)
    shorter = getattr(encoder, "newest", None)
    if shorter is not None:
        found: Tensor = shorter(x, mask, last, *looking)
        return found
    whole: Tensor = encoder(x, mask, *looking)
    return whole[torch.arange(last.shape[0], device=last.device), last]
