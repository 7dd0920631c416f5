"""What may be said of runs that were asked the same: a line each, paired comparisons, and slices of the test users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tmmsrec import metrics, significance, values
from tmmsrec.data.dataset import Dataset
from tmmsrec.study.run import Run
from tmmsrec.study.samples import Sample

METRICS = ("HR@10", "NDCG@10")
# Upper edges, inclusive, of history lengths and of days before the target.
LENGTHS = ((2, "1-2 events"), (4, "3-4 events"), (9, "5-9 events"), (19, "10-19 events"), (49, "20-49 events"))
GAPS = ((0.999, "same day"), (7.0, "up to a week"), (30.0, "up to a month"), (100.0, "up to 100 days"))


@dataclass(frozen=True, eq=False)
class Row:
    """One method's line.

    Attributes:
        name: shown.
        run: where the ranks are.
        means: metric name -> mean over the test users.
        intervals: metric name -> 95 % bootstrap interval of that mean.
    """

    name: str
    run: Run
    means: dict[str, float]
    intervals: dict[str, significance.Interval]

    @property
    def floor(self) -> bool:
        """Whether it needed no training."""
        return int(self.run.about["parameters"]) == 0

    @property
    def seconds(self) -> float:
        """Spent in training and validation."""
        return float(self.run.about["seconds"]["fit"])


@dataclass(frozen=True, eq=False)
class Report:
    """Runs on one dataset, one split and one seed each, and what goes with them.

    Attributes:
        dataset: what they learned from.
        runs: name -> run.
        subject: the method that the comparisons are about (the bundle's); the last trained one when left out.
        ceiling: metric name -> what the best possible scorer earns, where the world is a made one.
        samples: recommendations to look at.
        notes: further remarks (a modality left out, ...).

    Raises:
        ValueError: no run, or runs that were not asked the same (another dataset, split, or treatment of seen items).
    """

    dataset: Dataset
    runs: Mapping[str, Run]
    subject: str = ""
    ceiling: Mapping[str, float] = field(default_factory=dict)
    samples: Sequence[Sample] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("a report needs at least one run")
        # The log's own facts and not the fingerprint: a run before feature extraction was asked the same questions.
        asked = {values.canonical(question(run)): name for name, run in self.runs.items()}
        if len(asked) > 1:
            one, other, *_ = asked.values()
            raise ValueError(
                f"'{one}' and '{other}' were not asked the same (dataset, split or seen items): no table can compare them"
            )
        if self.subject and self.subject not in self.runs:
            raise ValueError(f"'{self.subject}' is not among the runs: {', '.join(self.runs)}")

    @cached_property
    def rows(self) -> list[Row]:
        """Floors first, then the trained, each in the given order."""
        found = [row(name, run) for name, run in self.runs.items()]
        return [r for r in found if r.floor] + [r for r in found if not r.floor]

    @property
    def about(self) -> Row:
        """The line of the subject."""
        return next((r for r in self.rows if r.name == self.subject), self.rows[-1])

    @property
    def best_floor(self) -> Row | None:
        """The floor with the highest NDCG@10."""
        return max((r for r in self.rows if r.floor), key=lambda r: r.means["NDCG@10"], default=None)

    @property
    def tables(self) -> dict[str, pa.Table]:
        """Name -> the run's table of test users."""
        return {r.name: r.run.table for r in self.rows}

    @property
    def users(self) -> int:
        """How many test users there are."""
        return int(self.rows[0].run.about["test_users"])


def question(run: Run) -> dict[str, object]:
    """What a run was asked: runs can be compared where this is the same."""
    sizes = {k.lstrip("#"): v for k, v in run.about["dataset"].items() if k.startswith("#")}
    seen = "left out" if run.job.exclude_seen else "kept"
    return {"data": sizes, "split": values.to_json(run.job.split), "seen items": seen, "test users": run.about.get("test_users")}


def row(name: str, run: Run) -> Row:
    """The line of one run: HR@10 and NDCG@10 with their intervals."""
    each = {m: metrics.parse(m)(run.ranks) for m in METRICS}
    return Row(name, run, {m: float(v.mean()) for m, v in each.items()}, {m: significance.interval(v) for m, v in each.items()})


def places(rows: Sequence[Row], metric: str) -> dict[str, int]:
    """Who is first (1) and second (2) in a metric; equal values share their place."""
    first, *rest = sorted({round(r.means[metric], 12) for r in rows}, reverse=True)
    at = {first: 1, **({rest[0]: 2} if rest else {})}
    return {r.name: at[v] for r in rows if (v := round(r.means[metric], 12)) in at}


def comparisons(report: Report, metric: str = "NDCG@10") -> dict[str, significance.Comparison]:
    """The subject against every other method on the same users, paired."""
    measure, subject = metrics.parse(metric), report.about
    own = measure(subject.run.ranks)
    return {r.name: significance.paired_test(own, measure(r.run.ranks)) for r in report.rows if r.name != subject.name}


@dataclass(frozen=True)
class SliceLine:
    """One group of test users, by method.

    Attributes:
        by: what the users are grouped by.
        label: the group.
        users: how many.
        methods: name -> mean and interval.
    """

    by: str
    label: str
    users: int
    methods: dict[str, significance.Slice]


def groups(table: pa.Table) -> dict[str, tuple[list[str], NDArray[np.int64]]]:
    """What -> (names of the groups, the group of each test user [n]) for a run's table of users."""
    length, gap = table["length"].to_numpy(), table["gap_days"].to_numpy()
    gap_group = np.digitize(gap, [edge for edge, _ in GAPS], right=True)
    return {
        "the target": (["warm: in someone's training part", "cold: in nobody's"], _flags(table, "cold")),
        "the user": (["new to the user", "taken before by the user"], _flags(table, "repeat")),
        "the history": (
            [name for _, name in LENGTHS] + ["50 or more events"],
            np.digitize(length, [e for e, _ in LENGTHS], right=True),
        ),
        "the gap before the target": (
            [name for _, name in GAPS] + ["over 100 days", "no event before"],
            np.where(np.isnan(gap), len(GAPS) + 1, gap_group),
        ),
    }


def _flags(table: pa.Table, column: str) -> NDArray[np.int64]:
    return np.asarray(table[column].to_numpy(zero_copy_only=False), dtype=np.int64)


def slice_lines(tables: Mapping[str, pa.Table], metric: str = "HR@10") -> list[SliceLine]:
    """Means by group of test users, from name -> table of users (``Run.table``); groups without users are left out."""
    measure = metrics.parse(metric)
    found = []
    for by, (names, which) in groups(next(iter(tables.values()))).items():
        each = {n: {s.group: s for s in significance.slices(measure(t["rank"].to_numpy()), which)} for n, t in tables.items()}
        first = next(iter(each.values()))
        found += [SliceLine(by, names[g], first[g].count, {n: s[g] for n, s in each.items()}) for g in sorted(first)]
    return found
