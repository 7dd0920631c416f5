"""Metrics of ranks, one number per user, and what may be said about their means.

A rank is 0-based: how many items score higher than the held-out one, plus half of those that tie with it.  So a rank
may end in .5; a metric then takes the value of its formula at that rank, ``1 / log2(rank + 2)`` and so on, and a hit
needs ``rank < K`` (a tie across the cut-off counts by the side on which its middle lies).  There is one held-out item
per user, so the ideal DCG is 1 and NDCG needs no division.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_BLOCK = 4_000_000  # numbers held at once while resampling, 32 MB


def _one(ranks: Floats) -> Floats:
    return np.ones_like(ranks)


def _dcg(ranks: Floats) -> Floats:
    return 1.0 / np.log2(ranks + 2.0)


def _reciprocal(ranks: Floats) -> Floats:
    return 1.0 / (ranks + 1.0)


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

    def __call__(self, ranks: ArrayLike) -> Floats:
        """One number per user, of the shape of ``ranks`` ([U] or [S, U], 0-based, .5 allowed).

        Raises:
            ValueError: a negative, NaN or infinite rank (the first is named), or HR without a cut-off.
        """
        if self.name == "HR" and self.k is None:
            raise ValueError("HR needs a cut-off: write HR @ 10")
        given = np.asarray(ranks, dtype=np.float64)
        bad = ~(np.isfinite(given) & (given >= 0))
        if bad.any():
            first = int(np.argmax(bad))
            raise ValueError(f"ranks are finite and start from 0; user {first} has {given.reshape(-1)[first]}")
        gain = _GAIN[self.name](given)
        return gain if self.k is None else np.where(given < self.k, gain, 0.0)


HR = Metric("HR")
NDCG = Metric("NDCG")
MRR = Metric("MRR")


def parse(text: str) -> Metric:
    """The metric that prints as ``text``: ``parse("NDCG@10") == NDCG @ 10``; raises ValueError for anything else."""
    name, at, k = text.partition("@")
    if at and not (k.isascii() and k.isdigit()):
        raise ValueError(f"'{text}' is no metric: write a name and a cut-off, like NDCG@10")
    return Metric(name.strip().upper(), int(k) if at else None)


@dataclass(frozen=True)
class Interval:
    """Where a mean lies at a level of confidence; unpacks as ``lo, hi``."""

    lo: float
    hi: float
    level: float = 0.95

    def __iter__(self) -> Iterator[float]:
        return iter((self.lo, self.hi))

    def __str__(self) -> str:
        return f"{self.lo:.4f}..{self.hi:.4f}"


def interval(values: ArrayLike, level: float = 0.95, draws: int = 2000, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of a mean over users, or over seeds and users.

    Args:
        values: [U], or [S, U] for S training seeds of the same users; then seeds and users are resampled together, so
            the interval covers the luck of training as well.  (With fewer than about five seeds that part is rough.)
        level: confidence, between 0 and 1.
        draws: resamples.
        seed: of the resampling.

    Users with equal values are drawn as one multinomial class, which is the same distribution and makes a million users
    cheap, since a metric of ranks takes few values; memory stays bounded either way.
    """
    given = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if given.ndim != 2 or given.size == 0:
        raise ValueError(f"an interval needs values [U] or [S, U] of at least one user, got shape {np.shape(values)}")
    if not np.isfinite(given).all():
        raise ValueError("an interval needs finite values; NaN or infinity was given")
    if not 0 < level < 1:
        raise ValueError(f"level lies between 0 and 1, got {level}")
    means = _resampled_means(given, draws, np.random.default_rng(seed))
    lo, hi = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(lo), float(hi), level)


def _resampled_means(values: Floats, draws: int, rng: np.random.Generator) -> Floats:
    seeds, users = values.shape
    distinct, counts = np.unique(values, axis=1, return_counts=True)
    few = len(counts) * 8 <= users
    width = len(counts) if few else users
    block = max(1, _BLOCK // width)
    means = np.empty(draws)
    for start in range(0, draws, block):
        n = min(block, draws - start)
        if few:
            per_seed = rng.multinomial(users, counts / users, size=n) @ distinct.T
        else:
            drawn = rng.integers(0, users, size=(n, users))
            per_seed = np.stack([row[drawn].sum(axis=1) for row in values], axis=1)
        weight = rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=n)
        means[start : start + n] = (per_seed * weight).sum(axis=1) / (seeds * users)
    return means


@dataclass(frozen=True)
class Comparison:
    """What a paired test says of ``a`` against ``b`` on the same users.

    Attributes:
        difference: mean of a - b.
        interval: bootstrap interval of that mean.
        effect: Cohen's d of the pairs: the difference in units of its standard deviation over users (0 if that is 0).
        p: two-sided probability of a difference at least this large if a and b were exchangeable for every user.
        wins: users for whom a is better; ``losses``: b is better; the rest of ``users`` tie.
    """

    difference: float
    interval: Interval
    effect: float
    p: float
    wins: int
    losses: int
    users: int


def paired_test(a: ArrayLike, b: ArrayLike, draws: int = 20_000, seed: int = 0) -> Comparison:
    """Paired sign-flip permutation test over users.

    Args:
        a: [U] one number per user, or [S, U], averaged over seeds first.
        b: the same users in the same order.
        draws: random flips, so the smallest p is 1 / (draws + 1); with at most 14 users that differ, every flip is
            counted instead.
        seed: of the flips.

    Raises:
        ValueError: different numbers of users, or values that are not finite.
    """
    left, right = (np.atleast_2d(np.asarray(v, dtype=np.float64)).mean(axis=0) for v in (a, b))
    if left.shape != right.shape or not len(left):
        raise ValueError(f"a paired test needs the same users on both sides, got {len(left)} and {len(right)}")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("a paired test needs finite values; NaN or infinity was given")
    pairs = left - right
    spread = float(pairs.std(ddof=1)) if len(pairs) > 1 else 0.0
    return Comparison(
        difference=float(pairs.mean()),
        interval=interval(pairs, seed=seed),
        effect=float(pairs.mean()) / spread if spread > 0 else 0.0,
        p=_sign_flip(pairs, draws, np.random.default_rng(seed)),
        wins=int((pairs > 0).sum()),
        losses=int((pairs < 0).sum()),
        users=len(pairs),
    )


def _sign_flip(pairs: Floats, draws: int, rng: np.random.Generator) -> float:
    moved = pairs[pairs != 0]
    if not len(moved):
        return 1.0
    seen = abs(moved.sum()) - 1e-9 * np.abs(moved).sum()  # sums in another order differ in the last digits
    if len(moved) <= 14:
        signs = 1 - 2 * (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1)
        return float((np.abs(signs @ moved) >= seen).mean())
    # Users whose difference has the same size flip as one binomial, which is the same distribution.
    sizes, counts = np.unique(np.abs(moved), return_counts=True)
    block = max(1, _BLOCK // len(sizes))
    beyond = 0
    for start in range(0, draws, block):
        ups = rng.binomial(counts, 0.5, size=(min(block, draws - start), len(sizes)))
        beyond += int((np.abs((2 * ups - counts) @ sizes) >= seen).sum())
    return (beyond + 1) / (draws + 1)


def holm(pvalues: ArrayLike) -> Floats:
    """Holm's step-down correction: adjusted p-values in the given order, each to be held against the level itself.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    p = np.asarray(pvalues, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("holm takes a list of p-values between 0 and 1")
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted


@dataclass(frozen=True)
class Slice:
    """The users of one group: how many, their mean, and its interval."""

    group: Any
    count: int
    mean: float
    interval: Interval


def slices(
    values: ArrayLike, groups: Sequence[Any] | NDArray[Any], level: float = 0.95, draws: int = 2000, seed: int = 0
) -> list[Slice]:
    """Summaries of ``values`` [U] by the label in ``groups`` [U], in the labels' sorted order."""
    given, labels = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if given.shape != labels.shape or given.ndim != 1:
        raise ValueError(f"slices need one label per user, got {given.shape} values and {labels.shape} labels")
    names, which = np.unique(labels, return_inverse=True)
    found = []
    for i, name in enumerate(names):
        own = given[which == i]
        found.append(Slice(name.item(), len(own), float(own.mean()), interval(own, level, draws, seed)))
    return found
