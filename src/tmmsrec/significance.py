"""What may be said about means over users, and over training seeds: intervals, paired tests, correction for many of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_BLOCK = 4_000_000  # numbers held at once while resampling, 32 MB


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
        interval: of that mean, 95 %.
        effect: Cohen's d of the pairs: the difference in units of its standard deviation over users (0 if that is 0).
        p: two-sided probability of a difference at least this large if there were none.
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
    """Paired test over users, and over training seeds where there are several.

    With one seed on each side: sign-flip permutation over users, and a bootstrap interval.  With more, users and seeds are
    crossed: users are paired, the seeds of ``a`` and ``b`` are two samples of their own; the variance of the difference is the
    sum of what users, a's seeds and b's seeds bring, and the t-distribution's degrees of freedom are Satterthwaite's.  So a
    difference counts only where it would be found again with other users and with other seeds.  What has one seed (a floor,
    which has no luck) brings no variance of seeds.

    Args:
        a: [U] one number per user, or [S, U] for S seeds.
        b: the same users in the same order, [U] or [T, U].
        draws: random flips, so the smallest p is 1 / (draws + 1); with at most 14 users that differ, every flip is
            counted instead.
        seed: of the flips.

    Raises:
        ValueError: different numbers of users, or values that are not finite.
    """
    left, right = (np.atleast_2d(np.asarray(v, dtype=np.float64)) for v in (a, b))
    if left.shape[-1] != right.shape[-1] or not left.size:
        raise ValueError(f"a paired test needs the same users on both sides, got {left.shape[-1]} and {right.shape[-1]}")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("a paired test needs finite values; NaN or infinity was given")
    pairs = left.mean(axis=0) - right.mean(axis=0)
    spread = float(pairs.std(ddof=1)) if len(pairs) > 1 else 0.0
    if len(left) == len(right) == 1:
        within, p = interval(pairs, seed=seed), _sign_flip(pairs, draws, np.random.default_rng(seed))
    else:
        within, p = _crossed(left, right, pairs)
    return Comparison(
        difference=float(pairs.mean()),
        interval=within,
        effect=float(pairs.mean()) / spread if spread > 0 else 0.0,
        p=p,
        wins=int((pairs > 0).sum()),
        losses=int((pairs < 0).sum()),
        users=len(pairs),
    )


def _crossed(left: Floats, right: Floats, pairs: Floats, level: float = 0.95) -> tuple[Interval, float]:
    """Interval and p of the mean of pairs, for users crossed with two samples of seeds."""
    from scipy.stats import t

    parts = [(pairs.var(ddof=1) / len(pairs), len(pairs) - 1)] if len(pairs) > 1 else [(0.0, 1)]
    parts += [(_of_seeds(side), len(side) - 1) for side in (left, right) if len(side) > 1]
    variance = float(sum(part for part, _ in parts))
    difference = float(pairs.mean())
    if variance <= 0:
        return Interval(difference, difference, level), 1.0 if difference == 0 else 0.0
    freedom = variance**2 / float(sum(part**2 / df for part, df in parts))
    error = float(np.sqrt(variance))
    reach = float(t.ppf((1 + level) / 2, freedom)) * error
    return Interval(difference - reach, difference + reach, level), float(2 * t.sf(abs(difference) / error, freedom))


def _of_seeds(values: Floats) -> float:
    """What seeds bring to the variance of the mean of [S, U], without what the users' pairs bring already."""
    seeds, users = values.shape
    rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    noise = float((rest**2).sum()) / ((seeds - 1) * max(1, users - 1))
    of_means = float(values.mean(axis=1).var(ddof=1))
    return float(max(0.0, of_means / seeds - noise / (seeds * users)))


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
