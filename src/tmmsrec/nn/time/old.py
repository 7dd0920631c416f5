"""What time adds to a stream: TIE (section 2.4) and its rivals of Table 5.

Every encoder is a value with ``build(width, length)``; what it builds maps (x [B, L, d], times [B, L] int64 seconds UTC, mask
[B, L]) to the [B, L, d] that Eq. 11 adds to x.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from tmmsrec.nn.dropout import Dropout


class TimeEncoder(ABC):
    """A way to add time, or position, to a stream: a value."""

    reads_time: ClassVar[bool] = False

    def check(self, width: int) -> None:  # noqa: B027 - most encoders take any width
        """Refuse a width that this encoder cannot fill; raises ValueError with the reason."""

    @abstractmethod
    def build(self, width: int, length: int) -> nn.Module:
        """The module for streams of ``width`` and at most ``length`` steps."""


@dataclass(frozen=True)
class Nothing(TimeEncoder):
    """No time and no position (NP of Table 5); causality alone tells two or more blocks the order."""

    def build(self, width: int, length: int) -> nn.Module:
        """A module that adds zero."""
        return _Nothing()


@dataclass(frozen=True)
class Learned(TimeEncoder):
    """A learned row per position (SASRec; our reading of RP in Table 5).

    Attributes:
        newest_last: count positions so that the newest event always has the last index ``length``, as left-padded code does;
            otherwise the oldest event has index 1.
    """

    newest_last: bool = True

    def build(self, width: int, length: int) -> nn.Module:
        """A trained table of [length+1, width] (row 0 belongs to padding)."""
        table = nn.Embedding(length + 1, width, padding_idx=0)
        return _Positions(table, length, self.newest_last)


@dataclass(frozen=True)
class Random(TimeEncoder):
    """A random row per position that is never trained (the other reading of RP): N(0, deviation^2), the same for a given seed."""

    deviation: float = 0.02
    newest_last: bool = True
    seed: int = 0

    def build(self, width: int, length: int) -> nn.Module:
        """A frozen table of [length+1, width]."""
        generator = torch.Generator().manual_seed(self.seed)
        rows = torch.randn(length + 1, width, generator=generator) * self.deviation
        return _Positions(_FixedTable(rows), length, self.newest_last)


@dataclass(frozen=True)
class Sinusoid(TimeEncoder):
    """Sine and cosine of the position (VP of Table 5, the vanilla Transformer): p[2i] = sin(pos / 10000^(2i/d)), p[2i+1] = cos."""

    newest_last: bool = True

    def build(self, width: int, length: int) -> nn.Module:
        """A fixed table of [length+1, width]."""
        position = torch.arange(length + 1, dtype=torch.float64)[:, None]
        even = torch.arange(0, width, 2, dtype=torch.float64)
        angle = position * torch.exp(-math.log(10000.0) * even / width)
        rows = torch.zeros(length + 1, width, dtype=torch.float64)
        rows[:, 0::2] = angle.sin()
        rows[:, 1::2] = angle.cos()[:, : width // 2]
        return _Positions(_FixedTable(rows.float()), length, self.newest_last)


@dataclass(frozen=True)
class TIE(TimeEncoder):
    """Time Interval Encoder, Eq. 7-9: the row, rotated by the event's year, month and day (UTC).

    Coordinates 6(j-1)+0,1 turn by year * theta_j, +2,3 by month * theta_j and +4,5 by day * theta_j, with
    theta_j = 10000^(-6(j-1)/d).  A plane (a, b) becomes (a cos f + b sin f, -a sin f + b cos f): clockwise, the paper's row
    vector times P.  What is added is an absolute place in the calendar; gaps are visible only as differences of such places.

    Attributes:
        dropout: on the rotated row.  Eq. 7 has none; the authors' code has .2, and section 3.9.2 finds .5 best.
        layout: "interleaved" as Eq. 8-9, or "blocked" as the authors' code joins the six strided results.
        year_origin: subtracted from the year; 0 as the paper.  Not equivalent to the paper when the rotated row is added.
    """

    dropout: float = 0.0
    layout: Literal["interleaved", "blocked"] = "interleaved"
    year_origin: int = 0

    reads_time: ClassVar[bool] = True

    def check(self, width: int) -> None:
        """Raises ValueError when the width is not divisible by 6."""
        if width % 6:
            near = (width // 6 * 6, width // 6 * 6 + 6)
            raise ValueError(
                f"TIE turns groups of six coordinates (two each for year, month and day), so the width must divide by 6; "
                f"{width} does not: take {near[0]} or {near[1]}"
            )

    def build(self, width: int, length: int) -> nn.Module:
        """A module without parameters; raises ValueError when 6 does not divide the width."""
        self.check(width)
        return _TIE(self, width)


def civil(seconds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Year, month (1..12) and day (1..31) of moments in seconds since 1970 UTC, int64, on whole tensors.

    Integer arithmetic of the proleptic Gregorian calendar, counting years from 1 March so that the leap day comes last.
    """
    days = torch.div(seconds, 86400, rounding_mode="floor") + 719468  # days since 0000-03-01
    era = torch.div(days, 146097, rounding_mode="floor")
    of_era = days - era * 146097
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    from_march = (5 * of_year + 2) // 153
    day = of_year - (153 * from_march + 2) // 5 + 1
    month = torch.where(from_march < 10, from_march + 3, from_march - 9)
    return year_of_era + era * 400 + (month <= 2), month, day


class _Nothing(nn.Module):
    def forward(self, x: Tensor, times: Tensor, mask: Tensor) -> Tensor:
        return torch.zeros((), dtype=x.dtype, device=x.device)


class _FixedTable(nn.Module):
    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        rows[0] = 0
        self.register_buffer("rows", rows, persistent=False)
        self.rows: Tensor

    def forward(self, index: Tensor) -> Tensor:
        return self.rows[index]


class _Positions(nn.Module):
    def __init__(self, table: nn.Module, length: int, newest_last: bool) -> None:
        super().__init__()
        self.table, self.length, self.newest_last = table, length, newest_last

    def forward(self, x: Tensor, times: Tensor, mask: Tensor) -> Tensor:
        slot = torch.arange(1, x.shape[1] + 1, device=x.device)
        shift = self.length - mask.sum(-1, keepdim=True) if self.newest_last else 0
        rows: Tensor = self.table((slot + shift) * mask)
        return rows


class _TIE(nn.Module):
    def __init__(self, value: TIE, width: int) -> None:
        super().__init__()
        self.value = value
        self.dropout = Dropout(value.dropout)
        groups = torch.arange(width // 6, dtype=torch.float64)
        self.register_buffer("theta", (10000.0 ** (-6.0 * groups / width)).float(), persistent=False)
        self.theta: Tensor

    def forward(self, x: Tensor, times: Tensor, mask: Tensor) -> Tensor:
        # float32 whatever autocast says: in bfloat16 the year 2015 is not even representable.
        with torch.autocast(x.device.type, enabled=False):
            turned = self.rotate(x.float(), *civil(times))
        added: Tensor = self.dropout(turned) * mask[..., None]
        return added

    def rotate(self, x: Tensor, year: Tensor, month: Tensor, day: Tensor) -> Tensor:
        """x P for rows x [..., d] and calendar fields [...]."""
        fields = torch.stack([year - self.value.year_origin, month, day], dim=-1).float()
        angle = fields[..., None, :] * self.theta[:, None]  # [..., J, 3]
        cos, sin = angle.cos(), angle.sin()
        a, b = x.reshape(*x.shape[:-1], -1, 3, 2).unbind(-1)
        planes = torch.stack([a * cos + b * sin, b * cos - a * sin], dim=-1)  # [..., J, 3, 2]
        if self.value.layout == "blocked":
            planes = planes.flatten(-2).transpose(-1, -2)  # [..., 6, J]
            return planes.flatten(-2)
        return planes.flatten(-3)
