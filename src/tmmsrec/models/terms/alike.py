"""What is all but the same as something that the person had: the same model in another colour, the next volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.models.terms.asking import Ages, Asking, Kernel
from tmmsrec.models.terms.similar import SimilarTerm
from tmmsrec.nn.beside import Beside
from tmmsrec.nn.graph import nearest
from tmmsrec.nn.order import distinct, kept
from tmmsrec.nn.resizable import Resizable

_ROWS = 1 << 10  # items whose neighbours' rows are held at once


@dataclass(frozen=True)
class Alike:
    """The nearest of each item of the history.  A mean of many things, as ``Similar`` has it, is near to none of them.

        score of b: s ln(1 + e^c sum over events j of softplus(kernel[cell of j]) exp(-d(a_j, b)))
        d(a, b) = sum over modalities m of e^w_m (1 - cos(x_a, x_b))
        s = strength[age of the newest event],   a_j the item of event j,   x the features as ``Similar`` reads them

    Attributes:
        reach: how many of the newest events are read.
        most: neighbours of an item that are looked at, the nearest in all modalities together.  They are found once, by comparing
            every item with every other.
    """

    reach: int = 10
    most: int = 50

    def __post_init__(self) -> None:
        for name in ("reach", "most"):
            if getattr(self, name) < 1:
                raise ValueError(f"Alike.{name} must be at least 1, got {getattr(self, name)}")

    def build(self, modalities: int, ages: Ages) -> AlikeTerm:
        """For so many modalities."""
        return AlikeTerm(self, modalities, ages)


class AlikeTerm(Resizable):
    """What Alike builds.  Features are those of the Similar terms, which it is given; it holds none."""

    resizable = ("near",)

    def __init__(self, value: Alike, modalities: int, ages: Ages) -> None:
        super().__init__()
        self.value = value
        self.register_buffer("near", torch.zeros(0, value.most, dtype=torch.int32))  # [I+1, most], 0 where there are fewer
        self.near: Tensor
        # [I+1, most, modalities] 1 - cos of each item and its neighbours, while training, which asks for the same ones in every
        # epoch; none until they are measured.  Not persistent: they follow from the features.
        self.register_buffer("apart", torch.zeros(0, value.most, modalities), persistent=False)
        self.apart: Tensor
        self.kernel = Kernel(ages.cells)
        self.strength = Kernel(ages.count, 1.0)
        self.sharpness = nn.Parameter(torch.full((1,), 3.0))
        self.away = nn.Parameter(torch.full((modalities,), math.log(5.0)))

    def find(self, features: Sequence[SimilarTerm]) -> None:
        """Find the neighbours of every item."""
        whole = torch.cat([term.items() for term in features], dim=-1)
        self.near = self.near.new_zeros(len(whole), self.value.most)
        self._find(whole, torch.arange(1, len(whole), device=whole.device))
        self._forget()

    def follow(self, features: Sequence[SimilarTerm]) -> None:
        """Find those of items that came since, and anew those of their neighbours; an item further off keeps the ones it has.

        A known item whose features were changed keeps its neighbours too, till the next ``find``; how far they are is always told
        by the features of today.
        """
        self._forget()
        known, size = len(self.near), len(features[0].features)
        if not 0 < known < size:
            return
        whole = torch.cat([term.items() for term in features], dim=-1)
        new = torch.arange(known, size, device=whole.device)
        self.near = torch.cat([self.near, self.near.new_zeros(len(new), self.value.most)])
        self._find(whole, new)
        theirs = torch.unique(self.near[new]).long()
        self._find(whole, theirs[(theirs > 0) & (theirs < known)])

    def _find(self, whole: Tensor, rows: Tensor) -> None:
        told = (whole != 0).any(-1)  # an item without features is near to nothing
        rows = rows[told[rows]]
        found = nearest(whole, rows, told.nonzero()[:, 0], self.value.most + 1)
        self.near[rows] = found[:, 1:].to(self.near.dtype)  # the first is the item itself

    def moved(self, place: Tensor) -> None:
        """Items stand in other rows, item i in ``place[i]``, and so do their neighbours."""
        if len(self.near):
            place, before = place.to(self.near.device), self.near
            self.near = torch.zeros_like(before)
            self.near[place] = place.to(before.dtype)[before.long()]
            self._forget()

    def measure(self, features: Sequence[SimilarTerm]) -> None:
        """Keep how far all neighbours are apart, until others are found or other features may have come."""
        if not len(self.apart):
            blocks = torch.split(torch.arange(len(self.near), device=self.near.device), _ROWS)
            self.apart = torch.cat([_apart(block, self.near[block].long(), features) for block in blocks])

    def _forget(self) -> None:
        self.apart = self.apart.new_zeros(0, *self.apart.shape[1:])

    def beside(self, asking: Asking, features: Sequence[SimilarTerm]) -> Beside:
        """For the neighbours of the newest events."""
        row, step, event = asking.close(self.value.reach)
        weight = functional.softplus(self.kernel(asking.cell[row, step, event]))
        items, which = distinct(asking.items[row, event])
        near = self.near.index_select(0, items).long()
        apart = self.apart.index_select(0, items) if len(self.apart) else _apart(items, near, features)
        likeness = torch.exp(-(apart @ self.away.exp()))
        nearby = near.index_select(0, which)
        numbers = asking.numbered(row, step)[:, None].expand_as(nearby)
        scores = weight[:, None] * likeness.index_select(0, which)
        total = Beside.summed(*kept(nearby.flatten() > 0, numbers.flatten(), nearby.flatten(), scores.flatten()))
        strength = self.strength(asking.age.flatten()).index_select(0, total.rows)
        return Beside(total.rows, total.items, strength * torch.log1p(total.values * self.sharpness.exp()))


def _apart(items: Tensor, near: Tensor, features: Sequence[SimilarTerm]) -> Tensor:
    """[u, most, modalities] 1 - cos of items [u] and others [u, most] by each modality.

    Each product is summed on its own: a matrix product of one item alone is rounded otherwise than one of several, and a training
    that measures all of them at once would not be the one that asks batch by batch.
    """
    return 1 - torch.stack([term.rows(near).mul_(term.rows(items)[:, None]).sum(-1) for term in features], dim=-1)
