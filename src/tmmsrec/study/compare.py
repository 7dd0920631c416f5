"""One run against another on the same test users: by how much, how surely, where, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmmsrec import metrics, significance
from tmmsrec.data.problems import DataProblem
from tmmsrec.study.report import question
from tmmsrec.study.run import Run
from tmmsrec.study.slices import groups
from tmmsrec.study.spelling import plain

METRICS = ("HR@10", "NDCG@10", "MRR")


@dataclass(frozen=True)
class Group:
    """Test users of one kind.

    Attributes:
        by: what the users are grouped by.
        label: the group.
        means: of the first and of the second run.
        compared: the first minus the second.
    """

    by: str
    label: str
    means: tuple[float, float]
    compared: significance.Comparison


@dataclass(frozen=True)
class Move:
    """A test user whose target stands elsewhere.

    Attributes:
        user, target: rows inside.
        ranks: 0-based, in the first and in the second run.
        gain: the first run's metric minus the second's.
        facts: of the user: cold, repeat, length, gap_days.
    """

    user: int
    target: int
    ranks: tuple[float, float]
    gain: float
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Differences:
    """What ``compare`` found.

    Attributes:
        means: metric name -> means of the first and of the second run.
        whole: metric name -> the first minus the second over all test users.
        groups: the same for kinds of users, in one metric; p is Holm-corrected over them.
        gained: users for whom the first run is better, the largest gain first.
        lost: users for whom the second run is better, the largest loss first.
    """

    means: Mapping[str, tuple[float, float]]
    whole: Mapping[str, significance.Comparison]
    groups: list[Group]
    gained: list[Move]
    lost: list[Move]


def compare(one: Run, other: Run, *, metric: str = "NDCG@10", most: int = 10) -> Differences:
    """One run minus another, user by user.

    Args:
        one: the first.
        other: the second, asked the same.
        metric: of the groups and of the users named.
        most: how many users are named on each side.

    Raises:
        DataProblem: the runs were not asked the same; the message says in what they differ.
    """
    _check(one, other)
    named = list(dict.fromkeys([*METRICS, str(metrics.parse(metric))]))
    each = {m: (metrics.parse(m)(one.ranks), metrics.parse(m)(other.ranks)) for m in named}
    a, b = each[str(metrics.parse(metric))]
    up, down = np.argsort(b - a, kind="stable"), np.argsort(a - b, kind="stable")
    return Differences(
        means={m: (float(x.mean()), float(y.mean())) for m, (x, y) in each.items()},
        whole={m: significance.paired_test(x, y) for m, (x, y) in each.items()},
        groups=_groups(one, a, b),
        gained=[_move(one, other, at, a - b) for at in up[:most] if a[at] > b[at]],
        lost=[_move(one, other, at, a - b) for at in down[:most] if a[at] < b[at]],
    )


def _check(one: Run, other: Run) -> None:
    mine, theirs = question(one), question(other)
    different = [name for name in mine if mine[name] != theirs[name]]
    if different:
        said = "; ".join(f"{n}: {plain(mine[n])} against {plain(theirs[n])}" for n in different)
        if different == ["test targets"]:
            said += ", as with another order of equal times"
        raise DataProblem(
            f"{one.folder} and {other.folder} were not asked the same, so nothing can be said of one by the other ({said})"
        )


def _groups(run: Run, a: NDArray[np.float64], b: NDArray[np.float64]) -> list[Group]:
    found = []
    for by, (names, which) in groups(run.table).items():
        for group in np.unique(which):
            own = which == group
            means = float(a[own].mean()), float(b[own].mean())
            found.append(Group(by, names[group], means, significance.paired_test(a[own], b[own])))
    corrected = significance.holm([g.compared.p for g in found])
    return [Group(g.by, g.label, g.means, replace(g.compared, p=float(p))) for g, p in zip(found, corrected, strict=True)]


def _move(one: Run, other: Run, at: np.intp, gain: NDArray[np.float64]) -> Move:
    row = {name: column[0] for name, column in one.table.slice(int(at), 1).to_pydict().items()}
    ranks = float(one.ranks[at]), float(other.ranks[at])
    facts = {name: row[name] for name in ("cold", "repeat", "length", "gap_days")}
    return Move(int(row["user"]), int(row["target"]), ranks, float(gain[at]), facts)
