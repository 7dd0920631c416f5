"""How a backbone is to look at a history, where a time encoder says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Turn:
    """Queries and keys are turned by the time that lies between them, so that a product depends on nothing else of it.

    A plane (a, b) of coordinates turns by 2 pi t / period, queries by the moment at which is asked and keys by the time of their
    event: their inner product then holds the difference alone.  Periods are spread evenly in their logarithm over the planes of
    a head.

    Attributes:
        asked: [B, K] seconds since each row's first event, the moments at which is asked.
        held: [B, L] the same of the events.
        shortest: period of the first plane, seconds.
        longest: period of the last plane, seconds.
    """

    asked: Tensor
    held: Tensor
    shortest: float
    longest: float

    def angles(self, width: int) -> tuple[Tensor, Tensor]:
        """Angles of queries [B, 1, K, P] and keys [B, 1, L, P] for heads ``width`` wide, P = width // 2 planes, float32."""
        planes = width // 2
        spread = torch.linspace(0, 1, planes, dtype=torch.float64, device=self.held.device)
        periods = self.shortest * (self.longest / self.shortest) ** spread

        # Whole turns are taken off while the numbers are exact: float32 cannot hold ten years in seconds.
        def of(moments: Tensor) -> Tensor:
            return ((moments.double()[:, None, :, None] / periods) % 1.0 * (2 * torch.pi)).float()

        return of(self.asked), of(self.held)


@dataclass(frozen=True, eq=False)
class Look:
    """How the steps of a history are looked at.

    Attributes:
        rows: [B, L, d] what asks after each step: it sees the history up to that step, and nothing sees it.  None: the steps ask.
        turn: how queries and keys are turned; None: not at all.
    """

    rows: Tensor | None = None
    turn: Turn | None = None

    def at(self, last: Tensor) -> Look:
        """Asking at one step only, the columns ``last`` [B]."""
        turn = self.turn and replace(self.turn, asked=self.turn.asked.gather(1, last[:, None]))
        return Look(None if self.rows is None else at(self.rows, last), turn)


def together(looks: list[Look | None], fusion: Callable[[list[Tensor]], list[Tensor]]) -> Look | None:
    """One Look for streams that became one: what asks is joined as the streams are, the turn is the same in all."""
    held = [look for look in looks if look is not None]
    if not held:
        return None
    rows = [look.rows for look in held if look.rows is not None]
    return Look(fusion(rows)[0] if rows else None, held[0].turn)


def at(x: Tensor, last: Tensor) -> Tensor:
    """[B, 1, d] the rows of x [B, L, d] at the columns ``last`` [B]."""
    return x[torch.arange(last.shape[0], device=x.device), last][:, None]


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """x [B, H, L, w] with coordinates p and P + p turned by angles [B, 1, L, P]; an odd coordinate at the end stays."""
    planes = angles.shape[-1]
    a, b, rest = x[..., :planes], x[..., planes : 2 * planes], x[..., 2 * planes :]
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], dim=-1)
