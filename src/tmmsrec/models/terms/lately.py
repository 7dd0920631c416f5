"""What many had lately."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tmmsrec.data.split import Part
from tmmsrec.models.terms.asking import Ages, Asking, Kernel
from tmmsrec.nn.beside import Beside
from tmmsrec.nn.resizable import Resizable

_DAY = 86_400


@dataclass(frozen=True)
class Lately:
    """Items by how often they were met before the day that is asked on, an event of so many days ago counting 2^(-days / half).

        n_h(i)  the sum over events of i before that day of 2^(-days ago / h)
        score of i: s ln(1 + sum over h of e^c_h n_h(i)),   s = strength[age of the newest event]

    Nothing of the day itself and nothing later is counted, whoever it is of; so no step can see its own answer.

    Attributes:
        halves: the half-lives h, in days.
        most: items of each day that are looked at, those with the largest sum of n_h / h.
    """

    halves: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0, 256.0)
    most: int = 200

    def __post_init__(self) -> None:
        if not self.halves or min(self.halves) <= 0:
            raise ValueError(f"Lately.halves must be positive, got {self.halves}")
        if self.most < 1:
            raise ValueError(f"Lately.most must be at least 1, got {self.most}")

    def build(self, n_items: int, ages: Ages) -> LatelyTerm:
        """For a catalogue of ``n_items``."""
        return LatelyTerm(self, n_items, ages)


class LatelyTerm(Resizable):
    """What Lately builds: a table for each day on which something was met."""

    resizable = ("days", "items", "often")

    def __init__(self, value: Lately, n_items: int, ages: Ages) -> None:
        super().__init__()
        self.value, self.n_items = value, n_items
        self.register_buffer("days", torch.zeros(0, dtype=torch.int64))  # [T], rising
        self.register_buffer("items", torch.zeros(0, 0, dtype=torch.int32))  # [T, most], rising in each row
        self.register_buffer("often", torch.zeros(0, 0, len(value.halves)))  # [T, most, halves], n_h at the end of the day
        self.register_buffer("halves", torch.tensor(value.halves), persistent=False)
        self.halves: Tensor
        self.days: Tensor
        self.items: Tensor
        self.often: Tensor
        self.strength = Kernel(ages.count, 0.5)
        self.sharpness = nn.Parameter(torch.zeros(len(value.halves)))

    def count(self, part: Part) -> None:
        """The events that may be read."""
        log, at = part.interactions, np.flatnonzero(part.readable)
        day = log.times[at] // _DAY
        order = np.argsort(day, kind="stable")
        met = log.items[at][order]
        days, first = np.unique(day[order], return_index=True)
        halves = np.array(self.value.halves)[:, None]
        held = np.zeros((len(halves), self.n_items + 1))
        most = min(self.value.most, self.n_items)
        items = np.zeros((len(days), most), np.int32)
        often = np.zeros((len(days), most, len(halves)), np.float32)
        before = np.append(days[:1], days[:-1])
        for n, (start, end) in enumerate(zip(first, np.append(first[1:], len(met)), strict=True)):
            held *= 0.5 ** ((days[n] - before[n]) / halves)
            held += np.bincount(met[start:end], minlength=self.n_items + 1)
            items[n] = 1 + np.sort(np.argpartition(-(held / halves).sum(0)[1:], most - 1)[:most])
            often[n] = held[:, items[n]].T
        device = self.days.device
        self.days, self.items = torch.from_numpy(days).to(device), torch.from_numpy(items).to(device)
        self.often = torch.from_numpy(often).to(self.sharpness)

    def beside(self, asking: Asking) -> Beside:
        """For what was met most before each day that is asked on."""
        day = torch.div(asking.moment.flatten(), _DAY, rounding_mode="floor")
        place = torch.searchsorted(self.days, day) - 1  # the last day before it
        number = (place >= 0).nonzero()[:, 0]
        place, day = place[number], day[number]
        gone = 0.5 ** ((day - self.days[place])[:, None] / self.halves)
        odds = (self.often[place] @ (gone * self.sharpness.exp())[..., None])[..., 0]
        values = self.strength(asking.age.flatten()[number])[:, None] * torch.log1p(odds)
        there = self.often[place].sum(-1) > 0
        return Beside(number[:, None].expand_as(there)[there], self.items[place].long()[there], values[there])
