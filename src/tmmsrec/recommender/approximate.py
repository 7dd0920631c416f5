"""Answers by way of an index, where a question allows it; all others are answered exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tmmsrec.data.problems import DataProblem
from tmmsrec.recommender import asking
from tmmsrec.recommender.search import Index, Recall, Search
from tmmsrec.recommender.state import State

_MOST = 1000  # candidates: a question that needs more is answered exactly
_QUERIES, _TIMED = 1000, 100
_NUMBERS = 32_000_000  # of item vectors gathered at once


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


def best(state: State, users: Tensor, k: int, allowed: Tensor | None, seen: Sequence[Tensor]) -> tuple[Tensor, Tensor] | None:
    """The k best of each query among an index's candidates; None when the question is better answered exactly.

    Args:
        state: has an index.
        users: [B, D] user vectors.
        k: how many.
        allowed: [I+1] bool, which items an answer may hold; None for all.
        seen: for each query, item rows to leave out.

    Returns:
        Item rows and scores [B, up to k], best first, equal scores in the order of the catalogue; -inf where fewer are left.
    """
    index, vectors = state.index, state.vectors
    if index is None or vectors is None:
        return None
    eligible = state.knows if allowed is None else state.knows & allowed
    known, left = int(state.knows.sum()), int(eligible.sum())
    wanted = k + max((len(one) for one in seen), default=0)
    # Enough whatever is hidden, where that is little; else twice what would do if the hidden ones lay anywhere.
    fetched = wanted + min(known - left, math.ceil(2 * wanted * known / max(1, left)))
    if fetched > _MOST or not left:
        return None
    rows = index.candidates(users, vectors, fetched).sort(dim=1).values
    scores = _scores(users, vectors, rows)
    hidden = (rows == 0) | ~eligible[rows]
    for n, one in enumerate(seen):
        hidden[n] |= torch.isin(rows[n], one)
    scores, order = scores.masked_fill(hidden, -torch.inf).sort(dim=1, descending=True, stable=True)
    return rows.gather(1, order)[:, :k], scores[:, :k]


def _measured(state: State, index: Index, k: int) -> Recall | None:
    """Recall of the k best over known users, at most 1,000 spread over all of them; None when nobody can be asked for."""
    vectors = state.vectors
    assert vectors is not None
    log = state.dataset.interactions
    known = np.flatnonzero(log.lengths)
    known = known[:: max(1, -(-len(known) // _QUERIES))]
    if not len(known):
        return None
    now = asking.now_seconds()
    asked = [asking.of_user(state.dataset, state.dataset.users[int(row)], None, now) for row in known]
    users = torch.cat([state.queries(asking.batch_of(asked[n : n + 256], state.method.history)) for n in range(0, len(asked), 256)])
    k = min(k, int(state.knows.sum()))

    def exact(some: Tensor) -> Tensor:
        return (some @ vectors.T).masked_fill(~state.knows, -torch.inf).topk(k, dim=1).indices

    def near(some: Tensor) -> Tensor:
        rows = index.candidates(some, vectors, k)
        return rows.gather(1, _scores(some, vectors, rows).topk(k, dim=1).indices)

    true, found = (torch.cat([of(part) for part in _parts(users, 256)]) for of in (exact, near))
    recall = (true[:, :, None] == found[:, None, :]).any(2).double().mean()
    return Recall(k, float(recall), len(users), _milliseconds(exact, users), _milliseconds(near, users))


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


def _parts(whole: Tensor, size: int) -> list[Tensor]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]
