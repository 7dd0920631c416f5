"""Time as what has passed, not as a place in the calendar."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tmmsrec.nn.look import Look, Turn
from tmmsrec.nn.time.base import Clock, TimeEncoder, TimeModule

_HOUR, _DAY, _YEAR = 3_600.0, 86_400.0, 31_557_600.0


@dataclass(frozen=True)
class Gap(TimeEncoder):
    """Elapsed time in buckets, a learned row each: since the event before, and until the moment of the request.

    Buckets are even in the logarithm of the time; the first holds all that is shorter than ``shortest``, the last all from
    ``longest`` on.  A first event has no event before it, and gets no row for that.

    Attributes:
        buckets: how many.
        shortest: seconds, the upper end of the first bucket.
        longest: seconds, where the last begins.
        before: whether the time since the event before is added.
        to_now: whether the time until the moment of the request is added.
    """

    buckets: int = 32
    shortest: float = _HOUR
    longest: float = 5 * _YEAR
    before: bool = True
    to_now: bool = True

    def __post_init__(self) -> None:
        if self.buckets < 2 or not 0 < self.shortest < self.longest:
            raise ValueError(f"Gap needs two buckets and 0 < shortest < longest, got {self}")
        if not (self.before or self.to_now):
            raise ValueError("Gap adds the time since the event before, the time until now, or both; for neither, take Nothing")

    @property
    def reads_time(self) -> bool:
        """Elapsed time."""
        return True

    @property
    def reads_now(self) -> bool:
        """With ``to_now``."""
        return self.to_now

    def build(self, width: int, length: int) -> TimeModule:
        """Tables [buckets+1, width]; row 0 adds nothing."""
        return _Gap(self, width)


class _Gap(TimeModule):
    def __init__(self, value: Gap, width: int) -> None:
        super().__init__()
        self.before = nn.Embedding(value.buckets + 1, width, padding_idx=0) if value.before else None
        self.to_now = nn.Embedding(value.buckets + 1, width, padding_idx=0) if value.to_now else None
        spread = torch.linspace(0, 1, value.buckets - 1, dtype=torch.float64)
        edges = value.shortest * (value.longest / value.shortest) ** spread
        self.register_buffer("edges", edges.round().long(), persistent=False)
        self.edges: Tensor

    def forward(self, x: Tensor, clock: Clock) -> Tensor:
        added = torch.zeros((), dtype=x.dtype, device=x.device)
        if self.before is not None:
            since = torch.cat([torch.zeros_like(clock.times[:, :1]), clock.times.diff(dim=1)], dim=1)
            follows = torch.cat([torch.zeros_like(clock.mask[:, :1]), clock.mask[:, 1:]], dim=1)
            added = added + self.before(self.bucket(since) * follows)
        if self.to_now is not None:
            added = added + self.to_now(self.bucket(clock.now - clock.times) * clock.mask)
        return added

    def bucket(self, seconds: Tensor) -> Tensor:
        """The row of elapsed times, from 1."""
        return 1 + torch.bucketize(seconds, self.edges, right=True)


@dataclass(frozen=True)
class Rotary(TimeEncoder):
    """Elapsed time in attention itself: queries turn by the moment of the request, keys by the time of their event.

    The products, and so all that attention makes of time, depend on differences of times alone: moving a whole history together
    with its request changes nothing.  Each plane of a head has a period of its own (rotary embedding, Su et al. 2021, with seconds
    in the place of positions).

    Attributes:
        shortest: the shortest period, seconds.  Half of it is the longest gap that its plane tells from none.
        longest: the longest period; as long as histories are, or longer.
        to_now: queries turn by the moment of the request; otherwise by the time of the step that asks.
    """

    shortest: float = 2 * _DAY
    longest: float = 40 * _YEAR
    to_now: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.shortest <= self.longest:
            raise ValueError(f"Rotary needs 0 < shortest <= longest, got {self}")

    @property
    def reads_time(self) -> bool:
        """Elapsed time."""
        return True

    @property
    def reads_now(self) -> bool:
        """With ``to_now``."""
        return self.to_now

    @property
    def looks(self) -> bool:
        """In attention."""
        return True

    def build(self, width: int, length: int) -> TimeModule:
        """A module without parameters that adds nothing."""
        return _Rotary(self)


class _Rotary(TimeModule):
    def __init__(self, value: Rotary) -> None:
        super().__init__()
        self.value = value

    def look(self, clock: Clock) -> Look:
        first = clock.times[:, :1]
        held = (clock.times - first) * clock.mask
        asked = (clock.now - first) * clock.mask if self.value.to_now else held
        return Look(turn=Turn(asked, held, self.value.shortest, self.value.longest))
