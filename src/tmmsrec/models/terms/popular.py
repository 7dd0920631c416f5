"""What many have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tmmsrec.data.split import Part
from tmmsrec.models.terms.asking import Ages, Asking, Kernel
from tmmsrec.nn.beside import Beside
from tmmsrec.nn.resizable import Resizable

_SMALL = 0.01  # the coordinate of items is small and that of queries large, so that the cosine of two items says how alike they are


@dataclass(frozen=True)
class Popular:
    """A learned score for how often an item occurs in the log (not at all, once, 2 to 3 times, 4 to 7, ...), times a strength
    for the age of the newest event.

    While training, what is still to come for a person does not count for that person: an item that nobody else has stands as one
    never met, which is what it would have been.

    Attributes:
        sizes: how many such classes; the last holds all that is more.
        never_apart: items that nobody has met have a score of their own; otherwise they stand with those met once.  Where the
            catalogue was gathered from the very log, as in most published data, an item that the training part lacks is there
            because somebody meets it later: a score of its own learns that, and finds what no shop could know.
    """

    sizes: int = 20
    never_apart: bool = True

    def __post_init__(self) -> None:
        if self.sizes < 2:
            raise ValueError(f"Popular.sizes must be at least 2, got {self.sizes}")

    def build(self, n_items: int, ages: Ages) -> PopularTerm:
        """For a catalogue of ``n_items``."""
        return PopularTerm(self, n_items, ages)


class PopularTerm(Resizable):
    """What Popular builds."""

    resizable = ("counts",)

    def __init__(self, value: Popular, n_items: int, ages: Ages) -> None:
        super().__init__()
        self.n_items, self.least = n_items, 0 if value.never_apart else 1
        self.register_buffer("counts", torch.zeros(n_items + 1, dtype=torch.int64))
        self.counts: Tensor
        self.weight = nn.Parameter(torch.zeros(value.sizes, 1))
        self.strength = Kernel(ages.count, 1.0)

    def count(self, part: Part) -> None:
        """The events that may be read."""
        self.counts = torch.from_numpy(part.item_counts(self.n_items)).to(self.counts.device)

    def queries(self, asking: Asking) -> Tensor:
        """[B, K, 1]."""
        strength: Tensor = self.strength(asking.age)
        return strength[..., None] / _SMALL

    def items(self) -> Tensor:
        """[I+1, 1]."""
        return self.weight.index_select(0, self._size(self._held())) * _SMALL

    def beside(self, asking: Asking) -> Beside | None:
        """What the counts hold too much while training, for every item that is still to come."""
        if asking.to_come is None:
            return None
        number, item, own = asking.coming
        held = self._held()[item]
        fewer, all_of_them = (self.weight[:, 0].index_select(0, self._size(n)) for n in ((held - own).clamp_min(0), held))
        strength = self.strength(asking.age.flatten()).index_select(0, number)
        return Beside.summed(number, item, (fewer - all_of_them) * strength)

    def _held(self) -> Tensor:
        """[I+1]; items that came after the counting count nothing."""
        return nn.functional.pad(self.counts, (0, self.n_items + 1 - len(self.counts)))

    def _size(self, counts: Tensor) -> Tensor:
        """0 for 0, 1 for 1, 2 for 2 and 3, 3 for 4 to 7, ..."""
        return torch.frexp(counts.double()).exponent.long().clamp(self.least, len(self.weight) - 1)
