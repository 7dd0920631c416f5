"""What stands beside an inner product: scores of a few items each, as lists instead of tables of all items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tmmsrec.nn.order import distinct, in_order, kept


@dataclass(frozen=True, eq=False)
class Beside:
    """Scores of single items, at most one for an item in a row.

    Attributes:
        rows: [n] int64, never decreasing: whose score.
        items: [n] int64 item rows, rising within a row.
        values: [n] what is added there.
    """

    rows: Tensor
    items: Tensor
    values: Tensor

    @classmethod
    def summed(cls, rows: Tensor, items: Tensor, values: Tensor) -> Beside:
        """From any list: entries of the same row and item are added up."""
        size = 1 + (items.max() if len(items) else 0)
        keys, place = distinct(rows * size + items)
        total = values.new_zeros(len(keys)).index_add(0, place, values)
        rows = keys // size
        return cls(rows, keys - rows * size, total)

    @classmethod
    def of(cls, several: Sequence[Beside]) -> Beside:
        """Several lists in one, which may then hold an item more than once in a row; rows still do not decrease."""
        if len(several) == 1:
            return several[0]
        rows = torch.cat([one.rows for one in several])
        _, order = in_order(rows)
        items = torch.cat([one.items for one in several])
        values = torch.cat([one.values for one in several])
        return cls(rows[order], items[order], values[order])

    def numbered(self, number: Tensor, n_items: int) -> Beside:
        """Of the rows that have a number [R], under it and not -1, what concerns the items below ``n_items``."""
        rows = number.index_select(0, self.rows)
        return Beside(*kept((rows >= 0) & (self.items < n_items), rows, self.items, self.values))

    def between(self, start: int, end: int) -> tuple[slice, Tensor, Tensor, Tensor]:
        """Where the entries of rows start..end-1 stand, their rows counted from start, their items and values."""
        first, last = torch.searchsorted(self.rows, torch.tensor([start, end], device=self.rows.device)).tolist()
        at = slice(first, last)
        return at, self.rows[at] - start, self.items[at], self.values[at]

    def added(self, scores: Tensor) -> Tensor:
        """Scores [B, I+1] with these on top; a new tensor."""
        return scores.index_put((self.rows, self.items), self.values.to(scores.dtype), accumulate=True)

    def padded(self, rows: int) -> Tensor:
        """[rows, m] the items of each row, 0 where there are fewer."""
        count = torch.bincount(self.rows, minlength=rows)
        place = torch.arange(len(self.rows), device=self.rows.device) - (count.cumsum(0) - count)[self.rows]
        found = self.items.new_zeros(rows, int(count.max()) if len(count) else 0)
        found[self.rows, place] = self.items
        return found

    def at(self, rows: Tensor) -> Tensor:
        """[B, k] what is added to the items [B, k] of each row, zero where there is nothing; for a list as ``summed`` makes it."""
        if not len(self.rows):
            return torch.zeros(rows.shape, dtype=self.values.dtype, device=rows.device)
        asked = torch.arange(len(rows), device=rows.device)[:, None].expand_as(rows)
        place, there = self.places(asked, rows)
        return torch.where(there, self.values[place], 0.0)

    def places(self, rows: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Where the items stand in a list as ``summed`` makes it, [...], and whether they do, bool [...]."""
        if not (len(self.items) and items.numel()):
            return torch.zeros_like(items), torch.zeros_like(items, dtype=torch.bool)
        size = 1 + torch.maximum(self.items.max(), items.max())
        keys, asked = (a * size + b for a, b in ((self.rows, self.items), (rows, items)))
        place = torch.searchsorted(keys, asked).clamp_max(len(keys) - 1)
        return place, keys[place] == asked
