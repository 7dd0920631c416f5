"""Figure 2: days between neighbouring events of a user, and between the same two items from user to user.

The paper argues (section 1) with a share, that of gaps beyond 100 days, and with one pair of items whose gap is another one for
every user.  Here all pairs are counted, and their gaps held against the same gaps dealt to the pairs by lot: only what is left then
is a matter of the pair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions

DAY = 86_400
_GAPS = (("0", 1), ("1-3", 4), ("4-7", 8), ("8-14", 15), ("15-30", 31), ("31-60", 61), ("61-100", 101), ("101-365", 366))
_WORK = 5_000_000  # gaps dealt in all, so that much data is dealt but once


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Events of a user directly after each other, in the log's order.

    Attributes:
        users: [n] whose.
        first, second: [n] item rows.
        seconds: [n] from the one to the other.
    """

    users: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    seconds: NDArray[np.int64]

    @property
    def days(self) -> NDArray[np.int64]:
        """[n] full days of 24 hours."""
        return self.seconds // DAY


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of two different items that several users had directly after each other, in this order; ragged by pair.

        pair 0: first[0] then second[0], gaps[offsets[0]:offsets[1]]

    Attributes:
        first, second: [P] item rows.
        offsets: [P+1] where each pair's gaps begin and end.
        gaps: seconds, one per user (the first, where a user had the pair again and again).
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    offsets: NDArray[np.int64]
    gaps: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def users(self) -> NDArray[np.int64]:
        """[P] how many users had the pair."""
        return np.diff(self.offsets)

    @property
    def spread(self) -> NDArray[np.int64]:
        """[P] full days between a pair's smallest and its largest gap."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        starts = self.offsets[:-1]
        found: NDArray[np.int64] = np.maximum.reduceat(self.gaps, starts) - np.minimum.reduceat(self.gaps, starts)
        return found // DAY

    @property
    def within(self) -> float:
        """Share of the variance of log(1 + days) that lies within pairs; NaN where all gaps are the same."""
        x = np.log1p(self.gaps / DAY)
        total = ((x - x.mean()) ** 2).sum() if len(x) else 0.0
        if total == 0:
            return float("nan")
        means = np.add.reduceat(x, self.offsets[:-1]) / self.users
        return float(((x - np.repeat(means, self.users)) ** 2).sum() / total)

    @property
    def within_by_lot(self) -> float:
        """What ``within`` is on average if the gaps are dealt to the pairs by lot: (n - P) / (n - 1)."""
        return (len(self.gaps) - len(self)) / max(1, len(self.gaps) - 1)

    def dealt(self, rng: np.random.Generator) -> Pairs:
        """The same pairs, with all gaps dealt by lot."""
        return replace(self, gaps=rng.permutation(self.gaps))

    def spread_by_lot(self, seed: int = 0, draws: int = 200) -> NDArray[np.int64]:
        """[draws * P] ``spread`` of dealt gaps; fewer draws where there are many gaps."""
        rng, draws = np.random.default_rng(seed), max(1, min(draws, _WORK // max(1, len(self.gaps))))
        return np.concatenate([self.dealt(rng).spread for _ in range(draws)])


def neighbours(log: Interactions) -> Neighbours:
    """All neighbouring events of all users."""
    users = log.owners
    inside = users[1:] == users[:-1]
    items = log.items.astype(np.int64)
    return Neighbours(users[1:][inside], items[:-1][inside], items[1:][inside], np.diff(log.times)[inside])


def pairs(given: Neighbours, at_least: int = 2) -> Pairs:
    """Pairs of different items that at least so many users had directly after each other."""
    other = np.flatnonzero(given.first != given.second)
    size = int(given.second.max(initial=0)) + 1
    keys = given.first[other] * size + given.second[other]
    order = np.argsort(keys, kind="stable")  # stable: users in order, and each user's pairs in time
    keys, at = keys[order], other[order]
    users = given.users[at]
    once = _changes(keys) | _changes(users)
    keys, at = keys[once], at[once]
    starts = np.flatnonzero(_changes(keys))
    counts = np.diff(np.append(starts, len(keys)))
    enough = counts >= at_least
    kept = at[np.repeat(enough, counts)]
    heads = at[starts[enough]]
    offsets = np.concatenate([[0], np.cumsum(counts[enough])]).astype(np.int64)
    return Pairs(given.first[heads], given.second[heads], offsets, given.seconds[kept])


def _changes(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[n] where a sequence differs from what stands before; true at its start."""
    found = np.ones(len(values), dtype=bool)
    found[1:] = values[1:] != values[:-1]
    return found


def shares(days: NDArray[np.int64]) -> dict[str, float]:
    """Days -> share of them; all zero where there are none."""
    which = np.digitize(days, [edge for _, edge in _GAPS])
    counts = np.bincount(which, minlength=len(_GAPS) + 1) / max(1, len(days))
    return dict(zip([*[name for name, _ in _GAPS], "> 365"], counts.tolist(), strict=True))


def gap_shares(dataset: Dataset) -> dict[str, float]:
    """Days between neighbouring events of a user -> share of all such neighbours."""
    return shares(neighbours(dataset.interactions).days)
