"""What others had after the things that a person had."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.data.split import Part
from tmmsrec.models.terms.asking import Ages, Asking, Kernel
from tmmsrec.models.transitions import transitions
from tmmsrec.nn.beside import Beside
from tmmsrec.nn.order import in_order, kept
from tmmsrec.nn.resizable import Resizable


@dataclass(frozen=True)
class Follows:
    """Items that were seen to follow those of the history.

        n(a, b)  how often b came within ``span`` events after a, the k-th counting 1/k;  n(a) its sum over b
        m(b)     how often b was met
        score of b: s ln(1 + e^c sum over events j of softplus(kernel[cell of j]) n(a_j, b) / ((1 + n(a_j))^x (1 + m(b))^y))
                 s = strength[age of the newest event],   a_j the item of event j

    With x = 1 and y = 0 that is the share of b among what followed.  One in two says less than fifty in a hundred, and a follower
    that everybody has anyhow less than a rare one: x below 1 and y above 0 know that.

    While training, what is still to come for a person counts for nothing in that person's steps, or every step would find its own
    answer in the table.

    Attributes:
        span: how far apart two events may be and still count as following.
        reach: how many of the newest events are read.
        most: followers that are kept for an item, those most often seen.
        tempered: learn x and y; otherwise they are 1 and 0.
    """

    span: int = 3
    reach: int = 10
    most: int = 100
    tempered: bool = field(default=False, metadata={"later": True})

    def __post_init__(self) -> None:
        for name in ("span", "reach", "most"):
            if getattr(self, name) < 1:
                raise ValueError(f"Follows.{name} must be at least 1, got {getattr(self, name)}")

    def build(self, n_items: int, ages: Ages) -> FollowsTerm:
        """For a catalogue of ``n_items``."""
        return FollowsTerm(self, n_items, ages)


class FollowsTerm(Resizable):
    """What Follows builds.  Pairs are kept in the order of ``a (I + 1) + b``."""

    resizable = ("start", "end", "often", "whole", "met")

    def __init__(self, value: Follows, n_items: int, ages: Ages) -> None:
        super().__init__()
        self.value, self.n_items = value, n_items
        none = torch.zeros(0, dtype=torch.int64)
        self.register_buffer("start", none)
        self.register_buffer("end", none.clone())
        self.register_buffer("often", torch.zeros(0))
        self.register_buffer("whole", torch.zeros(0))  # n(a) of each pair's a, followers that were not kept included
        self.start: Tensor
        self.end: Tensor
        self.often: Tensor
        self.whole: Tensor
        if value.tempered:
            self.register_buffer("met", torch.zeros(n_items + 1))
            self.met: Tensor
            self.powers = nn.Parameter(torch.tensor([1.0, 0.0]))  # x and y
        self.kernel = Kernel(ages.cells)
        self.strength = Kernel(ages.count, 1.0)
        self.sharpness = nn.Parameter(torch.full((1,), 3.0))

    def count(self, part: Part) -> None:
        """The events that may be read."""
        found = transitions(part, self.n_items, [1 / k for k in range(1, self.value.span + 1)]).tocoo()
        start, end, often = found.row.astype(np.int64), found.col.astype(np.int64), found.data
        whole = np.bincount(start, weights=often, minlength=self.n_items + 1)
        order = np.lexsort((end, -often, start))
        place = np.arange(len(order)) - np.searchsorted(start[order], start[order])
        kept = order[place < self.value.most]
        kept = kept[np.lexsort((end[kept], start[kept]))]
        columns = (start[kept], end[kept], often[kept].astype(np.float32), whole[start[kept]].astype(np.float32))
        self.start, self.end, self.often, self.whole = (torch.from_numpy(c).to(self.start.device) for c in columns)
        if self.value.tempered:
            self.met = torch.from_numpy(part.item_counts(self.n_items)).to(self.start.device, torch.float32)

    def has(self, start: Tensor, end: Tensor) -> Tensor:
        """Which pairs of items [n], [n] are kept, bool [n]."""
        known, pairs = (a * (self.n_items + 1) + b for a, b in ((self.start, self.end), (start, end)))
        place = torch.searchsorted(known, pairs)
        return functional.pad(known, (0, 1), value=-1)[place] == pairs

    def beside(self, asking: Asking) -> Beside:
        """For every follower of the newest events."""
        row, step, event = asking.close(self.value.reach)
        number, item = asking.numbered(row, step), asking.items[row, event]
        first, last = (torch.searchsorted(self.start, item, right=side) for side in (False, True))
        owner, pair = _each(first, last)
        whole = torch.where(last > first, functional.pad(self.whole, (0, 1))[first], 0.0)
        own = None if asking.to_come is None else _OwnToCome.of(asking.to_come, self)
        if own is not None:
            first, last = own.ranges(row, item, asking.at[row, step])
            whole = (whole - (own.before[last] - own.before[first]).to(whole.dtype)).clamp_min(0)
        weight = functional.softplus(self.kernel(asking.cell[row, step, event])) * self._trust(whole)
        often = weight.index_select(0, owner) * self.often.index_select(0, pair)
        total = Beside.summed(number.index_select(0, owner), self.end.index_select(0, pair), often)
        heard = total.values
        if own is not None:
            theirs, place = _each(first, last)
            theirs, place = kept(own.often[place] > 0, theirs, place)  # of what was kept, so each stands in the total
            too_much, _ = total.places(number[theirs], own.end[place])
            # A difference of sums may end a little below zero.
            heard = heard.index_add(0, too_much, weight[theirs] * -own.often[place]).clamp_min(0)
        strength = self.strength(asking.age.flatten()).index_select(0, total.rows)
        if self.value.tempered and len(heard):
            heard = heard * torch.exp(-self.powers[1] * self._met(total, asking).log1p())
        return Beside(total.rows, total.items, strength * torch.log1p(heard * self.sharpness.exp()))

    def _trust(self, whole: Tensor) -> Tensor:
        """(1 + n(a))^-x."""
        return torch.exp(-self.powers[0] * whole.log1p()) if self.value.tempered else 1 / (1 + whole)

    def _met(self, total: Beside, asking: Asking) -> Tensor:
        """[n] m(b) of every entry."""
        met = functional.pad(self.met, (0, self.n_items + 1 - len(self.met)))  # what came later was not met
        held = met.index_select(0, total.items)
        if asking.to_come is None:
            return held
        number, item, own = asking.coming
        place, there = total.places(number, item)
        return held.index_add(0, place[there], -own[there].to(held.dtype)).clamp_min(0)


def _each(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Ranges [n] first..last-1 -> the number of the range and the place, for every place of every range."""
    count = last - first
    owner = torch.repeat_interleave(count)
    return owner, torch.arange(len(owner), device=owner.device) + (first - count.cumsum(0) + count)[owner]


@dataclass(frozen=True, eq=False)
class _OwnToCome:
    """Pairs of a person's own history and what follows it, in the order of (row, first item, where the pair ends).

    Attributes:
        keys: [p] that order as one number.
        end: [p] the second item.
        often: [p] what the counts hold because of it: 1/k, or 0 where the pair was not kept.
        before: [p+1] the sum of 1/k over all pairs that stand before, kept or not.
    """

    keys: Tensor
    end: Tensor
    often: Tensor
    before: Tensor
    size: int
    places: int

    @classmethod
    def of(cls, come: Tensor, term: FollowsTerm) -> _OwnToCome:
        """Of item rows [B, L+1]."""
        places, size, found = come.shape[1] + 1, term.n_items + 1, []
        for k in range(1, min(term.value.span, come.shape[1] - 1) + 1):
            row, at = ((come[:, :-k] != 0) & (come[:, k:] != 0)).nonzero(as_tuple=True)
            key = (row * size + come[row, at]) * places + at + k
            found.append((key, come[row, at], come[row, at + k], torch.full((len(row),), 1.0 / k, device=come.device)))
        keys, start, end, often = (torch.cat(c) for c in zip(*found, strict=True))
        keys, order = in_order(keys)
        start, end, often = start[order], end[order], often[order]
        before = functional.pad(often.double().cumsum(0), (1, 0))
        return cls(keys, end, torch.where(term.has(start, end), often, 0.0), before, size, places)

    def ranges(self, row: Tensor, item: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Where those pairs stand that begin with an item of a row and end after a place: three [n] -> first and last+1, [n]."""
        key = row * self.size + item
        first = torch.searchsorted(self.keys, key * self.places + after, right=True)
        return first, torch.searchsorted(self.keys, (key + 1) * self.places)
