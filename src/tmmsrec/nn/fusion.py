"""Fusion: streams in, streams out, acting on the last axis only.

The two-stage fusion of section 2.6 is ``Apart``: time is added to each stream, and the streams stay apart until the score.  The
others are the early fusions of Table 6, which make one stream; the same map then makes one item row for the score.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn


class Fusion(ABC):
    """A way to bring streams together: a value."""

    apart: ClassVar[bool] = False

    @abstractmethod
    def build(self, width: int, streams: int) -> nn.Module:
        """The module for ``streams`` streams of ``width``."""


@dataclass(frozen=True)
class Apart(Fusion):
    """Streams stay apart; their scores are summed, Eq. 12-13.

    Attributes:
        one_encoder: all streams run through the same backbone, as the authors' code does; the paper (Eq. 10) gives each its own.
    """

    one_encoder: bool = False

    apart: ClassVar[bool] = True

    def build(self, width: int, streams: int) -> nn.Module:
        """A module that changes nothing."""
        return _Apart()


@dataclass(frozen=True)
class Add(Fusion):
    """The sum of the streams (TMMSRec-add of Table 6)."""

    def build(self, width: int, streams: int) -> nn.Module:
        """A module without parameters."""
        return _Add()


@dataclass(frozen=True)
class Linear(Fusion):
    """W [x_1; ...; x_M] + b, from M d to d (TMMSRec-linear of Table 6)."""

    def build(self, width: int, streams: int) -> nn.Module:
        """One linear layer."""
        return _Joined(nn.Linear(width * streams, width))


@dataclass(frozen=True)
class MLP(Fusion):
    """M d -> d -> d with ReLU between (TMMSRec-mlp of Table 6; the paper leaves depth and activation open)."""

    def build(self, width: int, streams: int) -> nn.Module:
        """Two linear layers."""
        return _Joined(nn.Sequential(nn.Linear(width * streams, width), nn.ReLU(), nn.Linear(width, width)))


class _Apart(nn.Module):
    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        return streams


class _Add(nn.Module):
    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        return [torch.stack(streams).sum(0)]


class _Joined(nn.Module):
    def __init__(self, map: nn.Module) -> None:
        super().__init__()
        self.map = map

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        return [self.map(torch.cat(streams, dim=-1))]
