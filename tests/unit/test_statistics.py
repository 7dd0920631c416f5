"""Table 2: every count against slow counting, and the paper's row beside its own data only."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import DAY, random_features, small
from tmmsrec import studies
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.study import published
from tmmsrec.study.blocks import Points, Table
from tmmsrec.study.gather import Results
from tmmsrec.study.statistics import having, statistics, targets

ITEMS, USERS = 5, 4
HOUR = 3600
EVENTS = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(1, ITEMS), st.integers(0, 80)), min_size=1, max_size=40)


def dataset_of(events: list[tuple[int, int, int]]) -> Dataset:
    """Times in hours, so that some events share a moment and some a day."""
    users, items, hours = (np.array(column) for column in zip(*events, strict=True))
    return Dataset.in_memory("any", Interactions.of(users, items, hours * HOUR, USERS), ITEMS)


def sequences(log: Interactions) -> list[list[tuple[int, int]]]:
    items, times = log.items.tolist(), log.times.tolist()
    return [list(zip(items[a:b], times[a:b], strict=True)) for a, b in zip(log.offsets, log.offsets[1:], strict=False)]


def looked_at(dataset: Dataset) -> tuple[Table, Points]:
    study = studies.named("table2-data")
    (section,) = study.more(Results(study, dataset, Path(), {}, {}, {}))
    table, remarks = section.blocks
    return table, remarks


@settings(deadline=None)
@given(EVENTS)
def test_counts_are_those_of_slow_counting(events):
    dataset = dataset_of(events)
    found, log = statistics(dataset), dataset.interactions
    repeats = again = same_time = same_day = between = 0
    for sequence in sequences(log):
        for at, (item, time) in enumerate(sequence):
            repeats += item in [i for i, _ in sequence[:at]]
            again += (item, time) in sequence[:at]
            if at:
                between += 1
                same_time += time == sequence[at - 1][1]
                same_day += time // DAY == sequence[at - 1][1] // DAY
    met = Counter(log.items.tolist())
    lengths = [len(s) for s in sequences(log)]
    assert found.events == len(events)
    assert (found.again, found.repeats) == (again, pytest.approx(repeats / len(events)))
    if between:
        assert found.same_time == pytest.approx(same_time / between)
        assert found.same_day == pytest.approx(same_day / between)
    else:
        assert np.isnan(found.same_time)
    assert found.met_once == pytest.approx(sum(n == 1 for n in met.values()) / ITEMS)
    assert (found.per_user.most, found.per_item.most) == (max(lengths), max(met.values()))
    assert found.per_user.middle == pytest.approx(np.median(lengths))
    assert (found.first, found.last) == (min(h for *_, h in events) * HOUR, max(h for *_, h in events) * HOUR)


@settings(deadline=None)
@given(EVENTS)
def test_targets_are_those_of_slow_counting(events):
    dataset = dataset_of(events)
    each = [s for s in sequences(dataset.interactions) if len(s) >= 3]
    if not each:
        with pytest.raises(DataProblem):
            LeaveOneOut().cut(dataset.interactions)
        table, remarks = looked_at(dataset)
        assert not any(row[0] == "test targets" for row in table.rows)
        assert "no user has 3 events" in remarks.points[0]
        return
    found = targets(LeaveOneOut().cut(dataset.interactions), ITEMS)
    trained = {i for s in sequences(dataset.interactions) for i, _ in (s[:-2] if len(s) >= 3 else s)}
    assert found.users == len(each)
    assert found.unseen == pytest.approx(np.mean([s[-1][0] not in trained for s in each]))
    assert found.before == pytest.approx(np.mean([s[-1][0] in [i for i, _ in s[:-1]] for s in each]))
    assert found.tied == pytest.approx(np.mean([s[-1][1] == s[-2][1] for s in each]))


def test_items_with_texts_and_pictures_are_counted():
    fields = pa.table({"title": ["a", "", None, None], "brand": [None, "b", None, ""], "image": ["x.png", None, "", "y.png"]})
    log = Interactions.of(np.zeros(3, int), np.array([1, 2, 3]), np.arange(3))
    dataset = Dataset.in_memory("four", log, 4, {"image": random_features(4, 3, 0, missing=(2, 3, 4))}, fields)
    assert having(dataset) == {"a text": 0.5, "a picture": 0.5, "image features": 0.25}
    bare = Dataset.in_memory("bare", log, 4)
    assert having(bare) == {"a text": 0.0, "a picture": 0.0}
    assert any("No item has a text or a picture" in said for said in looked_at(bare)[1].points)
    assert not any("No item" in said for said in looked_at(dataset)[1].points)


def of_size(users: int, items: int, events: int) -> Dataset:
    rng = np.random.default_rng(0)
    owner = np.concatenate([np.arange(users), rng.integers(0, users, events - users)])
    return Dataset.in_memory("made", Interactions.of(owner, rng.integers(1, items + 1, events), np.arange(events)), items)


def test_the_papers_row_stands_beside_its_own_data_only():
    table, _ = looked_at(of_size(273, 800, 1_663))
    assert table.heads[3] == "the paper prints"
    assert [(row[2], row[3]) for row in table.rows[:4]] == [(s, s) for s in ("273", "800", "1,663", "99.24%")]
    assert all(row[3] == "" for row in table.rows[4:])
    assert len(looked_at(of_size(273, 800, 1_664))[0].heads) == 3


@pytest.mark.parametrize("name", ["All_Beauty", "Luxury_Beauty", "Prime_Pantry"])
def test_the_printed_sparsity_follows_from_the_printed_counts(name):
    known = published._SIZES[name]
    assert round(1 - known.events / (known.users * known.items), 4) == known.sparsity


def test_what_the_preparation_noted_is_told():
    report = {
        "ties": {"order": "the file's"},
        "duplicates": {"same_user_item_time": 7, "same_user_item": 9, "done": "kept"},
        "users": {"dropped": 3},
        "events": {"of_users_dropped": 5},
        "preparation": {"min_events": 4},
    }
    dataset = replace(dataset_of([(0, 1, 0), (0, 2, 0), (0, 3, 0)]), report=report)
    said = " ".join(looked_at(dataset)[1].points)
    assert "is the file's. For 100.0% of the test users it decided" in said
    assert "7 events that were read" in said
    assert "3 users of fewer than 4 events were left out, with 5 events" in said
    untied = replace(small(users=3), report={})
    assert ("at the same time is" in " ".join(looked_at(untied)[1].points)) == (statistics(untied).same_time > 0)
