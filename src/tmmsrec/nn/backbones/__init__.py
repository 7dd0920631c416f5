"""Backbones: a history read left to right.  A new one is one file in this folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn


class Backbone(ABC):
    """A sequence encoder: a value.

    What it builds maps (x [B, L, d] right-padded, mask [B, L] bool or None) to [B, L, d]; the mask, where given, says which steps
    hold something, among them steps inside a history whose item lacks the modality.
    """

    causal: ClassVar[bool] = True

    @abstractmethod
    def build(self, width: int, length: int) -> nn.Module:
        """The module for streams of ``width`` and at most ``length`` steps."""
