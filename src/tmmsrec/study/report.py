"""What may be said of runs that were asked the same: a line each over all its seeds, and paired comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tmmsrec import metrics, significance, values
from tmmsrec.data.dataset import Dataset
from tmmsrec.study.run import Run
from tmmsrec.study.samples import Sample
from tmmsrec.study.study import Sweep

METRICS = ("HR@10", "NDCG@10")


@dataclass(frozen=True, eq=False)
class Row:
    """One method's line.

    Attributes:
        name: shown.
        runs: one for each seed.
        means: metric name -> mean over test users and seeds.
        intervals: metric name -> 95 % bootstrap interval of that mean, users and seeds resampled together.
    """

    name: str
    runs: Sequence[Run]
    means: Mapping[str, float]
    intervals: Mapping[str, significance.Interval]

    @property
    def first(self) -> Run:
        """The run of the first seed."""
        return self.runs[0]

    @property
    def floor(self) -> bool:
        """Whether it needed no training."""
        return int(self.first.about["parameters"]) == 0

    @property
    def seconds(self) -> float:
        """Spent in training and validation, the median over seeds."""
        return float(np.median([run.about["seconds"]["fit"] for run in self.runs]))

    @property
    def megabytes(self) -> float | None:
        """Most memory its process held, the median over seeds; None where the system did not tell."""
        told = [run.about["memory"]["peak_mb"] for run in self.runs if run.about.get("memory", {}).get("peak_mb")]
        return float(np.median(told)) if told else None

    def values(self, metric: str) -> NDArray[np.float64]:
        """[S, U] of a metric."""
        return np.stack([metrics.parse(metric)(run.ranks) for run in self.runs])

    def spread(self, metric: str) -> tuple[float, float]:
        """Least and largest mean of a seed."""
        means = self.values(metric).mean(axis=1)
        return float(means.min()), float(means.max())


@dataclass(frozen=True, eq=False)
class Report:
    """Runs on one dataset and one split, and what goes with them.

    Attributes:
        dataset: what they learned from.
        runs: name -> a run for each seed.
        subject: the method that the comparisons are about; the last trained one when left out.
        ceiling: metric name -> what the best possible scorer earns, where the world is a made one.
        samples: recommendations to look at.
        notes: further remarks (how settings were chosen, a modality left out, ...).
        chosen: name -> the changes that did best in validation, for people.
        printed: name -> metric name -> what the paper prints for it on these data.
        sweeps: what was changed step by step.
        parts: a part's name -> (the method with it, the method without it).

    Raises:
        ValueError: no run, or runs that were not asked the same (another dataset, split, or treatment of seen items).
    """

    dataset: Dataset
    runs: Mapping[str, Sequence[Run]]
    subject: str = ""
    ceiling: Mapping[str, float] = field(default_factory=dict)
    samples: Sequence[Sample] = ()
    notes: Sequence[str] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)
    printed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sweeps: Sequence[Sweep] = ()
    parts: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.runs or not all(self.runs.values()):
            raise ValueError("a report needs at least one run of every method")
        # The log's own facts and not the fingerprint: a run before feature extraction was asked the same questions.
        asked = {values.canonical(question(run)): name for name, runs in self.runs.items() for run in runs}
        if len(asked) > 1:
            one, other, *_ = asked.values()
            raise ValueError(
                f"'{one}' and '{other}' were not asked the same (dataset, split, targets or seen items): no table can compare them"
            )
        if self.subject and self.subject not in self.runs:
            raise ValueError(f"'{self.subject}' is not among the runs: {', '.join(self.runs)}")

    @cached_property
    def rows(self) -> list[Row]:
        """Floors first, then the trained, each in the given order."""
        found = [row(name, runs) for name, runs in self.runs.items()]
        return [r for r in found if r.floor] + [r for r in found if not r.floor]

    @property
    def trained(self) -> list[Row]:
        """The lines that are no floors."""
        return [r for r in self.rows if not r.floor]

    @property
    def about(self) -> Row:
        """The line of the subject."""
        return next((r for r in self.rows if r.name == self.subject), self.rows[-1])

    @property
    def best_floor(self) -> Row | None:
        """The floor with the highest NDCG@10."""
        return max((r for r in self.rows if r.floor), key=lambda r: r.means["NDCG@10"], default=None)

    @property
    def users(self) -> int:
        """How many test users there are."""
        return int(self.rows[0].first.about["test_users"])

    @property
    def seeds(self) -> int:
        """How many seeds the trained methods have, the most of any."""
        return max(len(r.runs) for r in self.rows)


def question(run: Run) -> dict[str, object]:
    """What a run was asked: runs can be compared where this is the same."""
    sizes = {k.lstrip("#"): v for k, v in run.about["dataset"].items() if k.startswith("#")}
    seen = "left out" if run.job.exclude_seen else "kept"
    return {
        "data": sizes,
        "split": values.to_json(run.job.split),
        "seen items": seen,
        "test users": run.about.get("test_users"),
        "test targets": f"set {run.asked}",
    }


def row(name: str, runs: Sequence[Run]) -> Row:
    """The line of a method: HR@10 and NDCG@10 with their intervals."""
    bare = Row(name, runs, {}, {})
    each = {m: bare.values(m) for m in METRICS}
    return Row(name, runs, {m: float(v.mean()) for m, v in each.items()}, {m: significance.interval(v) for m, v in each.items()})


def places(rows: Sequence[Row], metric: str) -> dict[str, int]:
    """Who is first (1) and second (2) in a metric; equal values share their place."""
    first, *rest = sorted({round(r.means[metric], 12) for r in rows}, reverse=True)
    at = {first: 1, **({rest[0]: 2} if rest else {})}
    return {r.name: at[v] for r in rows if (v := round(r.means[metric], 12)) in at}


@dataclass(frozen=True)
class Versus:
    """One method against another.

    Attributes:
        found: the paired test on the same users, over all seeds.
        p: of that test, Holm-corrected over the table it stands in.
        improvement: the difference as a share of the other's mean; NaN where that is 0.
    """

    found: significance.Comparison
    p: float
    improvement: float


def against_others(report: Report, metric: str = "NDCG@10") -> dict[str, Versus]:
    """The subject against every other method: the other's name -> the subject minus it."""
    return _all({r.name: (report.about, r) for r in report.rows if r.name != report.about.name}, metric)


def against_floor(report: Report, metric: str = "NDCG@10") -> dict[str, Versus]:
    """Every trained method against the best floor: its name -> it minus the floor; empty without a floor."""
    floor = report.best_floor
    return _all({r.name: (r, floor) for r in report.trained}, metric) if floor is not None else {}


def with_and_without(report: Report, metric: str = "NDCG@10") -> dict[str, Versus]:
    """What each part is worth: its name -> the method with it minus the one without."""
    rows = {r.name: r for r in report.rows}
    return _all({part: (rows[one], rows[other]) for part, (one, other) in report.parts.items()}, metric)


def _all(pairs: Mapping[str, tuple[Row, Row]], metric: str) -> dict[str, Versus]:
    tests = {name: significance.paired_test(a.values(metric), b.values(metric)) for name, (a, b) in pairs.items()}
    corrected = significance.holm([c.p for c in tests.values()])
    return {
        name: Versus(tests[name], float(p), tests[name].difference / b.values(metric).mean() if b.means[metric] else np.nan)
        for (name, (_, b)), p in zip(pairs.items(), corrected, strict=True)
    }
