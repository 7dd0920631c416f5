"""Test users in groups, by what is known of them and of their target, and how well each method does for a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tmmsrec import metrics, significance
from tmmsrec.data.dataset import Dataset

# Upper edges, inclusive, of history lengths and of days before the target.
LENGTHS = ((2, "1-2 events"), (4, "3-4 events"), (9, "5-9 events"), (19, "10-19 events"), (49, "20-49 events"))
GAPS = ((0.999, "same day"), (7.0, "up to a week"), (30.0, "up to a month"), (100.0, "up to 100 days"))

Grouping = tuple[list[str], NDArray[np.int64]]


@dataclass(frozen=True)
class SliceLine:
    """One group of test users, by method.

    Attributes:
        by: what the users are grouped by.
        label: the group.
        users: how many.
        methods: name -> mean over users and seeds, and its interval.
    """

    by: str
    label: str
    users: int
    methods: dict[str, significance.Slice]


def groups(table: pa.Table, dataset: Dataset | None = None) -> dict[str, Grouping]:
    """What -> (names of the groups, the group of each test user [n]) for a run's table of users.

    Args:
        table: ``Run.table``.
        dataset: tells which items lack a modality; without it nobody is grouped by that.
    """
    length, gap = table["length"].to_numpy(), table["gap_days"].to_numpy()
    again, cold = _flags(table, "repeat"), _flags(table, "cold")
    gap_group = np.digitize(gap, [edge for edge, _ in GAPS], right=True)
    found: dict[str, Grouping] = {
        "the target": (["warm: in someone's training part", "cold: in nobody's"], cold),
        "the user": (["new to the user", "taken before by the user"], again),
        "the history": (
            [name for _, name in LENGTHS] + ["50 or more events"],
            np.digitize(length, [e for e, _ in LENGTHS], right=True),
        ),
        "the gap before the target": (
            [name for _, name in GAPS] + ["over 100 days", "no event before"],
            np.where(np.isnan(gap), len(GAPS) + 1, gap_group),
        ),
    }
    for name, features in sorted(dataset.features.items()) if dataset is not None else ():
        there = features.present[table["target"].to_numpy()]
        if not there.all():
            found[f"the target's {name}"] = ([f"without {name}", f"with {name}"], there.astype(np.int64))
    return found


def kinds(table: pa.Table) -> Grouping:
    """The four kinds of target: whether the user has had it, and whether it is in anybody's training part.

    What a user has had only since the training part ends can be hit by copying, and by nothing that was learned of the item.
    """
    names = ["had before", "had before, in no training part", "new to the user", "new, in no training part"]
    return names, 2 * (1 - _flags(table, "repeat")) + _flags(table, "cold")


def _flags(table: pa.Table, column: str) -> NDArray[np.int64]:
    return np.asarray(table[column].to_numpy(zero_copy_only=False), dtype=np.int64)


def slice_lines(
    tables: Mapping[str, Sequence[pa.Table]], by: Mapping[str, Grouping] | None = None, metric: str = "HR@10"
) -> list[SliceLine]:
    """Means by group of test users; groups without users are left out.

    Args:
        tables: name -> a table of users (``Run.table``) for each seed.
        by: as ``groups`` gives it; that of the first table when left out.
        metric: whose means.
    """
    first = next(iter(tables.values()))[0]
    measure = metrics.parse(metric)
    every = {name: np.stack([measure(t["rank"].to_numpy()) for t in seeds]) for name, seeds in tables.items()}
    found = []
    for what, (names, which) in (groups(first) if by is None else by).items():
        for group in np.unique(which):
            own = which == group
            each = {n: _slice(names[group], v[:, own]) for n, v in every.items()}
            found.append(SliceLine(what, names[group], int(own.sum()), each))
    return found


def _slice(label: str, given: NDArray[np.float64]) -> significance.Slice:
    return significance.Slice(label, given.shape[1], float(given.mean()), significance.interval(given))
