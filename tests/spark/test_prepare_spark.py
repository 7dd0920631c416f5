"""Spark and DuckDB prepare the same Dataset from the same files, to the byte."""

from __future__ import annotations

from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.spark import logs
from tmmsrec.cli import app
from tmmsrec.data import store
from tmmsrec.data.engines.duck import DuckDB
from tmmsrec.data.engines.spark import Spark
from tmmsrec.data.prepare import Preparation, prepare, prepare_to
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Source
from tmmsrec.data.sources.frames import FrameEvents, FrameItems
from tmmsrec.data.sources.guess import events_file, source_of
from tmmsrec.data.sources.table import TableEvents
from tmmsrec.data.times import _kinds, seconds

pytestmark = pytest.mark.slow


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def same_of_both(tmp_path: Path, source: Source, how: Preparation, spark: Spark) -> None:
    """Every file of both Dataset folders has the same bytes, and neither leaves anything else behind."""
    for name, engine in (("duckdb", DuckDB()), ("spark", spark)):
        prepare_to(tmp_path / name, source, how, name="log", engine=engine)
    one, other = contents(tmp_path / "duckdb"), contents(tmp_path / "spark")
    assert set(one) == {"dataset.json", "items.arrow", "log/items.npy", "log/offsets.npy", "log/times.npy", "users.parquet"}
    assert [name for name in one if one[name] != other[name]] == []
    prints = {store.load(tmp_path / name).fingerprint for name in ("duckdb", "spark")}
    assert len(prints) == 1


def test_text_ids_of_every_sort_in_a_packed_csv_with_an_item_table(spark: Spark, tmp_path: Path) -> None:
    source = source_of(logs.write_csv(tmp_path / "e.csv.gz", logs.events()), logs.write_items(tmp_path / "items.parquet"))
    same_of_both(tmp_path, source, Preparation(catalogue="all", require=("text",)), spark)
    made = store.load(tmp_path / "spark")
    assert list(made.users) == sorted(set(logs.IDS), key=str.encode)
    assert made.catalog.fields["price"].null_count > 0


def test_numbers_as_ids_and_fine_moments_in_a_folder_of_parquet(spark: Spark, tmp_path: Path) -> None:
    source = source_of(logs.write_shards(tmp_path / "shards", logs.events(seed=1)))
    same_of_both(tmp_path, source, Preparation(min_events=15, min_item_events=8, ties="hash", duplicates="drop"), spark)
    report = store.load(tmp_path / "spark").report
    assert report["events"]["duplicates_dropped"] > 0
    assert report["events"]["of_rare_items"] > 0
    assert report["events"]["of_users_dropped"] > 0
    assert report["ties"]["equal"] > 0


def test_movielens_as_it_comes(spark: Spark, tmp_path: Path) -> None:
    rows = [(k % 5, k * 7 % 11, logs.T0 + k // 3) for k in range(90)]
    for mark, ending in (("::", "dat"), ("\t", "data")):
        (raw := tmp_path / ending).mkdir()
        ratings, films = raw / f"ratings.{ending}", raw / "movies.dat"
        ratings.write_text("".join(mark.join(map(str, (u, i, 4.5, t))) + "\r\n" for u, i, t in rows))
        films.write_bytes("".join(f"{i}::Café: {i}::Drama|War\n" for i in range(9)).encode("latin-1"))
        same_of_both(raw, source_of(ratings, films), Preparation(), spark)
        assert store.load(raw / "spark").n_items == 11


def test_amazon_files_by_the_command_line(spark: Spark, tmp_path: Path) -> None:
    reviews, meta = logs.write_amazon(tmp_path / "raw", logs.events(seed=2))
    for engine in ("duckdb", "spark"):
        asked = [
            "prepare",
            str(reviews),
            "--items",
            str(meta),
            "--out",
            str(tmp_path / engine),
            "--engine",
            engine,
            "--min-events",
            "3",
        ]
        result = CliRunner().invoke(app, [*asked, "--spill", str(tmp_path / "spill")])
        assert result.exit_code == 0, result.output
    one, other = contents(tmp_path / "duckdb"), contents(tmp_path / "spark")
    assert one == other
    assert list((tmp_path / "spill").iterdir()) == []


ROWS = (("007", "a b"), ("7", " x "), ("ü", "'"))
READABLE = {
    "e.tsv": "user_id\titem_id\ttimestamp\n" + "".join(f"{u}\t{i}\t{logs.T0}\n" for u, i in ROWS),
    "e.jsonl": '{"user":7,"item":1.0,"time":1420588800}\n\n{"item":["a","b"],"user":"7","time":"1420588801"}\n'
    '{"user":"ü\\u0041","item":12345678901234567890,"time":1.4205888e9,"x":{"y":[1]}}\n',
    "e.inter": 'user_id:token\titem_id:token\ttimestamp:float\n"u\t"\'\t1420588800\nü\t007\t1420588801.5\n',
    "e.txt": "1 2 1420588800\n\n  ü\t'007' 1420588801  \nx\u00a0y z\x0bz 1420588802\n",
}


@pytest.mark.parametrize("name", READABLE)
def test_text_files_are_read_alike(spark: Spark, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(READABLE[name], encoding="utf-8")
    assert read(spark, tmp_path / name) == read(DuckDB(), tmp_path / name)


def test_parquet_types_and_a_strange_name_are_read_alike(spark: Spark, tmp_path: Path) -> None:
    day = pa.array([16442, 16443, 16444], pa.date32())
    for user, time in [
        (pa.array(["007", "7", "ü"]).dictionary_encode(), day),
        (pa.array([3, 2, 1], pa.uint32()), day.cast(pa.timestamp("us", "UTC"))),
        (pa.array([3, 2, 1], pa.int16()), pa.array([1.5e9, 1.6e9, 1.7e9])),
        (pa.array(["a", "b", "c"], pa.large_string()), day.cast(pa.timestamp("ns")).cast(pa.timestamp("ns", "America/New_York"))),
    ]:
        path = tmp_path / "it's [a] {very} 100%25 *odd* ü+name.parquet"
        more = pa.array([1, 2, 3], pa.timestamp("ns"))  # not asked for, of a type that Spark has not, and nearly of a name that is
        pq.write_table(pa.table({"user": user, "time": time, "item": pa.array(["x", "y", "z"]), "Time": more}), path)
        assert read(spark, path) == read(DuckDB(), path)


def read(engine: DuckDB | Spark, path: Path) -> list[dict]:
    with engine.open() as desk:
        found = desk.taken(events_file(path, "auto", {}).events(desk).table)
        unit = "typed" if found.time.type().is_timestamp() or found.time.type().is_date() else "s"
        found = found.mutate(time=seconds(found.time, unit))
        return desk.fetched(found, "position").to_pylist()


TIMES = [
    "1420588800", " 1420588800\t", "1420588800.9", "1.4205888e9", "+1420588800", "1420588800.", "1420588800d", "1.4205888E9F",
    "1_420_588_800", "0x54AC9B00", "nan", "NaN", "inf", "Infinity", "-5", "0", "7", "1420588800000", "1420588800000000", "1e400",
    "１４２０５８８８００", "1420588800\x00", "\x0b1420588800", "\u00a01420588800", "", " ", "\t", "\x0b", None, "20160901",
    "2016-09-01", "2016-09-01T10:30", "2016-09-01 10:30:59.999999999Z", "2016-09-01 10:30:59,5 +02:00", "2016-09-01T10:30:59-0430",
    "2016-09-01 24:00", "2016-09-01 24:00:00Z", "2016-09-01 24:01", "2016-09-01 10:61", "2016-09-01 10:30:60", "2016-02-30",
    "2016-13-01", "0000-01-01", "2016-9-1", " 2016-09-01\n", "2016-09-01\x0b", "2016-09-01x", "yesterday",
    "1420588800999999999", "2016-09-01T10:30+25:00", "1.9.2016", "01.09.2016 10:30:59,5+02:00", " 31.12.2016\n", "32.1.2016",
    "1.13.2016", "01.09.16", "1.9.2016 24:00", "01.09.2016x", "1..2016",
]  # fmt: skip


def test_times_as_text_mean_the_same(spark: Spark) -> None:
    table = ibis.memtable(pa.table({"time": TIMES, "position": pa.array(range(len(TIMES)))}))
    told = []
    for engine in (DuckDB(), spark):
        with engine.open() as desk:
            here = desk.keep(desk.taken(table))
            kinds = {kind: (row["many"], row["first"]) for kind, row in _kinds(here).items()}
            every = here.filter(here.time.notnull()).mutate(
                iso=seconds(here.time, "iso"), local=seconds(here.time, "iso", "America/St_Johns")
            )
            told.append((kinds, desk.fetched(every.select("position", "iso", "local"), "position").to_pylist()))
    assert told[0] == told[1]
    assert set(told[0][0]) == {"missing", "s", "ms", "us", "ns", "small", "iso", "other"}


def test_whole_nanoseconds_mean_the_same_to_the_last(spark: Spark) -> None:
    moments = [1420588800 * 10**9 + 999_999_999, 1420588801 * 10**9, 4102444799 * 10**9 + 999_999_999]
    for engine in (DuckDB(), spark):
        with engine.open() as desk:
            here = desk.keep(desk.taken(ibis.memtable(pa.table({"time": moments, "position": [0, 1, 2]}))))
            told = desk.fetched(here.mutate(time=seconds(here.time, "ns")), "position")
        assert told["time"].to_pylist() == [1420588800, 1420588801, 4102444799]


def test_tables_of_a_session_and_tables_in_memory(spark: Spark) -> None:
    """A Spark table is taken from the caller's own session, whose settings and names stay as they are."""
    from pyspark.sql import SparkSession

    rows = logs.events(120)
    user, item, time = zip(*rows, strict=True)
    table = pa.table({"user": user, "item": item, "time": pa.array(time), "position": pa.array(range(len(rows)))})
    titles = FrameItems(pa.table({"item": ["7", "A"], "title": ["x", "y"]}))
    caller = SparkSession.builder.getOrCreate()
    before = caller.conf.get("spark.sql.caseSensitive")
    caller.createDataFrame(list(zip(*table.to_pydict().values(), strict=True)), table.column_names).createOrReplaceTempView("mine")
    given = FrameEvents(ibis.pyspark.connect(caller).table("mine"))
    how = Preparation(min_events=1)
    there = prepare(Source(given, titles), how, engine=spark)
    assert there.fingerprint == prepare(Source(FrameEvents(table), titles), how).fingerprint
    assert caller.conf.get("spark.sql.caseSensitive") == before
    assert [row.tableName for row in caller.sql("SHOW TABLES").collect()] == ["mine"]


def test_columns_may_have_the_names_that_spark_itself_gives(spark: Spark, tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    rows = {"file_path": ["a", "b"], "row_index": ["x", "y"], "start": [logs.T0, logs.T0 + 1]}
    pq.write_table(pa.table(rows), path)
    told = []
    for engine in (DuckDB(), spark):
        with engine.open() as desk:
            table = TableEvents(path, "file_path", "row_index", "start").events(desk).table
            told.append(desk.fetched(table, "position").to_pydict())
    assert told[0] == told[1] == {"user": ["a", "b"], "item": ["x", "y"], "time": rows["start"], "position": [0, 1]}


@pytest.mark.parametrize("blank", ["", "  ", "\t \x0b"])
def test_blanks_alone_are_no_id_on_either_engine(spark: Spark, tmp_path: Path, blank: str) -> None:
    source = source_of(logs.write_csv(tmp_path / "e.csv.gz", [("u", "i", logs.T0), (blank, "i", logs.T0), ("u", blank, logs.T0)]))
    for engine in (DuckDB(), spark):
        with pytest.raises(DataProblem, match=r"row 2 of .*e.csv.gz has no user id \(1 such\)"):
            prepare(source, Preparation(min_events=1), engine=engine)


def test_a_session_is_not_taken_for_another(spark: Spark) -> None:
    with pytest.raises(
        DataProblem, match=r"a Spark session with the master local\[2\] runs in this process; stop it, or leave out"
    ):
        Spark("spark://elsewhere:7077").open()
