"""Whether items with like rows are had by the same users: a number beside a picture, and no artefact of its making."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tmmsrec.data.split import Part
from tmmsrec.significance import Interval, interval
from tmmsrec.study.item_rows import MOST, SEED, ItemRows, by_lot

NEAREST = 10
_SAME = 1e-5  # cosines nearer to each other than this are taken as equal
_BLOCK = 10_000_000  # similarities held at once


@dataclass(frozen=True)
class Company:
    """How many of an item's nearest rows keep it company: some user had both in the training part.

    Attributes:
        items: asked about, each with company among the candidates.
        candidates: items that have such a row and occur in the training part.
        nearest: rows looked at, of the largest cosine.
        share: of them that keep company, the mean over items.
        within: 95 % interval of ``share``, items resampled.
        dealt: the same share with the nearest rows of another item: what is left of it when likeness plays no part, but the
            same rows are often near.
        chance: the same share of candidates drawn evenly.
    """

    items: int
    candidates: int
    nearest: int
    share: float
    within: Interval
    dealt: float
    chance: float


def company(rows: ItemRows, train: Part, most: int = MOST, seed: int = SEED) -> Company | None:
    """Look at items drawn by lot among those with company; None where fewer than two have any.

    Where several rows are equally far at the last place, each counts by its share of the places left.
    """
    met = _met(train, len(rows.present))
    trained = np.asarray(met.sum(axis=0)).ravel() > 0
    candidates = np.flatnonzero(rows.present & trained)
    met = met[:, candidates]
    shared = np.asarray(met.sum(axis=1)).ravel() >= 2
    accompanied = np.zeros(len(rows.present), dtype=bool)
    accompanied[candidates] = np.asarray(met[shared].sum(axis=0)).ravel() > 0
    items = by_lot(accompanied, most, seed)
    if len(items) < 2:
        return None
    at = np.searchsorted(candidates, items)
    k = min(NEAREST, len(candidates) - 1)
    directions = rows.directions(candidates)
    own = np.zeros(len(items))  # of the nearest rows of an item, how many keep it company
    near, with_it = np.zeros(len(candidates)), np.zeros(len(candidates))  # how often each is near, and keeps company
    size = max(1, _BLOCK // len(candidates))
    for begin in range(0, len(items), size):
        block = at[begin : begin + size]
        together = (met[:, block].T @ met).toarray() > 0
        together[np.arange(len(block)), block] = False
        weights = _nearest(directions[block] @ directions.T, block, k)
        own[begin : begin + size] = (weights * together).sum(axis=1)
        near += weights.sum(axis=0)
        with_it += together.sum(axis=0)
    n = len(items)
    # All lists dealt to all other items; an item in the list that it is dealt is passed over.
    dealt = (near @ with_it - own.sum()) / (n * (n - 1) * k - near[at].sum())
    chance = with_it.sum() / (n * (len(candidates) - 1))
    return Company(n, len(candidates), k, float(own.mean()) / k, interval(own / k), float(dealt), float(chance))


def _nearest(cosines: NDArray[np.float32], own: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """[n, c] the weight of each candidate among the k nearest, k in all: 1, or its share of the last places."""
    cosines[np.arange(len(own)), own] = -np.inf
    last = np.partition(cosines, -k, axis=1)[:, -k, None]
    above, level = cosines > last + _SAME, np.abs(cosines - last) <= _SAME
    left = k - above.sum(axis=1, keepdims=True)
    return np.asarray(above + level * (left / level.sum(axis=1, keepdims=True)), dtype=np.float64)


def _met(train: Part, width: int) -> sparse.csr_array:
    """[U, width] 1 where a user had an item among the training events."""
    log = train.interactions
    users = log.owners[train.readable]
    items = log.items[train.readable]
    found = sparse.csr_array((np.ones(len(items), dtype=np.float32), (users, items)), shape=(log.users, width))
    found.sum_duplicates()
    found.data[:] = 1.0
    return found
