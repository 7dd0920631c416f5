"""What every time encoder is: a value that builds a module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tmmsrec.nn.look import Look


@dataclass(frozen=True, eq=False)
class Clock:
    """When the events of a batch happened, and when it is asked what comes next.

    Attributes:
        times: [B, L] int64 seconds UTC, 0 where padded.
        now: [B, L] int64, the moment at which each step's next item is asked for.  While training that is the time of the next
            event, which every later step may know, so that it is no look ahead.
        mask: [B, L] bool, True at events.
    """

    times: Tensor
    now: Tensor
    mask: Tensor


class TimeEncoder(ABC):
    """A way to add time, or position, to a stream; or to have a backbone look at the history with it: a value."""

    @property
    def reads_time(self) -> bool:
        """Whether the times of events matter."""
        return False

    @property
    def reads_now(self) -> bool:
        """Whether the moment of the request matters."""
        return False

    @property
    def looks(self) -> bool:
        """Whether it has the backbone look at the history in its way; the backbone must be one that can (``Backbone.looks``)."""
        return False

    def check(self, width: int) -> None:  # noqa: B027 - most encoders take any width
        """Refuse a width that this encoder cannot fill; raises ValueError with the reason."""

    @abstractmethod
    def build(self, width: int, length: int) -> TimeModule:
        """The module for streams of ``width`` and at most ``length`` steps."""


class TimeModule(nn.Module):
    """What a TimeEncoder builds: (x [B, L, d], clock) -> what Eq. 11 adds to x, [B, L, d] or a scalar."""

    def forward(self, x: Tensor, clock: Clock) -> Tensor:
        """Nothing is added."""
        return torch.zeros((), dtype=x.dtype, device=x.device)

    def look(self, clock: Clock) -> Look | None:
        """How the backbone is to look at the history; None for its own way."""
        return None


@dataclass(frozen=True)
class Nothing(TimeEncoder):
    """No time and no position (NP of Table 5); causality alone tells two or more blocks the order."""

    def build(self, width: int, length: int) -> TimeModule:
        """A module that adds zero."""
        return TimeModule()
