"""Backbones: a history read left to right.  A new one is one file in this folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from tmmsrec.nn.look import Look


class Backbone(ABC):
    """A sequence encoder: a value.

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


def newest(encoder: nn.Module, x: Tensor, mask: Tensor | None, last: Tensor, look: Look | None = None) -> Tensor:
    """[B, d] the rows of ``encoder(x, mask)`` at the columns ``last`` [B]: all that ranking needs."""
    looking = () if look is None else (look,)
    shorter = getattr(encoder, "newest", None)
    if shorter is not None:
        found: Tensor = shorter(x, mask, last, *looking)
        return found
    whole: Tensor = encoder(x, mask, *looking)
    return whole[torch.arange(last.shape[0], device=last.device), last]
