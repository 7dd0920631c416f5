"""When and after which steps of a history is asked what comes next, and how old its events are then."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from tmmsrec.data.batch import Batch
from tmmsrec.data.split import Part

_HOUR, _DAY = 3_600.0, 86_400.0


@dataclass(frozen=True)
class Ages:
    """Cells of (how long ago, how many events ago): what kernels are tables of.

    Attributes:
        edges: seconds, where one age ends and the next begins.  The first is one visit; in a log of days, one day.
        lags: how many events ago a new cell begins; 0, the newest event, is always the first.
        to_now: ages are counted until the moment of the request; otherwise until the newest event of the history.
    """

    edges: tuple[float, ...] = (0.5 * _HOUR, 6 * _HOUR, _DAY, 2 * _DAY, 8 * _DAY, 31 * _DAY, 92 * _DAY, 366 * _DAY)
    lags: tuple[int, ...] = (1, 2, 4, 8, 16)
    to_now: bool = False

    def __post_init__(self) -> None:
        for name in ("edges", "lags"):
            held = getattr(self, name)
            if list(held) != sorted(set(held)) or any(v <= 0 for v in held):
                raise ValueError(f"Ages.{name} must be positive and rising, got {held}")

    @property
    def cells(self) -> int:
        """How many there are."""
        return self.count * (len(self.lags) + 1)

    @property
    def count(self) -> int:
        """How many ages."""
        return len(self.edges) + 1


@dataclass(frozen=True, eq=False)
class Asking:
    """Steps after which is asked, K of each history.

    Attributes:
        items: [B, L] item rows, 0 where padded.
        at: [B, K] the columns of the newest events that may be read; nothing after them may.
        seen: [B, K, L] bool, which events those are.
        lag: [B, K, L] how many events ago, negative for events to come.
        cell: [B, K, L] the cell of ``Ages``, any where not seen.
        age: [B, K] the age of the newest event that is seen; 0 where there is none.
        moment: [B, K] seconds UTC: of the request, or of the newest event where ages are counted until it.
        to_come: [B, L+1] item rows of the history and what follows it, 0 where there is nothing: in training, where the counts hold
            also what is still to come for each step.  None where the counts end with the history.
    """

    items: Tensor
    at: Tensor
    seen: Tensor
    lag: Tensor
    cell: Tensor
    age: Tensor
    moment: Tensor
    to_come: Tensor | None

    @classmethod
    def newest(cls, batch: Batch, ages: Ages, longest: Tensor | None = None) -> Asking:
        """After the newest event of each history: K = 1.

        Args:
            batch: histories.
            ages: cells of their ages.
            longest: seconds, one number: who asks later after the newest event is taken to ask then, in all but the ``moment``.
        """
        return cls._of(batch, ages, batch.last[:, None], None, longest)

    @classmethod
    def everywhere(cls, batch: Batch, ages: Ages) -> Asking:
        """After every event: K = L.  Where there are targets, the row's last one is what follows the history."""
        length = batch.items.shape[1]
        at = torch.arange(length, device=batch.items.device).expand(len(batch.items), length)
        to_come = None
        if batch.targets.shape[1]:
            to_come = nn.functional.pad(batch.items, (0, 1))
            last = batch.targets.gather(1, batch.last[:, None])
            to_come = to_come.scatter(1, batch.last[:, None] + 1, last)
        return cls._of(batch, ages, at, to_come, None)

    @classmethod
    def _of(cls, batch: Batch, ages: Ages, at: Tensor, to_come: Tensor | None, longest: Tensor | None) -> Asking:
        moments = (batch.now if ages.to_now else batch.times).gather(1, at)
        until = moments if longest is None else torch.minimum(moments, batch.times.gather(1, at) + longest)
        lag = at[:, :, None] - torch.arange(batch.items.shape[1], device=at.device)
        old = until[:, :, None] - batch.times[:, None]
        edges = torch.tensor(ages.edges, dtype=torch.float64, device=at.device).round().long()
        lags = torch.tensor(ages.lags, device=at.device)
        age = torch.bucketize(old, edges, right=True)
        cell = age * (len(ages.lags) + 1) + torch.bucketize(lag, lags, right=True)
        newest = age.gather(2, at[:, :, None])[..., 0] * batch.mask.gather(1, at)
        return cls(batch.items, at, (lag >= 0) & batch.mask[:, None], lag, cell, newest, moments, to_come)

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Every (row, step, event) that is seen, three [n]."""
        row, step, event = self.seen.nonzero(as_tuple=True)
        return row, step, event

    def close(self, reach: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of these, the newest ``reach`` events of each step."""
        row, step, event = (self.seen & (self.lag < reach)).nonzero(as_tuple=True)
        return row, step, event

    @cached_property
    def coming(self) -> tuple[Tensor, Tensor, Tensor]:
        """What is still to come for each step, each item once: the step's number, the item, and how often it comes, three [n]."""
        assert self.to_come is not None, "only while training is it known"
        come = self.to_come
        same = (come[:, :, None] == come[:, None]) & (come != 0)[:, None]  # [B, q, q']
        after = same.flip(2).cumsum(2).flip(2)  # how often the item at q occurs from q' on
        row, step, place = (torch.arange(come.shape[1], device=come.device) > self.at[:, :, None]).nonzero(as_tuple=True)
        first = after[row, place, self.at[row, step] + 1] == after[row, place, place]
        kept = first & (come[row, place] != 0)
        row, step, place = row[kept], step[kept], place[kept]
        return self.numbered(row, step), come[row, place], after[row, place, place]

    def numbered(self, row: Tensor, step: Tensor) -> Tensor:
        """[n] the number of a row's step among all B K."""
        return row * self.at.shape[1] + step


def longest_gap(part: Part) -> int:
    """Seconds, the most from one event that may be read to the same user's next; 0 where nobody has two."""
    log, most = part.interactions, 0
    ends = log.offsets[:-1] + part.stop
    for places, gaps in log.gaps():
        owners = np.searchsorted(log.offsets, places, side="right") - 1
        most = max(most, int(gaps[places < ends[owners]].max(initial=0)))
    return most


class Kernel(nn.Module):
    """A learned number for each cell, or age; all the same at first."""

    def __init__(self, cells: int, start: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((cells, 1), start))

    def forward(self, cells: Tensor) -> Tensor:
        """Cells [...] -> [...]."""
        return self.weight[:, 0].index_select(0, cells.flatten()).view(cells.shape)
