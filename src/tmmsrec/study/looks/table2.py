"""Table 2 as a section: the paper's counts, and what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import Split
from tmmsrec.study import published
from tmmsrec.study.blocks import Points, Section, Table
from tmmsrec.study.gather import Results
from tmmsrec.study.statistics import Spread, Statistics, Targets, statistics, targets

_YEAR = 365.25  # days


def sections(results: Results) -> Sequence[Section]:
    """The data, and the test targets of the study's split where it can cut the data."""
    dataset, split = results.dataset, results.study.split
    found = statistics(dataset)
    asked, remarks = _asked(dataset, split)
    paper = published.sizes(dataset)
    rows = [*_paper(found, paper), *_more(found), *(_of_targets(asked) if asked else [])]
    heads = ["", "unit", dataset.name, "the paper prints"]
    if paper is None:
        heads, rows = heads[:3], [row[:3] for row in rows]
    table = Table(heads, rows, rules=_rules(rows), note=_note(dataset, paper), label="statistics")
    return [Section("Data statistics", [table, Points([*remarks, *_prepared(dataset.report, found, asked)])])]


def _asked(dataset: Dataset, split: Split) -> tuple[Targets | None, list[str]]:
    try:
        return targets(split.cut(dataset.interactions), dataset.n_items), [f"Test targets: {split.said}."]
    except DataProblem as problem:
        return None, [f"Test targets: none; {problem}."]


def _paper(found: Statistics, paper: published.Sizes | None) -> list[list[str]]:
    """The columns of Table 2."""
    printed = ["", "", "", ""]
    if paper is not None:
        printed = [f"{paper.users:,}", f"{paper.items:,}", f"{paper.events:,}", f"{paper.sparsity:.2%}"]
    ours = [f"{found.users:,}", f"{found.items:,}", f"{found.events:,}", f"{found.sparsity:.2%}"]
    names = [("users", "number"), ("items", "number"), ("events", "number"), ("sparsity", "share of user-item pairs")]
    return [[*name, own, theirs] for name, own, theirs in zip(names, ours, printed, strict=True)]


def _more(found: Statistics) -> list[list[str]]:
    """What the paper does not print."""
    between = "share of neighbouring events"
    lines = [
        ("events of a user", "mean; middle; most", _spread(found.per_user)),
        ("events of an item", "mean; middle; most", _spread(found.per_item)),
        ("items met once", "share of items", _percent(found.met_once)),
        ("first and last event", "date, UTC", f"{_date(found.first)}; {_date(found.last)}"),
        ("from the first to the last", "years", f"{found.days / _YEAR:.1f}"),
        ("a user's next event at the same time", between, _percent(found.same_time)),
        ("a user's next event on the same day", between, _percent(found.same_day)),
        ("repeats: the user had the item before", "share of events", _percent(found.repeats)),
        ("the same user, item and time again", "events", f"{found.again:,}"),
        *[(f"items with {what}", "share of items", _percent(share)) for what, share in found.having.items()],
    ]
    return [[*line, ""] for line in lines]


def _of_targets(asked: Targets) -> list[list[str]]:
    lines = [
        ("test targets", "number", f"{asked.users:,}"),
        ("in nobody's training part", "share of test targets", _percent(asked.unseen)),
        ("had before by their user", "share of test targets", _percent(asked.before)),
        ("at the time of the event before them", "share of test targets", _percent(asked.tied)),
    ]
    return [[*line, ""] for line in lines]


def _rules(rows: Sequence[Sequence[str]]) -> frozenset[int]:
    """Apart: what the paper prints, what it leaves out, the test targets."""
    return frozenset(n for n, row in enumerate(rows) if row[0] in ("events of a user", "test targets"))


def _note(dataset: Dataset, paper: published.Sizes | None) -> str:
    said = "Sparsity counts events, not different pairs of user and item, as the paper's does."
    if paper is None:
        return said
    return f"{said} The data are taken for the paper's {published.dataset_of(dataset)} because users, items and events are as many."


def _prepared(report: Mapping[str, Any], found: Statistics, asked: Targets | None) -> list[str]:
    """What the preparation noted, where it bears on numbers."""
    said = []
    order = report.get("ties", {}).get("order")
    if found.same_time > 0:
        decided = f" For {_percent(asked.tied)} of the test users it decided which event is the target." if asked else ""
        said.append(f"The order of a user's events at the same time is {order or 'the given one'}.{decided}")
    duplicates = report.get("duplicates", {})
    if duplicates.get("same_user_item_time"):
        said.append(
            f"{duplicates['same_user_item_time']:,} events that were read repeat an earlier one's user, item and time "
            f"({duplicates.get('same_user_item', 0):,} its user and item); they were {duplicates.get('done', 'kept')}."
        )
    dropped = report.get("users", {}).get("dropped")
    if dropped:
        least = report.get("preparation", {}).get("min_events")
        why = f" of fewer than {least} events" if least else ""
        said.append(f"{dropped:,} users{why} were left out, with {report.get('events', {}).get('of_users_dropped', 0):,} events.")
    missing = [name for name in ("a text", "a picture") if not found.having[name]]
    return [*said, f"No item has {' or '.join(missing)}."] if missing else said


def _spread(of: Spread) -> str:
    return f"{of.mean:,.1f}; {of.middle:,.0f}; {of.most:,}"


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.1%}"


def _date(seconds: int) -> str:
    return str(np.datetime64(seconds, "s").astype("datetime64[D]"))
