"""TIE, the Time Interval Encoder of the paper (section 2.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from tmmsrec.nn.dropout import Dropout
from tmmsrec.nn.look import Look
from tmmsrec.nn.time.base import Clock, TimeEncoder, TimeModule


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
        query: a further step asks, at the moment of the request: a learned row and its rotation by that moment, as Eq. 11 has it
            for events.  It sees the history and is seen by no step, so that each step of a training row can have one.  Not in the
            paper, which knows no moment of the request.
    """

    dropout: float = 0.0
    layout: Literal["interleaved", "blocked"] = "interleaved"
    year_origin: int = 0
    query: bool = field(default=False, metadata={"later": True})

    @property
    def reads_time(self) -> bool:
        """The dates of events."""
        return True

    @property
    def reads_now(self) -> bool:
        """The date of the request, where it asks."""
        return self.query

    @property
    def looks(self) -> bool:
        """With a step that asks."""
        return self.query

    def check(self, width: int) -> None:
        """Raises ValueError when the width is not divisible by 6."""
        if width % 6:
            near = (width // 6 * 6, width // 6 * 6 + 6)
            raise ValueError(
                f"TIE turns groups of six coordinates (two each for year, month and day), so the width must divide by 6; "
                f"{width} does not: take {near[0]} or {near[1]}"
            )

    def build(self, width: int, length: int) -> TimeModule:
        """A module without parameters (a row of ``width`` where it asks); raises ValueError when 6 does not divide the width."""
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


class _TIE(TimeModule):
    def __init__(self, value: TIE, width: int) -> None:
        super().__init__()
        self.value = value
        self.dropout = Dropout(value.dropout)
        self.question = nn.Parameter(torch.zeros(1, width)) if value.query else None
        groups = torch.arange(width // 6, dtype=torch.float64)
        self.register_buffer("theta", (10000.0 ** (-6.0 * groups / width)).float(), persistent=False)
        self.theta: Tensor

    def forward(self, x: Tensor, clock: Clock) -> Tensor:
        return self._turned(x, clock.times) * clock.mask[..., None]

    def look(self, clock: Clock) -> Look | None:
        if self.question is None:
            return None
        rows = self.question.expand(*clock.now.shape, -1)
        return Look(rows=rows + self._turned(rows, clock.now))

    def _turned(self, x: Tensor, moments: Tensor) -> Tensor:
        # float32 whatever autocast says: in bfloat16 the year 2015 is not even representable.
        with torch.autocast(x.device.type, enabled=False):
            turned: Tensor = self.dropout(self.rotate(x.float(), *civil(moments)))
        return turned

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
