"""Figure 2 as a section: how long users wait, and whether that is a matter of the two items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tmmsrec.data.dataset import Dataset
from tmmsrec.study import published
from tmmsrec.study.blocks import Beside, Block, Figure, Points, Section, Table, Text
from tmmsrec.study.charts import Columns
from tmmsrec.study.gaps import DAY, Neighbours, Pairs, neighbours, pairs, shares
from tmmsrec.study.gather import Results

SHOWN = 6  # pairs in the table
_LONG = 100  # days, section 1 of the paper
_AXIS = "days, full ones"


def sections(results: Results) -> Sequence[Section]:
    """The whole log is looked at; the split plays no part."""
    dataset = results.dataset
    all_gaps = neighbours(dataset.interactions)
    if not len(all_gaps.seconds):
        return [Section("Time gaps", [Text("No user has two events: there are no gaps.")])]
    same = pairs(all_gaps)
    return [
        Section("Time gaps", [*_all(dataset, all_gaps, same)]),
        Section("The same two items from user to user", _pairs(dataset, all_gaps, same)),
    ]


def _all(dataset: Dataset, all_gaps: Neighbours, same: Pairs) -> list[Block]:
    days = all_gaps.days
    series = {"all neighbouring events": shares(days)}
    if len(same):
        series["pairs of items that several users had"] = shares(same.gaps // DAY)
    chart = Columns(series, f"{_AXIS}, between neighbouring events of a user", "share of gaps")
    printed = published.OVER_100_DAYS.get(published.dataset_of(dataset) or "")
    rows = [
        ["neighbouring events of a user", f"{len(days):,}", ""],
        ["less than a day apart", f"{(days == 0).mean():.2%}", ""],
        [f"more than {_LONG} days apart", f"{(days > _LONG).mean():.2%}", "" if printed is None else f"{printed:.2%}"],
        ["the middle gap, days", f"{np.median(all_gaps.seconds) / DAY:,.1f}", ""],
        ["the longest gap, days", f"{days.max():,}", ""],
    ]
    heads = ["", dataset.name, "the paper prints"]
    if printed is None:
        heads, rows = heads[:2], [row[:2] for row in rows]
    return [Beside([Figure(chart, "gaps", "As Figure 2 (a)."), Table(heads, rows, label="gaps")])]


def _pairs(dataset: Dataset, all_gaps: Neighbours, same: Pairs) -> list[Block]:
    different = int((all_gaps.first != all_gaps.second).sum())
    if not len(same):
        said = (
            f"No two users had the same two items directly after each other, among {different:,} such pairs of different items: "
            "nothing can be said of one pair's gaps."
        )
        return [Text(said)]
    by_lot = same.spread_by_lot()
    series = {"the same pair": shares(same.spread), "gaps dealt to the pairs by lot": shares(by_lot)}
    chart = Columns(series, f"{_AXIS}, between a pair's smallest and largest gap", "share of pairs")
    caption = "What Figure 2 (b) shows of one pair, of all pairs: how far its gaps lie apart from user to user."
    text = (
        f"{len(same):,} pairs of two different items, one directly after the other, were had in this order by two users or more, "
        f"{len(same.gaps):,} times in all (a user counts once for a pair, with the first gap), out of {different:,} neighbouring "
        "events of different items. If a pair's gap were a matter of its items alone, its smallest and its largest would be the "
        "same; if the items said nothing of it, they would lie as far apart as those of gaps dealt by lot."
    )
    rows = [
        ["a day or more between smallest and largest", f"{(same.spread >= 1).mean():.1%}", f"{(by_lot >= 1).mean():.1%}"],
        [
            f"more than {_LONG} days between them",
            f"{(same.spread > _LONG).mean():.1%}",
            f"{(by_lot > _LONG).mean():.1%}",
        ],
        ["the middle pair, days between them", f"{np.median(same.spread):,.0f}", f"{np.median(by_lot):,.0f}"],
    ]
    if not np.isnan(same.within):
        rows.append(["variance of log(1 + days) within pairs", f"{same.within:.1%}", f"{same.within_by_lot:.1%}"])
    return [
        Text(text),
        Beside([Figure(chart, "gaps-of-pairs", caption), Table(["pairs", "the same pair", "by lot"], rows, label="pairs")]),
        _most(dataset, same),
        Points(_remarks(dataset)),
    ]


def _most(dataset: Dataset, same: Pairs) -> Table:
    """The pairs that most users had, and the paper's own where the data has it."""
    order = np.argsort(-same.users, kind="stable")[:SHOWN].tolist()
    own = [p for p in _of_paper(dataset, same) if p not in order]
    rows = []
    for p in order + own:
        days = same.gaps[same.offsets[p] : same.offsets[p + 1]] / DAY
        items = [_name(dataset, int(of[p])) for of in (same.first, same.second)]
        numbers = [f"{int(days.min()):,}", f"{np.median(days):,.1f}", f"{int(days.max()):,}"]
        rows.append([" then ".join(items), f"{len(days):,}", *numbers])
    heads = ["one item, then the other", "users", "smallest gap, days", "middle", "largest"]
    return Table(heads, rows, note="The pairs that most users had.", label="pairs-most")


def _of_paper(dataset: Dataset, same: Pairs) -> list[int]:
    ids = dataset.catalog.ids
    if not all(item in ids for item in published.PAIR):
        return []
    a, b = (ids.row(item) for item in published.PAIR)
    found = ((same.first == a) & (same.second == b)) | ((same.first == b) & (same.second == a))
    return [int(p) for p in np.flatnonzero(found)]


def _name(dataset: Dataset, row: int) -> str:
    title = dataset.catalog.describe(row).get("title")
    item = str(dataset.catalog.ids[row])
    return item if title is None else f"{item} ({str(title)[:40]})"


def _remarks(dataset: Dataset) -> list[str]:
    said = ["Where events of a day have the same time, which of them are neighbours is a matter of the order they were given in."]
    if all(item in dataset.catalog.ids for item in published.PAIR):
        lo, hi = published.PAIR_DAYS
        said.append(f"The paper's pair, {' and '.join(published.PAIR)}: it prints gaps from {lo} to {hi} days.")
    return said
