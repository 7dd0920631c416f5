"""Figure 2: gaps against slow counting, a pair with known gaps, and gaps dealt by lot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import DAY, small
from tmmsrec import studies
from tmmsrec.data.catalog import Catalog
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.study import published
from tmmsrec.study.blocks import Section, Table, Text, figures
from tmmsrec.study.gaps import Pairs, gap_shares, neighbours, pairs, shares
from tmmsrec.study.gather import Results
from tmmsrec.study.looks import figure2

ITEMS = 4
EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, ITEMS), st.integers(0, 900 * DAY)), min_size=1, max_size=60)


def log_of(events: list[tuple[int, int, int]]) -> Interactions:
    return Interactions.of(*(np.array(column) for column in zip(*events, strict=True)), n_users=6)


def by_hand(log: Interactions) -> list[tuple[int, int, int, int]]:
    """User, item, next item, seconds between."""
    items, times, offsets = log.items.tolist(), log.times.tolist(), log.offsets.tolist()
    return [
        (user, items[at], items[at + 1], times[at + 1] - times[at])
        for user in range(log.users)
        for at in range(offsets[user], offsets[user + 1] - 1)
    ]


def looked_at(dataset: Dataset) -> list[Section]:
    study = studies.named("figure2-gaps")
    return list(study.more(Results(study, dataset, Path(), {}, {}, {})))


def tables(sections: list[Section]) -> dict[str, Table]:
    found = {}
    for section in sections:
        blocks = [b for block in section.blocks for b in getattr(block, "blocks", [block])]
        found |= {b.label: b for b in blocks if isinstance(b, Table)}
    return found


@settings(deadline=None)
@given(EVENTS)
def test_neighbours_and_pairs_are_those_of_slow_counting(events):
    log = log_of(events)
    slow = by_hand(log)
    found = neighbours(log)
    columns = (found.users, found.first, found.second, found.seconds)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == slow
    gaps: dict[tuple[int, int], dict[int, int]] = {}
    for user, a, b, seconds in slow:
        if a != b:
            gaps.setdefault((a, b), {}).setdefault(user, seconds)  # a user's first gap of the pair
    several = {pair: list(of.values()) for pair, of in gaps.items() if len(of) >= 2}
    same = pairs(found)
    assert {
        (int(same.first[p]), int(same.second[p])): same.gaps[same.offsets[p] : same.offsets[p + 1]].tolist()
        for p in range(len(same))
    } == several
    spread = {pair: (max(of) - min(of)) // DAY for pair, of in several.items()}
    assert dict(zip(zip(same.first.tolist(), same.second.tolist(), strict=True), same.spread.tolist(), strict=True)) == spread


@settings(deadline=None)
@given(st.lists(st.integers(0, 1500), max_size=40))
def test_shares_are_counted_by_day(days):
    found = shares(np.array(days, dtype=np.int64))
    bounds = {"0": (0, 0), "1-3": (1, 3), "4-7": (4, 7), "8-14": (8, 14), "15-30": (15, 30), "31-60": (31, 60), "61-100": (61, 100)}
    bounds |= {"101-365": (101, 365), "> 365": (366, 10**9)}
    assert list(found) == list(bounds)
    for name, (lo, hi) in bounds.items():
        assert found[name] == pytest.approx(sum(lo <= d <= hi for d in days) / max(1, len(days)))


def test_gap_shares_are_of_neighbours_of_the_same_user():
    dataset = small()
    slow = np.array([seconds // DAY for *_, seconds in by_hand(dataset.interactions)])
    assert gap_shares(dataset) == shares(slow)
    assert sum(gap_shares(dataset).values()) == pytest.approx(1)


def planted() -> Dataset:
    """Items 1 then 2 with gaps of 1, 50 and 210 days for three users; 3 then 4 always after 7 days; 5 then 5 counts as no pair."""
    sequences = [[(1, 0), (2, 1)], [(1, 0), (2, 50)], [(1, 0), (2, 210), (1, 900), (2, 901)]]
    sequences += [[(3, 0), (4, 7)], [(3, 20), (4, 27)], [(5, 0), (5, 9)], [(5, 0), (5, 99)]]
    events = [(user, item, day * DAY) for user, sequence in enumerate(sequences) for item, day in sequence]
    users, items, times = (np.array(column) for column in zip(*events, strict=True))
    return Dataset.in_memory("planted", Interactions.of(users, items, times), 5)


def test_a_planted_pair_has_its_gaps():
    sections = looked_at(planted())
    most = tables(sections)["pairs-most"].rows
    assert [list(row) for row in most] == [["1 then 2", "3", "1", "50.0", "210"], ["3 then 4", "2", "7", "7.0", "7"]]
    rows = {row[0]: row[1] for row in tables(sections)["pairs"].rows}
    assert rows["a day or more between smallest and largest"] == "50.0%"
    assert rows["more than 100 days between them"] == "50.0%"
    drawn = {f.name: f.chart.series for section in sections for f in figures(section.blocks)}
    assert drawn["gaps-of-pairs"]["the same pair"]["101-365"] == 0.5
    assert drawn["gaps"]["pairs of items that several users had"]["4-7"] == pytest.approx(2 / 5)
    assert any("2 pairs of two different items" in b.text for b in sections[1].blocks if isinstance(b, Text))


def test_gaps_that_hang_on_the_pair_vary_less_within_pairs_than_by_lot():
    rng = np.random.default_rng(0)
    offsets, pairs_of = np.arange(0, 1001, 5), np.repeat(np.arange(200), 5)
    base = rng.integers(1, 300, 200)[pairs_of]
    bound = Pairs(np.arange(200), np.arange(200) + 1, offsets, (base + rng.integers(0, 3, 1000)) * DAY)
    free = bound.dealt(rng)
    assert sorted(free.gaps) == sorted(bound.gaps)
    assert bound.within < 0.05
    assert free.within == pytest.approx(free.within_by_lot, abs=0.05)
    assert bound.within_by_lot == pytest.approx(800 / 999)
    assert bound.spread.max() <= 2
    # Dealt or not, the spread of dealt gaps is the same, and far from that of the pairs themselves.
    assert np.median(bound.spread_by_lot(draws=20)) == pytest.approx(np.median(free.spread), rel=0.15)
    assert np.median(bound.spread_by_lot(draws=20)) > 100


def test_gaps_that_are_all_the_same_have_no_variance():
    one = Pairs(np.array([1]), np.array([2]), np.array([0, 2]), np.array([DAY, DAY]))
    assert np.isnan(one.within)


@settings(max_examples=20, deadline=None)
@given(EVENTS)
def test_any_log_can_be_looked_at(events):
    log = log_of(events)
    sections = looked_at(Dataset.in_memory("any", log, ITEMS))
    found = pairs(neighbours(log))
    drawn = [f.name for section in sections for f in figures(section.blocks)]
    if len(found):
        assert drawn == ["gaps", "gaps-of-pairs"]
    elif len(neighbours(log).seconds):
        assert drawn == ["gaps"]
        assert any("No two users" in b.text for b in sections[1].blocks if isinstance(b, Text))
    else:
        assert drawn == []


def test_the_papers_share_stands_beside_its_own_data_only(monkeypatch):
    dataset = planted()
    assert len(tables(looked_at(dataset))["gaps"].heads) == 2
    monkeypatch.setattr(published, "dataset_of", lambda _: "All_Beauty")
    table = tables(looked_at(dataset))["gaps"]
    printed = {row[0]: row[2] for row in table.rows}
    assert printed["more than 100 days apart"] == "24.25%"
    assert next(row[1] for row in table.rows if "100 days" in row[0]) == "22.22%"  # 210 and 690 of nine gaps


def test_the_papers_own_pair_is_shown_where_the_data_has_it():
    filler = [f"i{n}" for n in range(20)]
    ids = [*filler, *published.PAIR]
    sequences = [[(1 + n, 0), (2 + n, 5)] for n in range(0, 18, 2) for _ in range(3)]
    sequences += [[(21, 0), (22, 30)], [(21, 0), (22, 40)]]
    events = [(user, item, day * DAY) for user, sequence in enumerate(sequences) for item, day in sequence]
    users, items, times = (np.array(column) for column in zip(*events, strict=True))
    plain = Dataset.in_memory("named", Interactions.of(users, items, times), len(ids))
    dataset = Dataset("named", plain.interactions, Catalog(Ids(ids, first=1), plain.catalog.fields), plain.users)
    rows = tables(looked_at(dataset))["pairs-most"].rows
    assert len(rows) == figure2.SHOWN + 1
    assert list(rows[-1]) == [" then ".join(published.PAIR), "2", "30", "35.0", "40"]
