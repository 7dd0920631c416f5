"""The words that belong beside a table: the result in a sentence, the protocol, how much is noise, what the data is."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tmmsrec import significance
from tmmsrec.data.dataset import Dataset
from tmmsrec.study.report import Report
from tmmsrec.study.run import Run
from tmmsrec.study.spelling import plain


def headline(report: Report) -> str:
    """The result in a sentence, the floors included."""
    subject, metric = report.about, "HR@10"
    said = (
        f"{subject.name} puts the item that came next among its first ten for {subject.means[metric]:.1%} "
        f"of {report.users:,} users (95 % interval {_percent(subject.intervals[metric])})"
    )
    floor = report.best_floor
    best = max(report.rows, key=lambda r: r.means[metric])
    higher = ""
    if best.means[metric] > subject.means[metric] and best is not floor:
        higher = f" The highest of all is {best.name} with {best.means[metric]:.1%}."
    if floor is None or floor.name == subject.name:
        return f"{said}.{higher}"
    compared = significance.paired_test(subject.values(metric), floor.values(metric))
    verdict = (
        "no clear difference"
        if compared.interval.lo <= 0 <= compared.interval.hi
        else ("better" if compared.difference > 0 else "worse")
    )
    return f"{said}; the best method that needs no training, {floor.name}, for {floor.means[metric]:.1%}: {verdict}.{higher}"


def _percent(interval: significance.Interval) -> str:
    return f"{interval.lo:.1%} to {interval.hi:.1%}"


_FEW = 30  # users, below which an interval of the bootstrap says little


def remarks(report: Report) -> list[str]:
    """What a reader of the table must know: the protocol, who reads what, how much is noise, and the report's own notes."""
    return [protocol(report), noise(report), reading(report), *report.notes]


def protocol(report: Report) -> str:
    """How it was measured."""
    return protocol_of(report.rows[0].first, [r.first.job.training.metric for r in report.trained])


def protocol_of(run: Run, watched: Collection[str]) -> str:
    """How a run, and those beside it, were measured; ``watched`` are the metrics that chose their epochs."""
    by = f" (by {', '.join(sorted(set(watched)))})" if watched else ""
    seen = "left out of the ranking" if run.job.exclude_seen else "kept in the ranking"
    return (
        f"{run.job.split.said}{by}. All {run.about['items_ranked']:,} items are ranked, items with equal scores at their mean "
        f"rank; items the user has met are {seen}."
    )


def noise(report: Report) -> str:
    """How large a difference has to be before it can mean something."""
    items = report.rows[0].first.about["items_ranked"]
    if items <= 10:
        return f"With {items} items all of them are among the first ten: HR@10 is 1 for any method that scores every item."
    if report.users < _FEW:
        return (
            f"{report.users} test users are too few to tell methods apart: no number here, nor its interval, is more than a hint."
        )
    worst = max(float(r.values("HR@10").mean(axis=0).std()) for r in report.rows) / np.sqrt(report.users)
    return (
        f"{report.users:,} test users: the standard error of HR@10 is up to {worst:.4f}, so two numbers less than about "
        f"{2 * worst:.3f} apart may differ by chance alone. The paired comparison, on the same users, is sharper."
    )


def reading(report: Report) -> str:
    """Which methods read the events' times, and which the moment of the request."""
    time = [r.name for r in report.rows if r.first.job.method.reads_time]
    now = [r.name for r in report.rows if r.first.job.method.reads_now]
    return (
        f"Read the times of past events: {', '.join(time) or 'none'}. Read the moment of the request: {', '.join(now) or 'none'}."
    )


def facts(dataset: Dataset) -> dict[str, str]:
    """What the data is, line by line, for people."""
    log, told = dataset.interactions, dataset.report
    found = {k.lstrip("#"): v for k, v in dataset.table2().items()}
    found["Events per user"] = (
        f"{log.lengths.mean():.1f} on average, {int(np.median(log.lengths))} in the middle, {int(log.lengths.max())} at most"
    )
    found["From, to"] = " to ".join(
        str(np.datetime64(int(t), "s").astype("datetime64[D]")) for t in (log.times.min(), log.times.max())
    )
    for name, features in sorted(dataset.features.items()):
        made = features.provenance.get("encoder", features.provenance.get("name", ""))
        made = made.get("kind", "") if isinstance(made, dict) else made
        found[f"Features: {name}"] = f"{features.width} numbers, {features.coverage:.1%} of the items" + (
            f", {made}" if made else ""
        )
    for title, name in (
        ("Time", "time"),
        ("Events read", "events"),
        ("Users read", "users"),
        ("Duplicates", "duplicates"),
        ("Ties", "ties"),
    ):
        if name in told:
            found[title] = plain(told[name])
    return found
