"""How the best items are found: by scoring all of them, or among candidates from an index over their vectors (faiss)."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmmsrec.data.problems import DataProblem

Near = Callable[[NDArray[np.float32], int], NDArray[np.int64]]  # queries [B, D] and k -> places [B, k], -1 where there are fewer

_MOST_STALE = 200  # places that changed items may take among the nearest before candidates are lost


class Search(ABC):
    """A way to find the items with the largest inner products: a value."""

    @abstractmethod
    def build(self, vectors: NDArray[np.float32]) -> Near | None:
        """What searches the vectors [m, D]; None where all of them are scored.

        Raises:
            DataProblem: faiss is not installed.
        """


@dataclass(frozen=True)
class Exact(Search):
    """Every item is scored."""

    def build(self, vectors: NDArray[np.float32]) -> None:
        """Nothing to build."""
        return


@dataclass(frozen=True)
class HNSW(Search):
    """A graph of neighbours, walked from far to near (Malkov and Yashunin 2016).

    Attributes:
        links: of each item in the graph; memory grows with it.
        ef_construction: candidates held while an item is put in; the time of building grows with it.
        ef_search: candidates held while searching; recall and time grow with it.
    """

    links: int = 32
    ef_construction: int = 200
    ef_search: int = 128

    def __post_init__(self) -> None:
        _at_least_one(self, "links", "ef_construction", "ef_search")

    def build(self, vectors: NDArray[np.float32]) -> Near:
        """The graph of the vectors [m, D]."""
        faiss = _faiss()
        index = faiss.IndexHNSWFlat(vectors.shape[1], self.links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.ef_construction
        index.add(vectors)

        def near(queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
            how = faiss.SearchParametersHNSW(efSearch=max(self.ef_search, 2 * k))
            found: NDArray[np.int64] = index.search(queries, k, params=how)[1]
            return found

        return near


@dataclass(frozen=True)
class IVF(Search):
    """Lists of items around centres, of which the nearest are scored.

    Attributes:
        lists: how many; None for the square root of the number of items.
        probes: lists that are looked through; recall and time grow with it.
        seed: of the centres.
    """

    lists: int | None = None
    probes: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least_one(self, "probes", *(["lists"] if self.lists is not None else []))

    def build(self, vectors: NDArray[np.float32]) -> Near:
        """Centres of the vectors [m, D], and the vectors in their lists."""
        faiss = _faiss()
        lists = min(self.lists or round(len(vectors) ** 0.5), len(vectors))
        centres = faiss.IndexFlatIP(vectors.shape[1])
        index = faiss.IndexIVFFlat(centres, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed, index.cp.min_points_per_centroid = self.seed, 1
        index.train(vectors)
        index.add(vectors)

        def near(queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
            found: NDArray[np.int64] = index.search(queries, k, params=faiss.SearchParametersIVF(nprobe=self.probes))[1]
            return found

        return near


@dataclass(frozen=True)
class Recall:
    """What an index finds of what there is, and what it costs; measured when it was built.

    Attributes:
        at: k.
        recall: share of the k best items that the index finds, the mean over queries.
        queries: how many known users were asked for.
        exact_ms: milliseconds of one query, all items scored and the k best taken.
        index_ms: the same by the index.
    """

    at: int
    recall: float
    queries: int
    exact_ms: float
    index_ms: float


@dataclass(frozen=True, eq=False)
class Index:
    """An index over the vectors of the items that may be recommended, and what came or changed after it was built.

    Searching it changes nothing, so several threads may.  What came later is scored exactly beside it: it is found at once, at
    the price of that scoring; build anew (``Recommender.with_search``) when there is much of it.

    Attributes:
        how: the value it was built from.
        near: searches the built part.
        rows: [m] item rows of the built part, in its order.
        built: [I+1, D] the vectors of all items then.
        current: [m] bool, which of them are still so.
        beside: [r] item rows that are scored exactly.
        seconds: it took to build.
        recall: what it finds; None before it was measured.
    """

    how: Search
    near: Near = field(repr=False)
    rows: Tensor = field(repr=False)
    built: Tensor = field(repr=False)
    current: Tensor = field(repr=False)
    beside: Tensor = field(repr=False)
    seconds: float = 0.0
    recall: Recall | None = None

    @classmethod
    def over(cls, how: Search, vectors: Tensor, knows: Tensor) -> Index | None:
        """An index over the vectors [I+1, D] of the items [I+1] that may be recommended; None where ``how`` is exact."""
        begun = time.perf_counter()
        rows = knows.nonzero()[:, 0]
        if not len(rows):
            raise DataProblem("there is no item that could be recommended: nothing to index")
        near = how.build(vectors[rows].float().cpu().numpy())
        if near is None:
            return None
        none = rows.new_zeros(0)
        return cls(how, near, rows, vectors, torch.ones_like(rows, dtype=torch.bool), none, time.perf_counter() - begun)

    def grown(self, vectors: Tensor, knows: Tensor) -> Index:
        """The same index for a catalogue to which items came, or of which some changed: vectors and knows of all, as ``over``."""
        # Another number of rows may be multiplied in another order: the same vector up to rounding is the same.
        same = torch.isclose(vectors[: len(self.built)], self.built, rtol=1e-5, atol=1e-6).all(1)
        current = knows[self.rows] & same[self.rows]
        beside = knows.clone()
        beside[self.rows[current]] = False
        return Index(self.how, self.near, self.rows, self.built, current, beside.nonzero()[:, 0], self.seconds, self.recall)

    @cached_property
    def stale(self) -> int:
        """How many items of the built part have changed since."""
        return int((~self.current).sum())

    def candidates(self, users: Tensor, vectors: Tensor, k: int) -> Tensor:
        """Item rows [B, m] for user vectors [B, D], among them about the k best; 0 where there is none.

        Args:
            users: [B, D].
            vectors: [I+1, D] of all items as they are now.
            k: how many are wanted.
        """
        asked = min(k + min(self.stale, _MOST_STALE), len(self.rows))
        places = torch.from_numpy(self.near(users.float().cpu().numpy(), asked)).to(users.device)
        held = (places >= 0) & self.current[places.clamp_min(0)]
        rows = torch.where(held, self.rows[places.clamp_min(0)], 0)
        if not len(self.beside):
            return rows
        best = (users @ vectors[self.beside].T).topk(min(k, len(self.beside)), dim=1).indices
        return torch.cat([rows, self.beside[best]], dim=1)


def _at_least_one(value: Search, *names: str) -> None:
    for name in names:
        if getattr(value, name) < 1:
            raise ValueError(f"{type(value).__name__}.{name} is at least 1, got {getattr(value, name)}")


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise DataProblem("approximate search needs faiss: pip install 'tmmsrec[ann]'") from None
    return faiss
