"""Metrics of ranks, one number per user.

A rank is 0-based: how many items score higher than the held-out one, plus half of those that tie with it.  So a rank
may end in .5; a metric then takes the value of its formula at that rank, ``1 / log2(rank + 2)`` and so on, and a hit
needs ``rank < K`` (a tie across the cut-off counts by the side on which its middle lies).  There is one held-out item
per user, so the ideal DCG is 1 and NDCG needs no division.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def _one(ranks: Floats) -> Floats:
    return np.ones_like(ranks)


def _dcg(ranks: Floats) -> Floats:
    return 1.0 / np.log2(ranks + 2.0)


def _reciprocal(ranks: Floats) -> Floats:
    return 1.0 / (ranks + 1.0)


_ALSO = {"HIT": "HR", "RECALL": "HR"}  # one target a user: to find it is to recall all there is
_GAIN: dict[str, Callable[[Floats], Floats]] = {"HR": _one, "NDCG": _dcg, "MRR": _reciprocal}


@dataclass(frozen=True)
class Metric:
    """A metric by name, cut at ``k`` places or not at all: ``NDCG @ 10`` prints as ``NDCG@10``.

    HR@K is 1 where rank < K; NDCG@K is 1 / log2(rank + 2) there, MRR@K is 1 / (rank + 1) there, and all are 0 elsewhere
    (Eq. 15 and 16 of the paper, the latter with the cut-off it leaves out).  NDCG and MRR may go without a cut-off.
    """

    name: str
    k: int | None = None

    def __post_init__(self) -> None:
        if self.name not in _GAIN:
            raise ValueError(f"unknown metric '{self.name}'; known: {', '.join(_GAIN)}")
        if self.k is not None and (isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1):
            raise ValueError(f"{self.name}: a cut-off is a whole number from 1, got {self.k!r}")

    def __matmul__(self, k: int) -> Metric:
        return Metric(self.name, k)

    def __str__(self) -> str:
        return self.name if self.k is None else f"{self.name}@{self.k}"

    def usable(self) -> Metric:
        """This metric; raises ValueError for HR without a cut-off, which would be 1 for everybody."""
        if self.name == "HR" and self.k is None:
            raise ValueError("HR needs a cut-off, like HR@10")
        return self

    def __call__(self, ranks: ArrayLike) -> Floats:
        """One number per user, of the shape of ``ranks`` ([U] or [S, U], 0-based, .5 allowed).

        Raises:
            ValueError: a negative, NaN or infinite rank (the first is named), or HR without a cut-off.
        """
        self.usable()
        given = np.asarray(ranks, dtype=np.float64)
        bad = ~(np.isfinite(given) & (given >= 0))
        if bad.any():
            first = int(np.argmax(bad))
            raise ValueError(f"ranks are finite and start from 0; user {first % given.shape[-1]} has {given.reshape(-1)[first]}")
        gain = _GAIN[self.name](given)
        return gain if self.k is None else np.where(given < self.k, gain, 0.0)


HR = Metric("HR")
NDCG = Metric("NDCG")
MRR = Metric("MRR")


def parse(text: str) -> Metric:
    """The metric that prints as ``text``: ``parse("NDCG@10") == NDCG @ 10``; ValueError for anything else, and for HR alone.

    With one target a user, Recall@K and Hit@K are HR@K.
    """
    name, at, k = text.partition("@")
    if at and not (k.isascii() and k.isdigit()):
        raise ValueError(f"'{text}' is no metric: write a name and a cut-off, like NDCG@10")
    name = name.strip().upper()
    return Metric(_ALSO.get(name, name), int(k) if at else None).usable()
