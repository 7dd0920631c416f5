"""DuckDB larger than its memory, what cannot be an engine, and the log gathered piece by piece."""

from __future__ import annotations

import sys
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_cli import call
from tmmsrec.data.engines import mebibytes
from tmmsrec.data.engines.duck import DuckDB
from tmmsrec.data.engines.spark import Spark
from tmmsrec.data.gather import gather
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.prepare import Preparation, prepare, prepare_from
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Source
from tmmsrec.data.sources.frames import FrameEvents

T0 = 1_420_588_800


def test_a_sort_larger_than_its_memory_goes_to_the_chosen_folder_and_leaves_nothing(tmp_path: Path) -> None:
    spill, n = tmp_path / "not" / "there", 4_000_000
    with DuckDB(memory="60MB", spill=str(spill), threads=1).open() as desk:
        kept = desk.keep(desk.store(f"SELECT hash(range) AS h, repeat('x', 20) || range AS text FROM range({n})"))
        pieces = desk.ordered(kept, ["h"])
        first = next(pieces)
        assert sum(p.stat().st_size for p in spill.rglob("*") if p.is_file()) > 60e6
        rows, last = len(first), first["h"].to_numpy()
        assert (last[1:] >= last[:-1]).all()
        for piece in pieces:
            now = piece["h"].to_numpy()
            assert now[0] >= last[-1]
            rows, last = rows + len(piece), now
    assert rows == n
    assert list(spill.iterdir()) == []


def test_too_little_memory_is_said() -> None:
    with (
        pytest.raises(DataProblem, match=r"DuckDB needs more than 30 MiB of memory here; give it more \(memory\)"),
        DuckDB(memory="30MB", threads=1).open() as desk,
    ):
        desk.store("SELECT list(range) AS one FROM range(20000000)")


@pytest.mark.parametrize(
    ("size", "found"), [("2GB", 2048), ("2 GiB", 2048), ("512mb", 512), ("1.5g", 1536), ("1TB", 2**20), ("2097152", 2)]
)
def test_sizes(size: str, found: int) -> None:
    assert mebibytes(size) == found


@pytest.mark.parametrize("size", ["", "2 apples", "-1GB", "0", "10kb", "GB", "1e9"])
def test_what_is_no_size(size: str) -> None:
    with pytest.raises(DataProblem, match="no amount of memory; write it as 2GB or 512MB"):
        DuckDB(memory=size).open()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataProblem, match=r"nothing can be written in .*file"):
        DuckDB(spill=str(tmp_path / "file")).open()


def test_without_pyspark_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(DataProblem, match=r"pip install 'tmmsrec\[spark\]'"):
        Spark().open()


def test_a_cluster_needs_a_folder_that_all_its_machines_see(monkeypatch: pytest.MonkeyPatch) -> None:
    pyspark = pytest.importorskip("pyspark")
    monkeypatch.setattr(pyspark.SparkContext, "_active_spark_context", None)  # other tests may have one
    with pytest.raises(DataProblem, match=r"the machines of spark://host:7077 share the steps' results by files: name a folder"):
        Spark("spark://host:7077").open()


def test_the_command_line_refuses_engines_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(f"user,item,time\nu,a,{T0}\n")
    asked = ("prepare", tmp_path / "e.csv", "--out", tmp_path / "out")
    assert "unknown engine 'pandas'; known: duckdb, spark" in call(*asked, "--engine", "pandas", code=2).output
    assert "add --engine spark" in call(*asked, "--spark-url", "local[2]", code=2).output
    assert "'lots' is no amount of memory" in call(*asked, "--memory", "lots", code=2).output
    assert not (tmp_path / "out").exists()
    call(*asked, "--memory", "600MB", "--spill", tmp_path / "spill", "--min-events", 1)
    assert list((tmp_path / "spill").iterdir()) == []


def test_a_folder_of_parquet_is_one_table_in_the_order_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for name, items in (("b", ["x", "y"]), ("a", ["z"]), ("c", ["w"])):
        table = pa.table({"user": ["u"] * len(items), "item": items, "time": [T0] * len(items)})
        pq.write_table(table, tmp_path / "log" / f"{name}.parquet")
    (tmp_path / "log" / "_SUCCESS").write_text("")
    made = prepare_from(tmp_path / "log", how=Preparation(min_events=1))
    assert [made.catalog.ids[int(i)] for i in made.interactions.items] == ["z", "x", "y", "w"]
    pq.write_table(pa.table({"user": ["u"], "item": [7], "time": [T0]}), tmp_path / "log" / "d.parquet")
    with pytest.raises(DataProblem, match=r"column 'item' has the type string in .*a.parquet and the type int64 in .*d.parquet"):
        prepare_from(tmp_path / "log")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataProblem, match="none holds no Parquet file"):
        prepare_from(tmp_path / "none")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 9)), max_size=40), st.integers(1, 7))
def test_a_log_in_pieces_is_the_log_as_a_whole(events: list[tuple[int, int, int]], size: int) -> None:
    events = sorted(events)
    schema = pa.schema({"u": pa.int64(), "i": pa.int64(), "t": pa.int64()})
    table = pa.Table.from_pylist([dict(zip("uit", (u, i, t), strict=True)) for u, i, t in events], schema)
    rows = np.array([4, 1, 3, 2], np.int32)
    log, there = gather(table.to_batches(max_chunksize=size), len(events), 6, rows)
    users = sorted({e[0] for e in events})
    assert list(np.flatnonzero(there)) == users
    assert log.lengths.tolist() == [sum(e[0] == u for e in events) for u in users]
    assert log.items.tolist() == [rows[e[1]] for e in events]
    assert log.times.tolist() == [e[2] for e in events]


def test_a_log_on_disk_is_the_log_in_memory(tmp_path: Path) -> None:
    events = FrameEvents(pa.table({"user": [1, 1, 2], "item": ["a", "b", "a"], "time": [T0 + 1, T0, T0]}))
    how = Preparation(min_events=1)
    there = prepare(Source(events), how, folder=tmp_path)
    assert isinstance(there.interactions.items, np.memmap)
    assert there.fingerprint == prepare(Source(events), how).fingerprint


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 50), max_size=6), min_size=1, max_size=8), st.integers(1, 9))
def test_gaps_and_repeats_do_not_depend_on_the_block(histories: list[list[int]], block: int) -> None:
    offsets = np.concatenate([[0], np.cumsum([len(h) for h in histories])]).astype(np.int64)
    histories = [sorted(h) for h in histories]
    times = np.array([t for h in histories for t in h], np.int64)
    log = Interactions(offsets, np.ones(len(times), np.int32), times)
    expected = [(offsets[k] + j, h[j] - h[j - 1]) for k, h in enumerate(histories) for j in range(1, len(h))]
    moments = {(k, t) for k, h in enumerate(histories) for t in h}
    assert log.repeats(block) == (len(times) - sum(len(h) > 0 for h in histories), len(times) - len(moments))
    assert [(e, g) for events, gaps in log.gaps(block) for e, g in zip(events, gaps, strict=True)] == expected


def test_the_desks_hold_what_they_are_given(tmp_path: Path) -> None:
    with DuckDB().open() as one, DuckDB().open() as other:
        kept = one.keep(ibis.memtable(pa.table({"x": [3, 1, 2]})))
        taken = other.numbered(other.taken(kept), "x")
        assert other.fetched(taken, "row").to_pydict() == {"x": [1, 2, 3], "row": [0, 1, 2]}
        assert other.fetched(taken.filter(taken.x > 9), "row").num_rows == 0
