"""From raw tables to a Dataset: what is kept, how it is ordered and numbered, what is counted."""

from __future__ import annotations

import json
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

from tests.conftest import real_data
from tmmsrec.data import store
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.pictures import open_pictures, reopen
from tmmsrec.data.prepare import Preparation, _coded, prepare, prepare_from, prepare_to
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Source
from tmmsrec.data.sources.amazon import clean
from tmmsrec.data.sources.frames import FrameEvents, FrameItems
from tmmsrec.data.times import TimeColumn

T0 = 1_420_588_800
ALL = Preparation(min_events=1)


def source(events: list[tuple], items: dict | None = None) -> Source:
    user, item, time = zip(*events, strict=True)
    table = FrameEvents(pa.table({"user": user, "item": item, "time": pa.array(time)}))
    return Source(table, FrameItems(pa.table(items)) if items else None)


def histories(dataset: Dataset) -> dict:
    log = dataset.interactions
    spans = zip(log.offsets[:-1], log.offsets[1:], strict=True)
    return {
        dataset.users[u]: [(dataset.catalog.ids[int(i)], int(t)) for i, t in zip(log.items[a:b], log.times[a:b], strict=True)]
        for u, (a, b) in enumerate(spans)
    }


def test_histories_are_in_time_order_and_equal_times_keep_the_files() -> None:
    events = [("b", "x", T0 + 5), ("a", "z", T0), ("a", "y", T0), ("b", "w", T0), ("a", "x", T0 - 9)]
    dataset = prepare(source(events), ALL)
    assert list(dataset.users) == ["a", "b"]
    assert list(dataset.catalog.ids) == ["w", "x", "y", "z"]
    assert histories(dataset) == {"a": [("x", T0 - 9), ("z", T0), ("y", T0)], "b": [("w", T0), ("x", T0 + 5)]}
    assert dataset.report["ties"] == {"neighbours": 3, "equal": 1, "share": 1 / 3, "order": "the file's"}


def test_the_hash_order_does_not_depend_on_the_file() -> None:
    rng = np.random.default_rng(0)
    events = [(f"u{k % 5}", f"i{k}", T0 + 86400 * (k % 3)) for k in range(200)]
    how = Preparation(ties="hash")
    first = prepare(source(events), how)
    again = prepare(source([events[k] for k in rng.permutation(200)]), how)
    assert histories(first) == histories(again)
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != prepare(source(events), Preparation()).fingerprint


def test_integer_ids_are_ordered_by_value_and_stay_integers() -> None:
    dataset = prepare(source([(10, 200, T0), (9, 30, T0), (9, 200, T0 + 1)]), ALL)
    assert list(dataset.users) == [9, 10]
    assert list(dataset.catalog.ids) == [30, 200]
    assert dataset.interactions.items.dtype == np.int32
    assert dataset.interactions.times.dtype == np.int64


def test_users_under_the_minimum_are_dropped_and_items_are_not_counted() -> None:
    events = [("a", f"i{k}", T0 + k) for k in range(5)] + [("b", f"j{k}", T0 + k) for k in range(4)]
    dataset = prepare(source(events), Preparation())
    assert (dataset.n_users, dataset.n_items, len(dataset.interactions)) == (1, 5, 5)
    assert dataset.report["users"] == {"read": 2, "dropped": 1, "kept": 1}
    assert dataset.report["events"]["of_users_dropped"] == 4
    assert dataset.report["items"]["left_out"] == 4


def test_a_core_drops_rare_items_and_short_users_in_turns() -> None:
    """Dropping item y leaves user c short; dropping c leaves item z rare; dropping z leaves b short."""
    met = {"a": "xxwwv", "d": "xxwwv", "e": "xxwwv", "b": "xxwzz", "c": "xyyzz"}
    events = [(u, i, T0 + k) for u, items in met.items() for k, i in enumerate(items)]
    dataset = prepare(source(events), Preparation(min_events=4, min_item_events=3))
    assert list(dataset.users) == ["a", "d", "e"]
    assert list(dataset.catalog.ids) == ["v", "w", "x"]
    assert dataset.report["events"]["of_rare_items"] == 2 + 2
    assert dataset.report["events"]["of_users_dropped"] == 3 + 3
    counts = np.bincount(dataset.interactions.items)[1:]
    assert counts.min() >= 3
    assert dataset.interactions.lengths.min() >= 4
    with pytest.raises(DataProblem, match="no core of users with 4 events of items with 30"):
        prepare(source(events), Preparation(min_events=4, min_item_events=30))


def test_duplicates_are_kept_and_counted_or_dropped_before_users_are_counted() -> None:
    events = [("a", "x", T0)] * 3 + [("a", "x", T0 + 1), ("a", "y", T0 + 2)]
    kept = prepare(source(events), Preparation())
    assert kept.report["duplicates"] == {"same_user_item_time": 2, "same_user_item": 3, "done": "kept"}
    dropped = prepare(source(events), Preparation(min_events=3, duplicates="drop"))
    assert histories(dropped) == {"a": [("x", T0), ("x", T0 + 1), ("y", T0 + 2)]}
    assert dropped.report["events"]["duplicates_dropped"] == 2
    with pytest.raises(DataProblem, match="none of 1 users has 4 events"):
        prepare(source(events), Preparation(min_events=4, duplicates="drop"))


ITEMS = {
    "item": ["a", "b", "c", "d"],
    "title": ["A", None, "C", "D"],
    "brand": [None, None, "", "Y"],
    "image": ["a.jpg", "b.jpg", None, "d.jpg"],
}


def test_items_lacking_what_is_required_go_first_then_users() -> None:
    events = [("u", i, T0 + k) for k, i in enumerate("aabcd")] + [("v", "a", T0), ("v", "d", T0), ("v", "e", T0)]
    dataset = prepare(source(events, ITEMS), Preparation(min_events=3, require=("text", "image")))
    assert histories(dataset) == {"u": [("a", T0), ("a", T0 + 1), ("d", T0 + 4)]}
    assert dataset.report["items"]["lacking_modalities"] == {"text": 2, "image": 2}
    assert dataset.report["events"]["of_items_lacking_modalities"] == 3
    assert dataset.report["events"]["of_users_dropped"] == 2


def test_missing_metadata_is_counted_and_nothing_is_dropped_unasked() -> None:
    dataset = prepare(source([("u", i, T0 + k) for k, i in enumerate("abce")], ITEMS), Preparation(min_events=1))
    assert list(dataset.catalog.ids) == ["a", "b", "c", "e"]
    assert dataset.report["items"]["without_metadata"] == 1
    assert dataset.report["items"]["missing_fields"] == {"title": 2, "brand": 4, "image": 2}
    assert dataset.catalog.describe(1) == {"title": "A", "image": "a.jpg"}
    assert dataset.catalog.text_columns == ["title", "brand"]


def test_the_whole_item_table_when_asked() -> None:
    events = [("u", "a", T0), ("u", "d", T0 + 1)]
    everything = prepare(source(events, ITEMS), Preparation(min_events=1, catalogue="all"))
    assert list(everything.catalog.ids) == ["a", "b", "c", "d"]
    with_text = prepare(source(events, ITEMS), Preparation(min_events=1, catalogue="all", require=("text",)))
    assert list(with_text.catalog.ids) == ["a", "c", "d"]
    assert histories(with_text) == histories(everything)


def test_item_ids_of_another_type_meet_only_where_they_are_written_alike() -> None:
    dataset = prepare(source([("u", 7, T0), ("u", 8, T0)], {"item": ["7", "08"], "title": ["seven", "no"]}), ALL)
    assert dataset.catalog.fields["title"].to_pylist() == ["seven", None]
    dataset = prepare(source([("u", "7", T0), ("u", "08", T0)], {"item": [7, 8], "title": ["seven", "no"]}), ALL)
    assert dict(zip(dataset.catalog.ids, dataset.catalog.fields["title"].to_pylist(), strict=True)) == {"7": "seven", "08": None}


def test_equal_rows_of_one_item_are_one_and_counted() -> None:
    dataset = prepare(source([("u", "a", T0)], {"item": ["a", "a"], "title": ["A", "A"]}), ALL)
    assert dataset.report["items"]["table"]["repeated_rows"] == 1
    assert dataset.n_items == 1


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_column_may_be_called_as_one_of_ours(tmp_path: Path, kind: str) -> None:
    """Shops' logs have a position on the page; and it has no say in the order of equal times."""
    rows = [("u1", item, 1_420_588_800, n) for item, n in (("b", 9), ("a", 10), ("c", 1))]
    events = pa.table({n: [row[at] for row in rows] for at, n in enumerate(("user", "item", "time", "position"))})
    items = pa.table({"item": ["a", "b", "c"], "position": ["1", "2", "3"], "row": ["x", "y", "z"], "row_": ["l", "m", "n"]})
    for name, table in (("e", events), ("m", items)):
        path = tmp_path / f"{name}.{kind}"
        if kind == "parquet":
            pq.write_table(table, path)
        elif kind == "csv":
            csv.write_csv(table, path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    found = prepare_from(tmp_path / f"e.{kind}", tmp_path / f"m.{kind}", how=Preparation(min_events=1))
    assert histories(found) == {"u1": [("b", 1_420_588_800), ("a", 1_420_588_800), ("c", 1_420_588_800)]}
    assert found.catalog.describe(found.catalog.ids.row("b")) == {"position_": "2", "row_": "m", "row__": "y"}


def test_prepared_folders_read_back_equal(tmp_path: Path) -> None:
    events = [("u", i, T0 + k) for k, i in enumerate("abcd")]
    kept = prepare(source(events, ITEMS), ALL, name="shop")
    read = prepare_to(tmp_path / "shop", source(events, ITEMS), ALL)
    assert (read.name, read.fingerprint, read.report) == ("shop", kept.fingerprint, kept.report)
    assert read.catalog.fields.equals(kept.catalog.fields)


def test_pictures_are_found_by_name_or_id_and_can_be_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.jpg", "c.png"):
        (folder / name).write_bytes(b"bytes of " + name.encode())
    events = [("u", i, T0 + k) for k, i in enumerate("abc")]
    dataset = prepare(source(events, ITEMS), ALL, pictures=open_pictures(folder))
    assert dataset.catalog.fields["image"].to_pylist() == ["a.jpg", None, "c.png"]
    about = dataset.report["pictures"]
    assert about == {"kind": "folder", "path": str(folder.resolve()), "found": 2, "items": 3}
    assert reopen(store.save(dataset, tmp_path / "d").report["pictures"]).read("c.png") == b"bytes of c.png"
    both = prepare(source(events, ITEMS), Preparation(min_events=1, require=("image",)), pictures=open_pictures(folder))
    assert list(both.catalog.ids) == ["a", "c"]


def test_files_by_path_with_pictures_in_the_item_table(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    (tmp_path / "shop.csv").write_text(f"user,item,time\nu,007,{T0}\nu,7,{T0}\n")
    pq.write_table(pa.table({"item_id": ["007"], "title": ["x"], "image": [b"\x89PNG"]}), tmp_path / "items.parquet")
    dataset = prepare_from(tmp_path / "shop.csv", tmp_path / "items.parquet", how=ALL)
    assert dataset.name == "shop"
    assert list(dataset.catalog.ids) == ["007", "7"]
    assert dataset.catalog.fields["image"].to_pylist() == ["007", None]
    assert reopen(dataset.report["pictures"]).read("007") == b"\x89PNG"


class SparkText:
    """In the place of a Desk: turns every step into Spark SQL instead of running it."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def keep(self, table: ibis.Table) -> ibis.Table:
        self.said.append(ibis.to_sql(table, dialect="pyspark"))
        return table

    def numbered(self, table: ibis.Table, by: str) -> ibis.Table:
        return self.keep(table.order_by(by)).mutate(row=ibis.literal(0, "int64"))


@pytest.mark.parametrize("unit", ["s", "iso", "typed"])
@pytest.mark.parametrize("ties", ["file", "hash"])
def test_every_step_can_be_said_to_spark(unit: str, ties: str) -> None:
    desk, kind = SparkText(), "timestamp('UTC')" if unit == "typed" else "string"
    events = ibis.table({"user": "string", "item": "string", "time": kind, "position": "int64"}, name="events")
    raw = ibis.table({"item": "string", "title": "string", "position": "int64"}, name="items")
    users = desk.numbered(events.select(id=events.user).distinct(), "id")
    items = desk.numbered(raw.select(id=raw.item), "id")
    how = Preparation(duplicates="drop", ties=ties)  # type: ignore[arg-type]
    coded = _coded(desk, events, users, items, TimeColumn(unit, "", 0, 1), how)  # type: ignore[arg-type]
    desk.keep(coded.anti_join(items.select(i="row"), "i").group_by("u", "i", "t").aggregate(tie=lambda t: t.tie.min()))
    desk.keep(amazon_text := raw.select(title=clean(raw.title)))
    assert amazon_text.columns == ("title",)
    assert len(desk.said) == 5
    assert ("MD5" in desk.said[2]) == (ties == "hash")


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(T0, T0 + 3)), min_size=1, max_size=60),
    st.integers(1, 6),
    st.sampled_from(["keep", "drop"]),
)
def test_against_a_slow_preparation_in_plain_python(events: list, least: int, duplicates: str) -> None:
    taken = list(dict.fromkeys(events)) if duplicates == "drop" else events
    expected = {}
    for user in sorted({e[0] for e in taken}):
        own = [(i, t) for u, i, t in taken if u == user]
        if len(own) >= least:
            expected[user] = sorted(own, key=lambda e: e[1])  # stable
    how = Preparation(min_events=least, duplicates=duplicates)  # type: ignore[arg-type]
    if expected:
        assert histories(prepare(source(events), how)) == expected
    else:
        with pytest.raises(DataProblem, match="no event is left"):
            prepare(source(events), how)


def test_the_papers_all_beauty() -> None:
    dataset = prepare_from(real_data("paper-all-beauty", "All_Beauty.txt"))
    row = dataset.table2()
    assert [row[c] for c in ("#Users", "#Items", "#Interactions", "#Sparsity")] == ["273", "800", "1,663", "99.24%"]
    assert dataset.report["time"]["said"] == "seconds since 1970, 2003-12-29 .. 2018-08-23"
    assert dataset.report["duplicates"]["same_user_item"] == 1663 - 1423


def test_hm_fashion_with_its_pictures() -> None:
    folder = real_data("hm-fashion")
    how = Preparation(require=("text", "image"))
    dataset = prepare_from(folder / "interactions.csv.gz", folder / "items.csv.gz", folder / "images.zip", how)
    assert (dataset.n_users, dataset.n_items, len(dataset.interactions)) == (923, 16_636, 30_636)
    assert all(len(i) == 10 and i.startswith("0") for i in dataset.catalog.ids)
    assert dataset.report["ties"]["share"] == pytest.approx(0.75, abs=0.01)
    assert dataset.report["pictures"]["found"] == 16_636
    assert reopen(dataset.report["pictures"]).read(dataset.catalog.fields["image"][0].as_py())[:2] == b"\xff\xd8"


def test_amazon_2018() -> None:
    dataset = prepare_from(real_data("amazon-2018-raw", "All_Beauty_5.json.gz"))
    assert dataset.report["events"]["read"] == 5269
    assert dataset.report["users"]["read"] == 991
