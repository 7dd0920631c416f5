"""Reports: numbers against a slow count, what may not be compared, and the words beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tmmsrec import zoo
from tmmsrec.data.dataset import Dataset
from tmmsrec.significance import holm
from tmmsrec.study import report, samples, slices, words
from tmmsrec.study.blocks import Table
from tmmsrec.study.run import Job, Run, run
from tmmsrec.study.telling import comparisons


def test_rows_are_means_of_ranks(whole: report.Report) -> None:
    assert [r.name for r in whole.rows] == ["popularity", "markov", "sasrec", "tmmsrec"]
    assert [r.floor for r in whole.rows] == [True, True, False, False]
    for row in whole.rows:
        assert len(row.runs) == (1 if row.floor else 2)
        ranks = [r for run in row.runs for r in run.ranks.tolist()]
        assert row.means["HR@10"] == pytest.approx(sum(r < 10 for r in ranks) / len(ranks))
        assert row.means["NDCG@10"] == pytest.approx(sum(1 / np.log2(r + 2) for r in ranks if r < 10) / len(ranks))
        lo, hi = row.intervals["HR@10"]
        assert lo <= row.means["HR@10"] <= hi


def test_places_share_ties(whole: report.Report) -> None:
    means = {"a": 0.3, "b": 0.5, "c": 0.5, "d": 0.1, "e": 0.3}
    rows = [replace(whole.rows[0], name=n, means={"HR@10": m}) for n, m in means.items()]
    assert report.places(rows, "HR@10") == {"b": 1, "c": 1, "a": 2, "e": 2}


def test_slices_cover_every_user_once(whole: report.Report) -> None:
    tables = {r.name: [run.table for run in r.runs] for r in whole.rows}
    lines = slices.slice_lines(tables)
    for by in {x.by for x in lines}:
        own = [x for x in lines if x.by == by]
        assert sum(x.users for x in own) == whole.users
        for name, seeds in tables.items():
            mean = float(np.mean([table["rank"].to_numpy() < 10 for table in seeds]))
            assert sum(x.users * x.methods[name].mean for x in own) / whole.users == pytest.approx(mean)


def test_groups_put_edges_where_their_names_say() -> None:
    table = pa.table(
        {
            "cold": [False, True, False, False],
            "repeat": [True, False, False, False],
            "length": [2, 3, 49, 50],
            "gap_days": [0.0, 1.0, 100.0, float("nan")],
        }
    )
    found = slices.groups(table)
    named = {by: [names[g] for g in which] for by, (names, which) in found.items()}
    assert named["the target"][1].startswith("cold")
    assert named["the user"][0].startswith("taken before")
    assert named["the history"] == ["1-2 events", "3-4 events", "20-49 events", "50 or more events"]
    assert named["the gap before the target"] == ["same day", "up to a week", "up to 100 days", "no event before"]


def test_targets_without_a_picture_are_a_group_of_their_own(whole: report.Report, evil_data: Dataset) -> None:
    table = whole.rows[0].first.table
    found = slices.groups(table, evil_data)
    assert "the target's text" not in found  # every item has one
    names, which = found["the target's image"]
    bare = [names[g] == "without image" for g in which]
    assert bare == [target in (3, 7) for target in table["target"].to_pylist()]
    assert any(bare)


def test_a_method_is_compared_on_the_same_users_over_all_its_seeds(whole: report.Report) -> None:
    found = report.against_others(whole)
    assert list(found) == ["popularity", "markov", "sasrec"]
    rows = {r.name: r for r in whole.rows}
    for name, versus in found.items():
        difference = rows["tmmsrec"].means["NDCG@10"] - rows[name].means["NDCG@10"]
        assert versus.found.difference == pytest.approx(difference)
        assert versus.p >= versus.found.p
    assert set(report.against_floor(whole)) == {"sasrec", "tmmsrec"}


def test_a_part_is_worth_what_the_method_with_it_has_over_the_same_without(whole: report.Report) -> None:
    told = replace(whole, parts={"texts, pictures and time": ("tmmsrec", "sasrec"), "training": ("sasrec", "popularity")})
    found = report.with_and_without(told)
    rows = {r.name: r for r in told.rows}
    for (one, other), versus in zip(told.parts.values(), found.values(), strict=True):
        difference = rows[one].means["NDCG@10"] - rows[other].means["NDCG@10"]
        assert versus.found.difference == pytest.approx(difference)
    alone = [v.found.p for v in found.values()]
    assert [v.p for v in found.values()] == pytest.approx(list(holm(alone)))
    assert any(isinstance(b, Table) and b.label == "parts" and len(b.rows) == 2 for b in comparisons(told))
    assert not any(isinstance(b, Table) and b.label == "parts" for b in comparisons(whole))


def test_runs_that_were_not_asked_the_same_are_refused(evil_data: Dataset, evil_runs: dict[str, list[Run]], tmp_path: Path) -> None:
    seen = run(Job(zoo.POPULARITY, exclude_seen=True), evil_data, tmp_path)
    with pytest.raises(ValueError, match="not asked the same"):
        report.Report(evil_data, {**evil_runs, "other": [seen]})
    with pytest.raises(ValueError, match="not among the runs"):
        report.Report(evil_data, evil_runs, "tmmrec")
    with pytest.raises(ValueError, match="at least one run"):
        report.Report(evil_data, {})


def test_words(whole: report.Report) -> None:
    said = " ".join(words.remarks(whole))
    assert "Leave-one-out" in said
    assert "All 30 items are ranked" in said
    assert "kept in the ranking" in said
    assert "Read the times of past events: tmmsrec." in said
    assert "50 test users" in said
    assert f"{whole.about.means['HR@10']:.1%} of 50 users" in words.headline(whole)


def test_samples_ask_before_the_last_event(whole: report.Report, evil_data: Dataset) -> None:
    log = evil_data.interactions
    for sample in whole.samples:
        user = evil_data.users.row(sample.user)
        last = int(log.offsets[user + 1]) - 1
        assert sample.taken.item == str(evil_data.catalog.ids[int(log.items[last])])
        assert [i.item for i in sample.history] == [
            str(evil_data.catalog.ids[int(i)]) for i in log.items[log.offsets[user] : last][-5:]
        ]
        assert sample.earlier == max(0, last - int(log.offsets[user]) - 5)
        place = next((n for n, i in enumerate(sample.recommended, 1) if i.hit), None)
        assert place is None or place == sample.rank


def test_a_thumbnail_of_no_picture_is_nothing() -> None:
    assert samples.thumbnail(b"no picture") == ""
