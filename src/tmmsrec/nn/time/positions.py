"""Positions in the place of time: the rivals of TIE in Table 5."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tmmsrec.nn.time.base import Clock, TimeEncoder, TimeModule


@dataclass(frozen=True)
class Learned(TimeEncoder):
    """A learned row per position (SASRec; our reading of RP in Table 5).

    Attributes:
        newest_last: count positions so that the newest event always has the last index ``length``, as left-padded code does;
            otherwise the oldest event has index 1.
    """

    newest_last: bool = True

    def build(self, width: int, length: int) -> TimeModule:
        """A trained table of [length+1, width] (row 0 belongs to padding)."""
        table = nn.Embedding(length + 1, width, padding_idx=0)
        return _Positions(table, length, self.newest_last)


@dataclass(frozen=True)
class Random(TimeEncoder):
    """A random row per position that is never trained (the other reading of RP): N(0, deviation^2), the same for a given seed."""

    deviation: float = 0.02
    newest_last: bool = True
    seed: int = 0

    def build(self, width: int, length: int) -> TimeModule:
        """A frozen table of [length+1, width]."""
        generator = torch.Generator().manual_seed(self.seed)
        rows = torch.randn(length + 1, width, generator=generator) * self.deviation
        return _Positions(_FixedTable(rows), length, self.newest_last)


@dataclass(frozen=True)
class Sinusoid(TimeEncoder):
    """Sine and cosine of the position (VP of Table 5, the vanilla Transformer): p[2i] = sin(pos / 10000^(2i/d)), p[2i+1] = cos."""

    newest_last: bool = True

    def build(self, width: int, length: int) -> TimeModule:
        """A fixed table of [length+1, width]."""
        position = torch.arange(length + 1, dtype=torch.float64)[:, None]
        even = torch.arange(0, width, 2, dtype=torch.float64)
        angle = position * torch.exp(-math.log(10000.0) * even / width)
        rows = torch.zeros(length + 1, width, dtype=torch.float64)
        rows[:, 0::2] = angle.sin()
        rows[:, 1::2] = angle.cos()[:, : width // 2]
        return _Positions(_FixedTable(rows.float()), length, self.newest_last)


class _FixedTable(nn.Module):
    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        rows[0] = 0
        self.register_buffer("rows", rows, persistent=False)
        self.rows: Tensor

    def forward(self, index: Tensor) -> Tensor:
        return self.rows[index]


class _Positions(TimeModule):
    def __init__(self, table: nn.Module, length: int, newest_last: bool) -> None:
        super().__init__()
        self.table, self.length, self.newest_last = table, length, newest_last

    def forward(self, x: Tensor, clock: Clock) -> Tensor:
        slot = torch.arange(1, x.shape[1] + 1, device=x.device)
        shift = self.length - clock.mask.sum(-1, keepdim=True) if self.newest_last else 0
        rows: Tensor = self.table((slot + shift) * clock.mask)
        return rows
