"""Answers by way of an index, where a question allows it; all others are answered exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmmsrec.data.problems import DataProblem
from tmmsrec.nn.beside import Beside
from tmmsrec.recommender import asking
from tmmsrec.recommender.search import Index, Recall, Search
from tmmsrec.recommender.state import State

_MOST = 1000  # candidates: a question that needs more is answered exactly
_QUERIES, _TIMED = 1000, 100
_NUMBERS = 32_000_000  # of item vectors gathered at once

Cut = TypeVar("Cut", Tensor, list[asking.Asked])


def indexed(state: State, how: Search, k: int = 10) -> State:
    """The State with an index over its item vectors, its recall measured; without one where ``how`` is exact.

    Raises:
        DataProblem: the method has no item vectors, faiss is not installed, or nothing may be recommended.
    """
    if state.vectors is None:
        name = type(state.method).__name__
        raise DataProblem(f"{name} scores by no inner product, so there are no vectors to index: search exactly")
    with torch.inference_mode():
        index = Index.over(how, state.vectors, state.knows)
        return state.searched_by(index and replace(index, recall=_measured(state, index, k)))


def regrown(state: State, before: State) -> State:
    """A State that came after another one, with that one's index: what is new or has changed is searched beside it."""
    if before.index is None or state.vectors is None:
        return state
    with torch.inference_mode():
        return state.searched_by(before.index.grown(state.vectors, state.knows))


@dataclass(frozen=True, eq=False)
class Wish:
    """What one answer may hold.

    Attributes:
        k: how many items.
        allowed: [I+1] bool; None for all.
        seen: item rows to leave out.
        fetched: how many candidates that takes; 0 where it is better answered exactly.
    """

    k: int
    allowed: Tensor | None
    seen: Tensor
    fetched: int

    @classmethod
    def of(cls, state: State, k: int, allowed: Tensor | None, seen: NDArray[np.int64] | None) -> Wish:
        """Of a question."""
        out = torch.from_numpy(np.zeros(0, np.int64) if seen is None else np.unique(seen)).to(state.device)
        wanted = k + len(out)
        left = state.known if allowed is None else int((state.knows & allowed).sum())
        # Enough whatever is hidden, where that is little; else twice what would do if the hidden ones lay anywhere.
        fetched = wanted + min(state.known - left, math.ceil(2 * wanted * state.known / max(1, left)))
        return cls(k, allowed, out, fetched if fetched <= _MOST else 0)


def best(state: State, users: Tensor, beside: dict[str, Beside], wishes: Sequence[Wish]) -> tuple[Tensor, Tensor]:
    """The best of an index's candidates for user vectors [B, D] and what each wishes.

    An item with something beside the inner product is a candidate, whatever the index says of it.

    Returns:
        Item rows and scores [B, up to the largest k], best first, equal scores in the order of the catalogue; -inf where fewer
        are left.
    """
    index, vectors = state.index, state.vectors
    assert index is not None
    assert vectors is not None
    rows = index.candidates(users, vectors, max(wish.fetched for wish in wishes))
    if beside:
        rows = torch.cat([rows, *(one.padded(len(users)) for one in beside.values())], dim=1)
    rows = rows.sort(dim=1).values
    scores = _scores(users, vectors, rows) + sum(one.at(rows) for one in beside.values())
    hidden = ~state.knows[rows]
    hidden[:, 1:] |= rows[:, 1:] == rows[:, :-1]
    for n, wish in enumerate(wishes):
        if len(wish.seen):
            hidden[n] |= torch.isin(rows[n], wish.seen)
        if wish.allowed is not None:
            hidden[n] |= ~wish.allowed[rows[n]]
    scores, order = scores.masked_fill(hidden, -torch.inf).sort(dim=1, descending=True, stable=True)
    most = max(wish.k for wish in wishes)
    return rows.gather(1, order)[:, :most], scores[:, :most]


def exactly(users: Tensor, vectors: Tensor, knows: Tensor, k: int) -> Tensor:
    """[B, k] rows of the best items for user vectors [B, D], all of them scored."""
    return (users @ vectors.T).masked_fill(~knows, -torch.inf).topk(k, dim=1).indices


def nearly(users: Tensor, vectors: Tensor, index: Index, k: int) -> Tensor:
    """[B, k] the same among an index's candidates."""
    rows = index.candidates(users, vectors, k)
    scores = _scores(users, vectors, rows).masked_fill(rows == 0, -torch.inf)
    return rows.gather(1, scores.topk(k, dim=1).indices)


def recall_of(index: Index, users: Tensor, vectors: Tensor, knows: Tensor, k: int) -> Recall:
    """What an index finds of the k best for user vectors [B, D], and what one query costs."""
    k = min(k, int(knows.sum()))

    def exact(some: Tensor) -> Tensor:
        return exactly(some, vectors, knows, k)

    def near(some: Tensor) -> Tensor:
        return nearly(some, vectors, index, k)

    true, found = (torch.cat([way(part) for part in _parts(users, 256)]) for way in (exact, near))
    recall = (true[:, :, None] == found[:, None, :]).any(2).double().mean()
    return Recall(k, float(recall), len(users), _milliseconds(exact, users), _milliseconds(near, users))


def _measured(state: State, index: Index, k: int) -> Recall | None:
    """Recall of the k best over known users, at most 1,000 spread over all of them; None when nobody can be asked for."""
    assert state.vectors is not None
    asked = [one for _, one in state.of_everybody(most=_QUERIES)]
    if not asked:
        return None
    users = torch.cat([state.queries(asking.batch_of(part, state.method.history)) for part in _parts(asked, 256)])
    return recall_of(index, users, state.vectors, state.knows, k)


def _milliseconds(search: Callable[[Tensor], Tensor], users: Tensor) -> float:
    """Median wall milliseconds of a search for one user."""
    took = []
    for one in _parts(users[:_TIMED], 1):
        begun = time.perf_counter()
        search(one)
        took.append(1000 * (time.perf_counter() - begun))
    return float(np.median(took))


def _scores(users: Tensor, vectors: Tensor, rows: Tensor) -> Tensor:
    """[B, m] scores of the item rows [B, m]."""
    size = max(1, _NUMBERS // max(1, rows.shape[1] * vectors.shape[1]))
    parts = zip(_parts(users, size), _parts(rows, size), strict=True)
    return torch.cat([torch.einsum("bd,bmd->bm", some, vectors[own]) for some, own in parts])


def _parts(whole: Cut, size: int) -> list[Cut]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]
