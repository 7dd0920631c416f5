"""The lists that a model gives, and what they are like: how many items they reach, and how much is said by them.

Ranks tell whether the next item stands near the top; these numbers tell what else a shop would show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tmmsrec.data.catalog import Features
from tmmsrec.data.split import Part
from tmmsrec.models.base import Model, VectorModel
from tmmsrec.scoring import by_scores, passes, waiting

USERS = 10_000  # whose lists say what a model's lists are like
SCORES = 10**10  # of these users and all items, at the most
_PEOPLE = 1 << 16  # training users whose items are counted together


@dataclass(frozen=True, eq=False)
class Lists:
    """The best items of some users.

    Attributes:
        users: [n] user rows.
        items: [n, k] item rows, best first; 0 where no item stands clear: what ties with an item beyond the list is there by
            chance alone, and a model of which many items are worth nothing lists only those that are worth something.
        n_items: how many items there were to choose from.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    n_items: int


@torch.inference_mode()
def lists(
    model: Model,
    part: Part,
    *,
    history: int,
    k: int = 10,
    users: int = USERS,
    exclude_seen: bool = False,
    size: int = 512,
    observe: bool = True,
) -> Lists:
    """The k best items for users of a part, at the moment of their targets, among all items; NaN is below everything.

    Args:
        model: put into evaluation mode for the duration.
        part: whose users are asked about.
        history: how many of each user's newest events the model reads (``Method.history``).
        k: places.
        users: where the part has more, so many that lie evenly among them are asked about, always the same ones.
        exclude_seen: leave out items in the user's history.
        size: users per block.
        observe: tell the model of the part's readable events first, as models that count need it.

    Raises:
        ValueError: k or users below 1.
    """
    if k < 1 or users < 1:
        raise ValueError(f"lists have at least one place and are for at least one user, got k={k}, users={users}")
    was_training = model.training
    model.eval()
    if observe:
        model.observe(part)
    few = _some(part, users)
    found = np.zeros((len(few), k), dtype=np.int64)
    how = few, history, exclude_seen, size
    n_items = 0
    for chosen, best in _by_vectors(model, k, *how) if isinstance(model, VectorModel) else _by_scores(model, k, *how):
        found[chosen], n_items = best.clear().cpu().numpy(), best.passed - 1
    model.train(was_training)
    return Lists(few.users, found, n_items)


def enough(n_items: int) -> int:
    """How many users say what a model's lists are like, so that not too many scores are made for it."""
    return max(1, min(USERS, SCORES // n_items))


def _some(part: Part, users: int) -> Part:
    if len(part) <= users:
        return part
    return replace(part, users=part.users[np.linspace(0, len(part) - 1, users).round().astype(np.int64)])


class _Best:
    """The best k + 1 of scores [B, I+1] that come in blocks of items."""

    def __init__(self, k: int) -> None:
        self.k, self.passed = k, 0
        self.scores, self.items = torch.zeros(0), torch.zeros(0)

    def take(self, scores: Tensor) -> None:
        """The next items' scores [B, m]; the first block begins with the padding row."""
        scores = scores.masked_fill(scores.isnan(), -torch.inf)
        if not self.passed:
            scores[:, 0] = -torch.inf
        best, at = scores.topk(min(self.k + 1, scores.shape[1]), dim=1)
        at = at + self.passed
        if self.passed:
            best, at = torch.cat([self.scores, best], 1), torch.cat([self.items, at], 1)
            best, order = best.topk(min(self.k + 1, best.shape[1]), dim=1)
            at = at.gather(1, order)
        self.scores, self.items, self.passed = best, at, self.passed + scores.shape[1]

    def clear(self) -> Tensor:
        """[B, k] the best items, equal ones by their rows; 0 for what ties with one beyond the list, and for what was left out."""
        missing = 0, self.k + 1 - self.scores.shape[1]
        scores, items = functional.pad(self.scores, missing, value=-torch.inf), functional.pad(self.items, missing)
        items = items * (scores > scores[:, self.k :])
        items, order = items[:, : self.k].sort(dim=1)
        return items.gather(1, scores[:, : self.k].gather(1, order).sort(dim=1, descending=True, stable=True).indices)


_Told = Iterator[tuple[NDArray[np.int64], _Best]]


def _by_scores(model: Model, k: int, part: Part, history: int, exclude_seen: bool, size: int) -> _Told:
    for chosen, scores in by_scores(model, part, history, exclude_seen, size):
        best = _Best(k)
        best.take(scores.expand(len(chosen), -1))
        yield chosen, best


def _by_vectors(model: VectorModel, k: int, part: Part, history: int, exclude_seen: bool, size: int) -> _Told:
    blocks = passes(model)
    for group in waiting(model, part, history, exclude_seen, size):
        best = [_Best(k) for _ in group]
        for start, end, block, _ in blocks():
            for users, one in zip(group, best, strict=True):
                one.take(users.scores(block, start, end))
        yield from ((users.chosen, one) for users, one in zip(group, best, strict=True))


def described(given: Lists, part: Part, train: Part, features: Mapping[str, Features] | None = None) -> dict[str, float | int]:
    """What lists are like.

    Args:
        given: the lists.
        part: the part whose users they are for; says what each user had.
        train: says how many users met each item.
        features: for how different the items of a list are in each of them.

    Returns:
        users, k: of how many users and places this is said.
        filled: share of places that hold an item.
        coverage: share of all items that stand in some list.
        gini: how unevenly the places are shared out among all items: 0 evenly, near 1 where few items have them all.
        novelty: mean over filled places of -log2 of the share of training users who met the item; an item that nobody met counts
            as met by one.
        repeats: share of filled places with an item that the user had before.
        never_met: share of filled places with an item that is in nobody's training part.
        difference TEXT: for each kind of features, 1 minus the mean cosine of two items of a list that have them, over users.
    """
    users, k = given.items.shape
    held = given.items > 0
    items = given.items[held]
    found: dict[str, float | int] = {"users": users, "k": k, "filled": float(held.mean()) if held.size else 0.0}
    if not len(items):
        return found
    shown = np.bincount(items, minlength=given.n_items + 1)[1:]
    people = _people(train, given.n_items)
    mine = replace(part, users=given.users)
    place, had = mine.read_of(mine.users)
    owned = np.isin(_pair(np.repeat(np.arange(users), held.sum(1)), items), _pair(place, had))
    found |= {
        "coverage": float((shown > 0).mean()),
        "gini": _gini(shown),
        "novelty": float(-np.log2(np.maximum(people[items], 1) / max(1, len(train))).mean()),
        "repeats": float(owned.mean()),
        "never_met": float((people[items] == 0).mean()),
    }
    apart = {f"difference {name}": _difference(given.items, one) for name, one in (features or {}).items()}
    return found | {name: value for name, value in apart.items() if value is not None}


def _pair(user: NDArray[np.int64], item: NDArray[np.integer]) -> NDArray[np.int64]:
    """One number for a user and an item."""
    return user.astype(np.int64) << 32 | item.astype(np.int64)


def _people(train: Part, n_items: int) -> NDArray[np.int64]:
    """[I+1] how many training users met each item."""
    people = np.zeros(n_items + 1, np.int64)
    for start in range(0, len(train.users), _PEOPLE):  # the log may be larger than memory
        met = np.unique(_pair(*train.read_of(train.users[start : start + _PEOPLE])))
        people += np.bincount(met & 0xFFFFFFFF, minlength=n_items + 1)
    return people


def _gini(shown: NDArray[np.int64]) -> float:
    """Gini's coefficient of non-negative numbers [I], not all of them 0."""
    ordered = np.sort(shown)
    at = np.arange(1, len(ordered) + 1)
    return float((2 * at - len(ordered) - 1) @ ordered / (len(ordered) * ordered.sum()))


def _difference(items: NDArray[np.int64], features: Features) -> float | None:
    """1 minus the mean cosine of two items [n, k] of a list, over the lists that have two such items; None where there is none."""
    apart = []
    for block in np.array_split(items, -(-len(items) // 512)):
        has = features.present[block] & (block > 0)
        rows = np.asarray(features.rows[block], dtype=np.float32) * has[..., None]
        lengths = np.linalg.norm(rows, axis=-1)
        has &= lengths > 0
        rows /= np.where(has, lengths, 1)[..., None]
        pairs = has.sum(1) * (has.sum(1) - 1.0)
        alike = np.square(rows.sum(1)).sum(1) - has.sum(1)  # every pair twice
        apart.append(1 - alike[pairs > 0] / pairs[pairs > 0])
    every = np.concatenate(apart)
    return float(every.mean()) if len(every) else None
