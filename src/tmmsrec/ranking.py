"""rank(model, part): per user, the rank of the held-out item among all items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tmmsrec.data.batch import ranking_batches
from tmmsrec.data.split import Part
from tmmsrec.models.base import Model, VectorModel
from tmmsrec.nn.beside import Beside
from tmmsrec.processes import Processes

ITEMS = 1 << 16  # item vectors that are made together
SCORED = 1 << 13  # of those, how many are scored together: scores that fit the processor's cache are counted twice as fast
WAITING = 1 << 26  # numbers in user vectors that wait for the same pass over the items: 256 MB


@dataclass(frozen=True, eq=False)
class Ranks:
    """The verdict.

    Attributes:
        users: [n] user rows.
        targets: [n] the items asked for.
        ranks: [n] float64, 0 is best: items that score higher, plus half of those that tie.
        n_items: how many items were ranked.
        seen_excluded: whether items in the user's history were left out (a target among them then ranks last with the others).
    """

    users: NDArray[np.int64]
    targets: NDArray[np.int32]
    ranks: NDArray[np.float64]
    n_items: int
    seen_excluded: bool


def ranks_of(scores: Tensor, targets: Tensor) -> Tensor:
    """The 0-based rank of each target among its row of scores, ties at their mean rank.

    A NaN counts against the model: a NaN elsewhere stands before the target, a NaN target stands last.

    Args:
        scores: [B, I+1], column 0 (padding) is left out.
        targets: [B] item rows.
    """
    tally = _Tally(scores.gather(1, targets[:, None]))
    tally.count(scores[:, 1:])
    return tally.ranks()


class _Tally:
    """How targets stand among items that are counted block by block; the targets themselves must be among them.

    Args:
        own: [B, 1] the targets' scores.
    """

    def __init__(self, own: Tensor) -> None:
        self.own, self.items = own, 0
        self._not_below, self._ties = (torch.zeros(len(own), dtype=torch.int64, device=own.device) for _ in range(2))

    def count(self, scores: Tensor) -> None:
        """Take the scores [B, m] of more items."""
        self.items += scores.shape[1]
        self._not_below += scores.shape[1] - _true(scores <= self.own)  # higher, or NaN
        self._ties += _true(scores == self.own)

    def ranks(self) -> Tensor:
        """[B] float64."""
        ranks = self._not_below.double() + (self._ties - 1).double() / 2
        return torch.where(self.own[:, 0].isnan(), float(self.items - 1), ranks)


def _true(mask: Tensor) -> Tensor:
    """[B] int64, how many are true in each row of [B, m]; numpy counts ten times as fast as torch sums."""
    return torch.from_numpy(np.count_nonzero(mask.numpy(), axis=1)) if mask.device.type == "cpu" else mask.sum(1)


@torch.inference_mode()
def rank(model: Model, part: Part, *, history: int, exclude_seen: bool = False, size: int = 512, observe: bool = True) -> Ranks:
    """Rank every item for every user of a validation or test part, in blocks of users and, for inner products, of items.

    Args:
        model: put into evaluation mode for the duration.
        part: whose targets are ranked.
        history: how many of each user's newest events the model reads (``Method.history``).
        exclude_seen: leave out items in the user's history.
        size: users per block; scores take ``size`` times 65,536 numbers at the most, or ``size * (I+1)`` where they are no inner
            products.
        observe: tell the model of the part's readable events first, as models that count need it.
    """
    was_training = model.training
    model.eval()
    if observe:
        model.observe(part)
    how = part, history, exclude_seen, size
    ranks, n_items = np.zeros(len(part)), 0
    for chosen, tally in _by_vectors(model, *how) if isinstance(model, VectorModel) else _by_scores(model, *how):
        ranks[chosen], n_items = tally.ranks().cpu().numpy(), tally.items
    model.train(was_training)
    return Ranks(part.users, part.targets, ranks, n_items, exclude_seen)


_Told = Iterator[tuple[NDArray[np.int64], _Tally]]


def _device(model: Model) -> torch.device:
    return next((t.device for t in [*model.parameters(), *model.buffers()]), torch.device("cpu"))


def _targets(part: Part, chosen: NDArray[np.int64], device: torch.device) -> Tensor:
    return torch.from_numpy(part.targets[chosen].astype(np.int64)).to(device)


def _by_scores(model: Model, part: Part, history: int, exclude_seen: bool, size: int) -> _Told:
    """Places among the part's users and how their targets stand, by the scores of all items at once."""
    device = _device(model)
    for chosen, batch in ranking_batches(part, size=size, length=history):
        scores = model.score(batch.to(device))
        if exclude_seen:
            scores = hide_seen(scores, part, chosen)
        tally = _Tally(scores.gather(1, _targets(part, chosen, device)[:, None]))
        tally.count(scores[:, 1:])
        yield chosen, tally


def hide_seen(scores: Tensor, part: Part, chosen: NDArray[np.int64]) -> Tensor:
    """Scores [B, I+1] with -inf for every item that the users may be read to have met, their whole history long."""
    rows, items = (place.to(scores.device) for place in _seen(part, chosen))
    scores = scores.expand(len(chosen), -1).clone()
    scores[rows, items] = -torch.inf
    return scores


def _seen(part: Part, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """What the users at these places may be read to have met, [m]: the user's row in the block, and the item."""
    place, items = part.read_of(part.users[chosen])
    return torch.from_numpy(place), torch.from_numpy(items.astype(np.int64))


@dataclass(eq=False)
class _Asking:
    """A block of users who wait for the items to pass.

    Attributes:
        chosen: [B] their places among the part's users.
        vectors: [B, D].
        targets: [B].
        beside: what stands beside the inner products.
        seen: rows and items [m] that are left out.
        tally: how the targets stand so far.
    """

    chosen: NDArray[np.int64]
    vectors: Tensor
    targets: Tensor
    beside: list[Beside]
    seen: tuple[Tensor, Tensor] | None
    tally: _Tally | None = None

    def count(self, block: Tensor, start: int, end: int) -> None:
        """Take the items ``start`` to ``end - 1``, whose vectors begin the block [m, D]."""
        scores = self._adjusted((self.vectors @ block.T)[:, : end - start], start, end)
        here = ((self.targets >= start) & (self.targets < end)).nonzero()[:, 0]
        place = self.targets[here] - start
        if self.tally is None:
            self.tally = _Tally(scores.gather(1, self.targets[:, None]))
        scores[here, place] = self.tally.own[here, 0]  # a target is equal to itself, however its product was rounded
        self.tally.count(scores if start else scores[:, 1:])

    def _adjusted(self, scores: Tensor, start: int, end: int) -> Tensor:
        """Scores [B, end - start] with what stands beside them, and without what was seen."""
        for one in [Beside.of(self.beside)] if self.beside else []:
            here = (one.items >= start) & (one.items < end)
            place = one.rows[here], one.items[here] - start
            scores.index_put_(place, one.values[here].to(scores.dtype), accumulate=True)
        if self.seen is not None:
            rows, items = self.seen
            here = (items >= start) & (items < end)
            scores[rows[here], items[here] - start] = -torch.inf
        return scores

    def begin(self, vectors: Tensor) -> None:
        """Score the targets, whose vectors are given, [B, D]; in blocks of the shape that all others have.

        A product of another shape may be rounded in another way, and equal vectors would not tie.
        """
        parts = [(self.vectors @ _wide(block).T)[SCORED * at :] for at, block in enumerate(torch.split(vectors, SCORED))]
        own = torch.cat([part.diagonal() for part in parts])[: len(vectors), None].contiguous()
        numbers, column = torch.arange(len(own), device=own.device), torch.zeros_like(self.targets)
        for one in [Beside.of(self.beside)] if self.beside else []:
            here = one.items == self.targets[one.rows]
            own.index_put_((one.rows[here], column[one.rows[here]]), one.values[here].to(own.dtype), accumulate=True)
        if self.seen is not None:
            rows, items = self.seen
            met = torch.isin(numbers, rows[items == self.targets[rows]])
            own[met] = -torch.inf
        self.tally = _Tally(own)


def _by_vectors(model: VectorModel, part: Part, history: int, exclude_seen: bool, size: int) -> _Told:
    """The same by inner products, each block of items with all blocks of users in turn."""
    blocks = _passes(model)
    for group in _groups(model, part, history, exclude_seen, size):
        for start, end, block, several in blocks():
            if several and not start:
                _begin(model, group)
            for asking in group:
                asking.count(block, start, end)
        for asking in group:
            assert asking.tally is not None
            yield asking.chosen, asking.tally


def _groups(model: VectorModel, part: Part, history: int, exclude_seen: bool, size: int) -> Iterator[list[_Asking]]:
    """Blocks of users, as many together as their vectors leave room for."""
    device, group, held = _device(model), [], 0
    for chosen, batch in ranking_batches(part, size=size, length=history):
        batch = batch.to(device)
        seen = tuple(place.to(device) for place in _seen(part, chosen)) if exclude_seen else None
        vectors, beside = model.users(batch), list(model.beside(batch).values())
        group.append(_Asking(chosen, vectors, _targets(part, chosen, device), beside, seen))  # type: ignore[arg-type]
        held += group[-1].vectors.numel()
        if held >= WAITING:
            yield group
            group, held = [], 0
    if group:
        yield group


def _begin(model: VectorModel, group: Sequence[_Asking]) -> None:
    """Score the targets of a group, their vectors made in blocks of the shape that all others have."""
    targets = torch.cat([asking.targets for asking in group])
    wide = functional.pad(targets, (0, -len(targets) % ITEMS))
    vectors = torch.cat([model.items(rows) for rows in torch.split(wide, ITEMS)])[: len(targets)]
    for asking, own in zip(group, torch.split(vectors, [len(one.targets) for one in group]), strict=True):
        asking.begin(own)


def _passes(model: VectorModel) -> Callable[[], Iterator[tuple[int, int, Tensor, bool]]]:
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


def rank_shared(
    model: Model, part: Part, processes: Processes, *, history: int, exclude_seen: bool = False, observe: bool = True
) -> Ranks:
    """``rank``, each process with its share of the users; all of them get the whole verdict."""
    if processes.size == 1 or len(part) < processes.size:
        return rank(model, part, history=history, exclude_seen=exclude_seen, observe=observe)
    if observe:
        model.observe(part)
    mine = replace(part, users=part.users[processes.share(len(part))])
    own = rank(model, mine, history=history, exclude_seen=exclude_seen, observe=False)
    return replace(own, users=part.users, targets=part.targets, ranks=processes.gather(own.ranks, len(part)))
