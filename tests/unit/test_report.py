"""Reports: numbers against a slow count, what may not be compared, and pages that cannot be broken by what is in the data."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from tests.conftest import shrunk, small
from tmmsrec import zoo
from tmmsrec.data.catalog import Catalog
from tmmsrec.data.dataset import Dataset
from tmmsrec.recommender import Recommender
from tmmsrec.study import plots, report, samples, words
from tmmsrec.study.page import gap_shares, page
from tmmsrec.study.run import Job, Run, run
from tmmsrec.study.tables import markdown, terminal
from tmmsrec.training import Training

EVIL = "<script>alert('x')</script> & \"quoted\" | piped"


@pytest.fixture(scope="module")
def data() -> Dataset:
    """The small log, with a title that tries to be more than a title."""
    made = small(users=50)
    titles = pa.table({"title": [EVIL] * made.n_items})
    catalog = Catalog(made.catalog.ids, titles, made.features)
    return replace(made, catalog=catalog, name="<b>bold</b> data")


@pytest.fixture(scope="module")
def runs(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    root = tmp_path_factory.mktemp("runs")
    methods = {"popularity": zoo.POPULARITY, "markov": zoo.MARKOV, "sasrec": shrunk(zoo.SASREC), "tmmsrec": shrunk(zoo.TMMSREC)}
    return {name: run(Job(method, Training(epochs=2)), data, root) for name, method in methods.items()}


@pytest.fixture(scope="module")
def whole(data: Dataset, runs: dict[str, Run]) -> report.Report:
    held = Recommender(runs["tmmsrec"].job.method, runs["tmmsrec"].model(data), data)
    shown = samples.samples(held, users=3, k=4)
    return report.Report(data, runs, "tmmsrec", {"HR@10": 0.9, "NDCG@10": 0.8}, shown, (f"a note {EVIL}",))


def test_rows_are_means_of_ranks(whole: report.Report) -> None:
    assert [r.name for r in whole.rows] == ["popularity", "markov", "sasrec", "tmmsrec"]
    assert [r.floor for r in whole.rows] == [True, True, False, False]
    for row in whole.rows:
        ranks = row.run.ranks.tolist()
        assert row.means["HR@10"] == pytest.approx(sum(r < 10 for r in ranks) / len(ranks))
        assert row.means["NDCG@10"] == pytest.approx(sum(1 / np.log2(r + 2) for r in ranks if r < 10) / len(ranks))
        lo, hi = row.intervals["HR@10"]
        assert lo <= row.means["HR@10"] <= hi


def test_places_share_ties(whole: report.Report) -> None:
    means = {"a": 0.3, "b": 0.5, "c": 0.5, "d": 0.1, "e": 0.3}
    rows = [replace(whole.rows[0], name=n, means={"HR@10": m}) for n, m in means.items()]
    assert report.places(rows, "HR@10") == {"b": 1, "c": 1, "a": 2, "e": 2}


def test_slices_cover_every_user_once(whole: report.Report) -> None:
    lines = report.slice_lines(whole.tables)
    for by in {x.by for x in lines}:
        own = [x for x in lines if x.by == by]
        assert sum(x.users for x in own) == whole.users
        for name, table in whole.tables.items():
            mean = float((table["rank"].to_numpy() < 10).mean())
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
    found = report.groups(table)
    named = {by: [names[g] for g in which] for by, (names, which) in found.items()}
    assert named["the target"][1].startswith("cold")
    assert named["the user"][0].startswith("taken before")
    assert named["the history"] == ["1-2 events", "3-4 events", "20-49 events", "50 or more events"]
    assert named["the gap before the target"] == ["same day", "up to a week", "up to 100 days", "no event before"]


def test_runs_that_were_not_asked_the_same_are_refused(data: Dataset, runs: dict[str, Run], tmp_path: Path) -> None:
    seen = run(Job(zoo.POPULARITY, exclude_seen=True), data, tmp_path)
    with pytest.raises(ValueError, match="not asked the same"):
        report.Report(data, {**runs, "other": seen})
    with pytest.raises(ValueError, match="not among the runs"):
        report.Report(data, runs, "tmmrec")
    with pytest.raises(ValueError, match="at least one run"):
        report.Report(data, {})


def test_words(whole: report.Report) -> None:
    said = " ".join(words.remarks(whole))
    assert "Leave-one-out" in said
    assert "All 30 items are ranked" in said
    assert "kept in the ranking" in said
    assert "Read the times of past events: tmmsrec." in said
    assert "50 test users" in said
    assert f"{whole.about.means['HR@10']:.1%} of 50 users" in words.headline(whole)


def test_markdown_escapes_and_marks(whole: report.Report) -> None:
    text = markdown(whole)
    assert "<script" not in text
    assert "**0." in text
    assert "*best possible*" in text
    # Every line of a table has as many cells as its head, whatever the data says.
    lines = [line.replace("\\|", "") for line in text.splitlines()]
    for before, line in itertools.pairwise(lines):
        if before.startswith("|") and line.startswith("|"):
            assert before.count("|") == line.count("|")


def test_terminal_shows_every_row_in_80_columns(whole: report.Report) -> None:
    wide = Console(width=80)
    with wide.capture() as captured:
        wide.print(terminal(whole))
    for name in ("popularity", "markov", "sasrec", "tmmsrec", "best possible"):
        assert name in captured.get()
    assert max(map(len, captured.get().splitlines())) <= 80


class Tags(HTMLParser):
    """What a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_is_whole_and_lets_nothing_in(whole: report.Report) -> None:
    text = page(whole)
    tags = Tags()
    tags.feed(text)
    names = {tag for tag, _ in tags.found}
    assert "script" not in names
    assert "b" not in {tag for tag, attrs in tags.found if "bold" in str(attrs)}
    assert EVIL in tags.text  # shown as it is, as text
    assert "<b>bold</b> data" in tags.text
    for _, attrs in tags.found:
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "href"):
            assert (attrs.get(name) or "data:").startswith("data:")
    assert not re.search(r"url\(|@import", text)
    assert {"svg", "table", "article"} <= names
    assert "prefers-color-scheme" in text


def test_plots_survive_names_and_single_points() -> None:
    bar = plots.Bar(EVIL, 0.0, 0.0, 0.0, "red")
    drawn = plots.bars([bar], EVIL) + plots.columns({EVIL: 0.0}, EVIL, EVIL) + plots.dots([(EVIL, [(EVIL, 1, [bar])])], EVIL)
    drawn += plots.lines([plots.Line(EVIL, ((1.0, 0.2),), "red", 0)], EVIL, EVIL)
    assert "<script" not in drawn
    assert not re.search(r"=\"-?(nan|inf)", drawn)


@pytest.mark.parametrize(("lo", "hi"), [(0.0, 1.0), (0.0, 0.047), (3.0, 3.0), (0.1, 0.7), (0.0, 12345.0)])
def test_ticks_are_few_and_inside(lo: float, hi: float) -> None:
    found = plots.ticks(lo, hi)
    assert 1 <= len(found) <= 11
    assert all(lo - 1e-9 <= t <= hi + 1e-9 for t in found)


def test_gap_shares_count_neighbours_of_a_user(data: Dataset) -> None:
    log = data.interactions
    days = [
        (int(log.times[e + 1]) - int(log.times[e])) // 86_400
        for u in range(log.users)
        for e in range(int(log.offsets[u]), int(log.offsets[u + 1]) - 1)
    ]
    found = gap_shares(data)
    assert sum(found.values()) == pytest.approx(1.0)
    assert found["0"] == pytest.approx(sum(d == 0 for d in days) / len(days))
    assert found["101-365"] == pytest.approx(sum(101 <= d <= 365 for d in days) / len(days))
    assert found["> 365"] == pytest.approx(sum(d > 365 for d in days) / len(days))


def test_samples_ask_before_the_last_event(whole: report.Report, data: Dataset) -> None:
    log = data.interactions
    for sample in whole.samples:
        user = data.users.row(sample.user)
        last = int(log.offsets[user + 1]) - 1
        assert sample.taken.item == str(data.catalog.ids[int(log.items[last])])
        assert [i.item for i in sample.history] == [str(data.catalog.ids[int(i)]) for i in log.items[log.offsets[user] : last][-5:]]
        assert sample.earlier == max(0, last - int(log.offsets[user]) - 5)
        place = next((n for n, i in enumerate(sample.recommended, 1) if i.hit), None)
        assert place is None or place == sample.rank


def test_a_thumbnail_of_no_picture_is_nothing() -> None:
    assert samples.thumbnail(b"no picture") == ""
