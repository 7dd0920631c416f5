"""Apache Spark: the same steps on many machines, or on this one.

Results are held as Parquet in a folder that every machine sees.  Rows that Spark has sorted and written are numbered by where
they stand: the files come in order, and so do the rows in each, so that no step gathers everything in one place.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from tmmsrec.data.engines import PLACE, ROWS, Desk, Engine, mebibytes
from tmmsrec.data.engines.duck import DuckDB, DuckDesk, fine_moments, scratch, select_parquet, sql_name, sql_text
from tmmsrec.data.problems import DataProblem

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

JAVA = "Spark needs Java 17 or later (Debian and Ubuntu: apt-get install openjdk-17-jre-headless)"


@dataclass(frozen=True)
class Spark(Engine):
    """A Spark session: the one that runs in this process, or a new one.

    Attributes:
        url: of the master (local[4], spark://host:7077, yarn, ...); a running session's, or all cores of this machine by default.
        memory: of this process' Java, and of DuckDB, which reads raw text; it counts only where the session is new.
        spill: a folder for what lies between the steps; on a cluster one that all its machines see under this name.
    """

    url: str | None = None
    memory: str = "2GB"
    spill: str | None = None

    def open(self) -> SparkDesk:
        """Connect; raises DataProblem when pyspark or Java is not there or the master does not answer."""
        return SparkDesk(self)


class SparkDesk(Desk):
    """A Spark session of its own settings and names, and a folder of Parquet."""

    def __init__(self, engine: Spark) -> None:
        found, self._mine = session(engine)
        self._scratch = scratch(engine.spill)
        self._spark = found if self._mine else found.newSession()  # settings and names of the caller's stay as they are
        self._spark.conf.set("spark.sql.caseSensitive", "true")
        self.engine = ibis.pyspark.connect(self._spark)
        self._reader = DuckDB(engine.memory, engine.spill).open()
        self._raw: list[Path] = []

    @property
    def reader(self) -> DuckDesk:
        """DuckDB in this process."""
        return self._reader

    def store(self, sql: str) -> ibis.Table:
        """Read by DuckDB, written as Parquet, and from there on Spark's; raises duckdb.Error."""
        self._raw.append(file := self._new("raw"))
        self._reader.engine.con.execute(f"COPY ({sql}) TO {sql_text(file)} (FORMAT parquet)")
        return self._view(self._read([file], ibis.Schema.from_pyarrow(pq.read_schema(file))))

    def parquet(self, shards: Sequence[Path], columns: Sequence[str]) -> ibis.Table:
        """Read by Spark itself, but for types that Spark has not: these are brought to its own first."""
        kinds = pq.read_schema(shards[0])
        casts = _casts(kinds, columns)
        if casts:
            return self.store(select_parquet(shards, columns, casts))
        return self._placed(shards, ibis.Schema.from_pyarrow(pa.schema([kinds.field(c) for c in columns])), PLACE)

    def taken(self, table: ibis.Table) -> ibis.Table:
        """A table of another engine, of another session or in memory, by way of Parquet."""
        owners = list(table._find_backends()[0])
        if owners == [self.engine]:
            return table
        self._raw.append(place := self._new("raw"))
        if owners and owners[0].name == "pyspark":
            owners[0].to_parquet_dir(table, f"file://{place}")
        else:
            (owners[0] if owners else self._reader.engine).to_parquet(table, place)
        return self._view(self._read([place], table.schema()))

    def keep(self, table: ibis.Table) -> ibis.Table:
        """Written, and read from there."""
        return self._view(self._read([self._written(table)], table.schema()))

    def numbered(self, table: ibis.Table, by: str) -> ibis.Table:
        """Sorted and written by all machines; a row's number is its place."""
        return self._placed(_shards(self._written(table.order_by(by))), table.schema(), "row")

    def ordered(self, table: ibis.Table, by: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Sorted and written by all machines, read here file by file."""
        folder = self._written(table.order_by(list(by)))
        for shard in _shards(folder):
            with pq.ParquetFile(shard) as opened:
                yield from opened.iter_batches(batch_size=ROWS)
            shard.unlink()
        shutil.rmtree(folder)

    def clear_raw(self) -> None:
        """Remove what DuckDB wrote."""
        while self._raw:
            place = self._raw.pop()
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove every file, and stop the session if it was made here."""
        self._reader.close()
        if self._mine:
            self._spark.stop()
        self._scratch.cleanup()

    def _new(self, sort: str) -> Path:
        return Path(self._scratch.name, f"{sort}-{uuid.uuid4().hex[:12]}").resolve()

    def _written(self, table: ibis.Table) -> Path:
        folder = self._new("kept")
        self.engine.to_parquet_dir(table, f"file://{folder}")
        return folder

    def _view(self, frame: DataFrame) -> ibis.Table:
        frame.createOrReplaceTempView(view := f"t_{uuid.uuid4().hex[:12]}")
        return self.engine.table(view)

    def _read(self, places: Sequence[Path], schema: ibis.Schema) -> DataFrame:
        """Columns of Parquet; told their types, Spark need not look for them, and does not mind what else is there."""
        from ibis.backends.pyspark.datatypes import PySparkSchema

        return self._spark.read.schema(PySparkSchema.from_ibis(schema)).parquet(*map(_url, places))

    def _placed(self, shards: Sequence[Path], schema: ibis.Schema, place: str) -> ibis.Table:
        """Columns of Parquet files, and the place of each row in all of them one after another, int64."""
        from pyspark.sql import functions as F

        starts, start = {}, 0
        for shard in shards:
            starts[str(shard.resolve())] = start
            start += pq.read_metadata(shard).num_rows
        frame = self._read(shards, schema)
        # Spark tells a row's file as a URL: known by the path that it spells.
        began = [(_as_told(url), starts[unquote(url).removeprefix("file://")]) for url in frame.inputFiles()]
        where = self._spark.createDataFrame(began, "file_path string, start long")
        own = frame.select(F.struct("*").alias("own"), "_metadata.file_path", "_metadata.row_index")  # apart: names may be any
        placed = own.join(F.broadcast(where), "file_path").select("own.*", (F.col("start") + F.col("row_index")).alias(place))
        return self._view(placed)


def session(engine: Spark) -> tuple[SparkSession, bool]:
    """A session, and whether it was made here and so is to be stopped here.

    Raises:
        DataProblem: pyspark or Java is not there, the master does not answer, a session with another master runs already, or
            other machines have no folder in common with this one.
    """
    try:
        from pyspark import SparkContext
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ModuleNotFoundError:
        raise DataProblem("the engine spark needs pyspark: pip install 'tmmsrec[spark]'") from None
    running = SparkContext._active_spark_context
    if running is not None:
        if engine.url not in (None, running.master):
            raise DataProblem(
                f"a Spark session with the master {running.master} runs in this process; stop it, or leave out {engine.url}"
            )
        _must_share(str(running.master), engine)
        return SparkSession.builder.getOrCreate(), False
    url = engine.url or "local[*]"
    _must_share(url, engine)
    builder = SparkSession.builder.appName("tmmsrec").master(url)
    for key, value in _settings(url, engine).items():
        builder = builder.config(key, value)
    try:
        made = builder.getOrCreate()
    except PySparkRuntimeError as problem:
        raise DataProblem(f"Spark did not start ({str(problem).splitlines()[0]}): {JAVA}") from None
    except Exception as problem:
        lines = str(problem).splitlines()
        said = next((line for line in lines if "Exception: " in line), lines[0] if lines else type(problem).__name__)
        raise DataProblem(f"there is no Spark session at {url}: {said.strip()}") from problem
    return made, True


def _settings(url: str, engine: Spark) -> Mapping[str, Any]:
    quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
    if not _is_here(url):
        return quiet  # a cluster's own settings say the rest
    here = {"spark.driver.host": "localhost", "spark.driver.bindAddress": "127.0.0.1"}
    room = {"spark.driver.memory": f"{mebibytes(engine.memory)}m"}
    return {**quiet, **here, **room, **({} if engine.spill is None else {"spark.local.dir": engine.spill})}


def _must_share(master: str, engine: Spark) -> None:
    if engine.spill is None and not _is_here(master):
        raise DataProblem(f"the machines of {master} share the steps' results by files: name a folder that all see (spill)")


def _is_here(master: str) -> bool:
    return master.partition("[")[0] == "local"


def _casts(kinds: pa.Schema, columns: Sequence[str]) -> dict[str, str]:
    """SQL that brings columns to types that Spark has: whole numbers with a sign, and moments no finer than microseconds."""
    unsigned = [c for c in columns if pa.types.is_unsigned_integer(kinds.field(c).type)]
    return {c: f"CAST({sql_name(c)} AS BIGINT)" for c in unsigned} | fine_moments(kinds, columns)


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _url(path: Path) -> str:
    """A local path to read: in it, unlike in one to write, Spark sees patterns where none are meant."""
    return "file://" + "".join("\\" + c if c in "\\[]{}*?" else c for c in str(path.resolve()))


def _as_told(url: str) -> str:
    return "file:" + url.removeprefix("file://")
