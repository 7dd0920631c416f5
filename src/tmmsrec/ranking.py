"""rank(model, part): per user, the rank of the held-out item among all items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmmsrec.data.split import Part
from tmmsrec.models.base import Model, VectorModel
from tmmsrec.processes import Processes
from tmmsrec.scoring import Waiting, by_scores, device_of, passes, vectors_of, waiting


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


def _rows(targets: NDArray[np.int32], device: torch.device) -> Tensor:
    return torch.from_numpy(targets.astype(np.int64)).to(device)


def _by_scores(model: Model, part: Part, history: int, exclude_seen: bool, size: int) -> _Told:
    """Places among the part's users and how their targets stand, by the scores of all items at once."""
    targets = part.targets
    for chosen, scores in by_scores(model, part, history, exclude_seen, size):
        tally = _Tally(scores.gather(1, _rows(targets[chosen], scores.device)[:, None]))
        tally.count(scores[:, 1:])
        yield chosen, tally


@dataclass(eq=False)
class _Asking:
    """A block of users who wait for the items to pass, their targets [B], and how these stand so far."""

    users: Waiting
    targets: Tensor
    tally: _Tally | None = None

    def count(self, block: Tensor, start: int, end: int) -> None:
        """Take the items ``start`` to ``end - 1``, whose vectors begin the block [m, D]."""
        scores = self.users.scores(block, start, end)
        here = ((self.targets >= start) & (self.targets < end)).nonzero()[:, 0]
        place = self.targets[here] - start
        if self.tally is None:
            self.tally = _Tally(scores.gather(1, self.targets[:, None]))
        scores[here, place] = self.tally.own[here, 0]  # a target is equal to itself, however its product was rounded
        self.tally.count(scores if start else scores[:, 1:])


def _by_vectors(model: VectorModel, part: Part, history: int, exclude_seen: bool, size: int) -> _Told:
    """The same by inner products, each block of items with all blocks of users in turn."""
    blocks, device, targets = passes(model), device_of(model), part.targets
    for group in waiting(model, part, history, exclude_seen, size):
        asking = [_Asking(users, _rows(targets[users.chosen], device)) for users in group]
        for start, end, block, several in blocks():
            if several and not start:
                _begin(model, asking)
            for one in asking:
                one.count(block, start, end)
        for one in asking:
            assert one.tally is not None
            yield one.users.chosen, one.tally


def _begin(model: VectorModel, group: Sequence[_Asking]) -> None:
    """Score the targets of a group."""
    vectors = vectors_of(model, torch.cat([asking.targets for asking in group]))
    for asking, own in zip(group, torch.split(vectors, [len(one.targets) for one in group]), strict=True):
        asking.tally = _Tally(asking.users.own(asking.targets, own))


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
