"""Scores of all items for the users of a part: blocks of users, and for inner products of items too.

What is made of the scores is asked elsewhere: ``ranking`` counts what stands above a target, ``lists`` keeps the best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tmmsrec.data.batch import ranking_batches
from tmmsrec.data.split import Part
from tmmsrec.models.base import Model, VectorModel
from tmmsrec.nn.beside import Beside

ITEMS = 1 << 16  # item vectors that are made together
SCORED = 1 << 13  # of those, how many are scored together: scores that fit the processor's cache are counted twice as fast
WAITING = 1 << 26  # numbers in user vectors that wait for the same pass over the items: 256 MB


def device_of(model: Model) -> torch.device:
    """Where a model is."""
    return next((t.device for t in [*model.parameters(), *model.buffers()]), torch.device("cpu"))


def hide_seen(scores: Tensor, part: Part, chosen: NDArray[np.int64]) -> Tensor:
    """Scores [B, I+1] with -inf for every item that the users may be read to have met, their whole history long."""
    rows, items = (place.to(scores.device) for place in seen_by(part, chosen))
    scores = scores.expand(len(chosen), -1).clone()
    scores[rows, items] = -torch.inf
    return scores


def seen_by(part: Part, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """What the users at these places may be read to have met, [m]: the user's row in the block, and the item."""
    place, items = part.read_of(part.users[chosen])
    return torch.from_numpy(place), torch.from_numpy(items.astype(np.int64))


def by_scores(model: Model, part: Part, history: int, exclude_seen: bool, size: int) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Places among the part's users, ``size`` at a time, and scores of all items at once, [B, I+1], or [1, I+1] for all alike."""
    device = device_of(model)
    for chosen, batch in ranking_batches(part, size=size, length=history):
        scores = model.score(batch.to(device))
        yield chosen, hide_seen(scores, part, chosen) if exclude_seen else scores


@dataclass(frozen=True, eq=False)
class Waiting:
    """A block of users who wait for the items to pass.

    Attributes:
        chosen: [B] their places among the part's users.
        vectors: [B, D].
        beside: what stands beside the inner products, all of it together.
        seen: rows and items [m] that are left out.
    """

    chosen: NDArray[np.int64]
    vectors: Tensor
    beside: Beside | None
    seen: tuple[Tensor, Tensor] | None

    def scores(self, block: Tensor, start: int, end: int) -> Tensor:
        """[B, end - start] scores of the items ``start`` to ``end - 1``, whose vectors begin the block [m, D]."""
        scores = (self.vectors @ block.T)[:, : end - start]
        if (one := self.beside) is not None:
            here = (one.items >= start) & (one.items < end)
            place = one.rows[here], one.items[here] - start
            scores.index_put_(place, one.values[here].to(scores.dtype), accumulate=True)
        if self.seen is not None:
            rows, items = self.seen
            here = (items >= start) & (items < end)
            scores[rows[here], items[here] - start] = -torch.inf
        return scores

    def own(self, items: Tensor, vectors: Tensor) -> Tensor:
        """[B, 1] the score of an item for each user, whose vectors are given, [B, D]; in blocks of the shape that all others have.

        A product of another shape may be rounded in another way, and equal vectors would not tie.
        """
        parts = [(self.vectors @ _wide(block).T)[SCORED * at :] for at, block in enumerate(torch.split(vectors, SCORED))]
        own = torch.cat([part.diagonal() for part in parts])[: len(vectors), None].contiguous()
        numbers, column = torch.arange(len(own), device=own.device), torch.zeros_like(items)
        if (one := self.beside) is not None:
            here = one.items == items[one.rows]
            own.index_put_((one.rows[here], column[one.rows[here]]), one.values[here].to(own.dtype), accumulate=True)
        if self.seen is not None:
            rows, seen = self.seen
            met = torch.isin(numbers, rows[seen == items[rows]])
            own[met] = -torch.inf
        return own


def waiting(model: VectorModel, part: Part, history: int, exclude_seen: bool, size: int) -> Iterator[list[Waiting]]:
    """Blocks of ``size`` users, as many together as their vectors leave room for."""
    device, group, held = device_of(model), [], 0
    for chosen, batch in ranking_batches(part, size=size, length=history):
        batch = batch.to(device)
        seen: tuple[Tensor, Tensor] | None = None
        if exclude_seen:
            rows, items = seen_by(part, chosen)
            seen = rows.to(device), items.to(device)
        beside = list(model.beside(batch).values())
        group.append(Waiting(chosen, model.users(batch), Beside.of(beside) if beside else None, seen))
        held += group[-1].vectors.numel()
        if held >= WAITING:
            yield group
            group, held = [], 0
    if group:
        yield group


def vectors_of(model: VectorModel, items: Tensor) -> Tensor:
    """[n, D] of the items [n], made in blocks of the shape that all others have."""
    wide = functional.pad(items, (0, -len(items) % ITEMS))
    return torch.cat([model.items(rows) for rows in torch.split(wide, ITEMS)])[: len(items)]


def passes(model: VectorModel) -> Callable[[], Iterator[tuple[int, int, Tensor, bool]]]:
    """A function that gives all items block by block: first, last + 1, vectors [m, D] with zeros below, and whether there are more.

    Where one block holds all items it is made once.
    """
    first = next(iter(model.item_blocks(ITEMS)))
    if len(first) < ITEMS:
        only = 0, len(first), _even(first), False
        return lambda: iter([only])

    def blocks() -> Iterator[tuple[int, int, Tensor, bool]]:
        at = 0
        for made in model.item_blocks(ITEMS):
            for block in torch.split(made, SCORED):
                yield at, at + len(block), _wide(block), True
                at += len(block)

    return blocks


def _wide(block: Tensor) -> Tensor:
    """A block [m, D] with zeros below, as long as all others."""
    return functional.pad(block, (0, 0, 0, SCORED - len(block)))


def _even(block: Tensor) -> Tensor:
    """Rows [m, D] with zeros below: a product with 8,001 of them is slower by a third than one with 8,008."""
    return functional.pad(block, (0, 0, 0, -len(block) % 16))
