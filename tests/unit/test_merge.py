"""New events put into a log: what stays, what is new, what was known, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmmsrec.data.catalog import Catalog
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.merge import NewEvents, in_type_of, lacking, merge, read_events, read_items
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources.table import TableEvents, TableItems

HOUR = 3600
START = 1_600_000_000


def shop(users=("ann", "bob"), items=("A1", "A2", "A3"), events=((0, 1, 0), (0, 2, 5), (0, 1, 9), (1, 3, 2))) -> Dataset:
    """Two people's few events: (user row, item row, hours)."""
    who, what, when = np.array(events, np.int64).reshape(-1, 3).T
    log = Interactions.of(who, what, START + when * HOUR, len(users))
    fields = pa.table({"title": [f"title of {i}" for i in items], "image": pa.nulls(len(items), pa.string())})
    catalog = Catalog(Ids(pa.array(items), first=1, what="item"), fields)
    return Dataset("shop", log, catalog, Ids(pa.array(users), first=0, what="user"))


def new(*events: tuple, read: int | None = None) -> NewEvents:
    users, items, hours = zip(*events, strict=True) if events else ((), (), ())
    times = START + np.array(hours, np.int64) * HOUR
    return NewEvents(
        pa.array(users, pa.string()), pa.array(items, pa.string()), times, "new.csv", len(events) if read is None else read
    )


def told(dataset: Dataset) -> list[tuple]:
    log = dataset.interactions
    owner = log.owners
    hours = (log.times - START) // HOUR
    return [(dataset.users[u], dataset.catalog.ids[i], int(h)) for u, i, h in zip(owner, log.items, hours, strict=True)]


def test_events_stand_in_time_order_new_users_come_last_and_rows_stay():
    found = merge(shop(), new(("eve", "A1", 3), ("bob", "A1", 1), ("ann", "A3", 7), ("ann", "A3", 20)))
    assert told(found.dataset) == [
        ("ann", "A1", 0), ("ann", "A2", 5), ("ann", "A3", 7), ("ann", "A1", 9), ("ann", "A3", 20),
        ("bob", "A1", 1), ("bob", "A3", 2), ("eve", "A1", 3),
    ]  # fmt: skip
    assert found.old.tolist() == [True, True, False, True, False, False, True, False]
    assert list(found.dataset.users) == ["ann", "bob", "eve"]
    assert found.counts["events"]["older_than_the_newest_of_their_user"] == 2
    assert found.counts["users"] == {"known": 2, "new": 1}
    found.dataset.check()


def test_at_equal_times_those_that_were_there_come_first():
    found = merge(shop(), new(("ann", "A3", 5), ("ann", "A1", 5)))
    assert [event for event in told(found.dataset) if event[2] == 5] == [("ann", "A2", 5), ("ann", "A3", 5), ("ann", "A1", 5)]


def test_what_is_in_the_log_is_dropped_and_counted_and_repeats_in_the_file_stay():
    found = merge(shop(), new(("ann", "A2", 5), ("bob", "A2", 30), ("bob", "A2", 30), ("bob", "A3", 3), read=5))
    assert found.counts["events"] == {
        "read": 5,
        "repeated_in_the_file": 1,
        "already_in_the_log": 1,
        "added": 3,
        "older_than_the_newest_of_their_user": 0,
    }
    assert [e for e in told(found.dataset) if e[0] == "bob"] == [
        ("bob", "A3", 2),
        ("bob", "A3", 3),
        ("bob", "A2", 30),
        ("bob", "A2", 30),
    ]


def test_merging_the_same_events_twice_changes_nothing_more():
    events = new(("eve", "A1", 3), ("bob", "A1", 1))
    once = merge(shop(), events).dataset
    twice = merge(once, events)
    assert twice.counts["events"]["added"] == 0
    assert twice.dataset.fingerprint == once.fingerprint
    assert twice.old.all()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(0, 6)), max_size=25),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(0, 6)), max_size=25),
)
def test_merging_keeps_every_event_once(before, after):
    """The merged log holds the old events and those new ones whose like is not there, whatever they are."""
    people = [f"u{n}" for n in range(6)]
    dataset = shop(users=people[:4], events=before)
    found = merge(dataset, new(*((people[u], f"A{i}", h) for u, i, h in after)))
    known = {(people[u], f"A{i}", h) for u, i, h in before}
    expected = [(people[u], f"A{i}", h) for u, i, h in before]
    expected += [(people[u], f"A{i}", h) for u, i, h in after if (people[u], f"A{i}", h) not in known]
    assert sorted(told(found.dataset)) == sorted(expected)
    assert sorted(e for e, was in zip(told(found.dataset), found.old, strict=True) if was) == sorted(told(dataset))
    found.dataset.check()


def test_ids_take_the_type_of_the_known_ones():
    texts, numbers = Ids(["7", "x"], what="item"), Ids([7, 8], what="item")
    assert in_type_of(Ids([7, 9]), texts, "f").to_pylist() == ["7", "9"]
    assert in_type_of(Ids(["7", "-9"]), numbers, "f").to_pylist() == [7, -9]
    for bad in ("007", "A1", "7.0", "٧"):
        with pytest.raises(DataProblem, match=f"f has the item '{bad}', but the item ids of the bundle are whole numbers"):
            in_type_of(Ids([bad]), numbers, "f")


def test_files_are_read_as_the_bundles_data_was(tmp_path):
    file = tmp_path / "night.csv"
    file.write_text(f"user,item,time\nann,A2,{START}\nann,A2,{START}\neve,B9,{START + 5}\n")
    kept = read_events(shop(), TableEvents(file))
    assert (kept.read, len(kept)) == (3, 3)
    dropping = replace(shop(), report={"preparation": {"duplicates": "drop", "min_events": 5}})
    dropped = read_events(dropping, TableEvents(file))
    assert (dropped.read, dropped.users.to_pylist(), dropped.items.to_pylist()) == (3, ["ann", "eve"], ["A2", "B9"])
    with pytest.raises(DataProblem, match="iso"):
        read_events(shop(), TableEvents(file), time="iso")


def test_another_shops_events_are_refused(tmp_path):
    file = tmp_path / "other.csv"
    file.write_text(f"user,item,time\n0001,X1,{START}\n")
    with pytest.raises(DataProblem, match=r"no user and no item of .*other\.csv is known: events have users like 0001"):
        read_events(shop(), TableEvents(file))


def test_of_an_item_table_what_is_not_known_is_taken(tmp_path):
    file = tmp_path / "items.csv"
    file.write_text("item_id,title,weight\nA1,other title,3\nB1,a coat,2\nB2,never met,1\nB3,,4\n")
    full = shop()
    fields = full.catalog.fields.drop_columns(["image"])
    lacks_one = fields.set_column(0, "title", pa.array(["title of A1", None, "title of A3"]))
    for kept, expected in (
        (fields, {"B1": "a coat", "B3": None}),  # what is known stays as it is; what nobody met is left out
        (lacks_one, {"B1": "a coat", "B3": None}),  # the table does not have A2
    ):
        dataset = replace(full, catalog=replace(full.catalog, fields=kept))
        found, unused = read_items(dataset, pa.array(["B1", "B3", "B4"]), TableItems(file), None)
        assert dict(zip(found["id"].to_pylist(), found["title"].to_pylist(), strict=True)) == expected
        assert unused == ["weight"]
    everything = replace(full, report={"preparation": {"catalogue": "all"}}, catalog=replace(full.catalog, fields=fields))
    assert read_items(everything, pa.array(["B1"]), TableItems(file), None)[0]["id"].to_pylist() == ["B1", "B2", "B3"]
    with pytest.raises(DataProblem, match="no item of the events is in"):
        read_items(shop(items=("Z1", "Z2", "Z3")), pa.array([], pa.string()), TableItems(file), None)


def test_which_items_lack_what_is_required():
    table = pa.table(
        {"id": ["a", "b", "c"], "title": ["x", None, None], "brand": [None, "y", None], "image": ["a.png", None, "c.png"]}
    )
    assert lacking(table, ["text"]).to_pylist() == [False, False, True]
    assert lacking(table, ["text", "image"]).to_pylist() == [False, True, True]
    assert lacking(table.drop_columns(["image"]), ["image"]).to_pylist() == [True] * 3
