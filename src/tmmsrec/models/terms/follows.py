"""What others had after the things that a person had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.data.split import Part
from tmmsrec.models.terms.asking import Ages, Asking, Kernel
from tmmsrec.models.transitions import transitions
from tmmsrec.nn.beside import Beside
from tmmsrec.nn.resizable import Resizable


@dataclass(frozen=True)
class Follows:
    """Items that were seen to follow those of the history.

        n(a, b)  how often b came within ``span`` events after a, the k-th counting 1/k;  n(a) its sum over b
        score of b: s ln(1 + e^c sum over events j of softplus(kernel[cell of j]) n(a_j, b) / (1 + n(a_j)))
                 s = strength[age of the newest event],   a_j the item of event j

    While training, pairs that end in what is still to come for a person do not count for that person, or every step would find its
    own answer in the table.

    Attributes:
        span: how far apart two events may be and still count as following.
        reach: how many of the newest events are read.
        most: followers that are kept for an item, those most often seen.
    """

    span: int = 3
    reach: int = 10
    most: int = 100

    def __post_init__(self) -> None:
        for name in ("span", "reach", "most"):
            if getattr(self, name) < 1:
                raise ValueError(f"Follows.{name} must be at least 1, got {getattr(self, name)}")

    def build(self, n_items: int, ages: Ages) -> FollowsTerm:
        """For a catalogue of ``n_items``."""
        return FollowsTerm(self, n_items, ages)


class FollowsTerm(Resizable):
    """What Follows builds.  Pairs are kept in the order of ``a (I + 1) + b``."""

    resizable = ("start", "end", "often", "whole")

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

    def beside(self, asking: Asking) -> Beside:
        """For every follower of the newest events."""
        row, step, event = asking.close(self.value.reach)
        weight = functional.softplus(self.kernel(asking.cell[row, step, event]))
        item = asking.items[row, event]
        first, last = (torch.searchsorted(self.start, item, right=side) for side in (False, True))
        count = last - first
        owner = torch.repeat_interleave(torch.arange(len(item), device=item.device), count)
        pair = torch.arange(len(owner), device=item.device) - (count.cumsum(0) - count)[owner] + first[owner]
        often, whole = self.often[pair], self.whole[pair]
        if asking.to_come is not None:
            own = _OwnToCome(asking.to_come, self)
            after = asking.at[row, step][owner]
            often = (often - own.of_pairs(row[owner], pair, after)).clamp_min(0)
            whole = whole - own.of_starts(row[owner], item[owner], after)
        share = weight[owner] * often / (1 + whole)
        total = Beside.summed(asking.numbered(row, step)[owner], self.end[pair], share)
        strength = self.strength(asking.age.flatten())[total.rows]
        return Beside(total.rows, total.items, strength * torch.log1p(total.values * self.sharpness.exp()))


class _OwnToCome:
    """How much of the counts comes from pairs of the same person that end after a given event."""

    def __init__(self, come: Tensor, term: FollowsTerm) -> None:
        self.length = come.shape[1]
        rows, keys, ends, weights, starts = [], [], [], [], []
        known = term.start * (term.n_items + 1) + term.end
        for k in range(1, min(term.value.span, self.length - 1) + 1):
            row, at = ((come[:, :-k] != 0) & (come[:, k:] != 0)).nonzero(as_tuple=True)
            a, b = come[row, at], come[row, at + k]
            rows.append(row)
            starts.append(a)
            keys.append(a * (term.n_items + 1) + b)
            ends.append(at + k)
            weights.append(torch.full((len(row),), 1.0 / k, device=come.device))
        row, start, end, weight = (torch.cat(c) for c in (rows, starts, ends, weights))
        pair = torch.searchsorted(known, torch.cat(keys)).clamp_max(max(0, len(known) - 1))
        self.pairs, self.starts = len(known) + 1, term.n_items + 1
        held = known[pair] == torch.cat(keys) if len(known) else torch.zeros_like(pair, dtype=torch.bool)
        self._by_pair = _Later(row[held] * self.pairs + pair[held], end[held], weight[held], self.length)
        self._by_start = _Later(row * self.starts + start, end, weight, self.length)

    def of_pairs(self, row: Tensor, pair: Tensor, after: Tensor) -> Tensor:
        return self._by_pair(row * self.pairs + pair, after)

    def of_starts(self, row: Tensor, item: Tensor, after: Tensor) -> Tensor:
        return self._by_start(row * self.starts + item, after)


class _Later:
    """Sums of weights by key, over those that stand after a given place."""

    def __init__(self, keys: Tensor, places: Tensor, weights: Tensor, length: int) -> None:
        self.length = length + 1
        whole, order = (keys * self.length + places).sort()
        self.keys = whole
        self.before = functional.pad(weights[order].double().cumsum(0), (1, 0))

    def __call__(self, keys: Tensor, after: Tensor) -> Tensor:
        first = torch.searchsorted(self.keys, keys * self.length + after, right=True)
        last = torch.searchsorted(self.keys, (keys + 1) * self.length)
        return (self.before[last] - self.before[first]).float()
