"""DuckDB in this process: the default, and on every engine the one that reads raw files."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from tmmsrec.data.engines import PLACE, ROWS, Desk, Engine, mebibytes
from tmmsrec.data.problems import DataProblem


@dataclass(frozen=True)
class DuckDB(Engine):
    """DuckDB in this process.

    Attributes:
        memory: what it may hold in memory; the rest goes to disk.
        spill: the folder for that, the system's temporary one by default.
        threads: how many; all cores by default.
    """

    memory: str = "2GB"
    spill: str | None = None
    threads: int | None = None

    def open(self) -> DuckDesk:
        """A database of its own; raises DataProblem for a size that is none or a folder that cannot be made."""
        return DuckDesk(self)


class DuckDesk(Desk):
    """A DuckDB in memory whose tables are temporary."""

    def __init__(self, engine: DuckDB = DuckDB()) -> None:
        self._spill = scratch(engine.spill)
        more = {} if engine.threads is None else {"threads": engine.threads}
        self._memory = mebibytes(engine.memory)
        self.engine = ibis.duckdb.connect(
            memory_limit=f"{self._memory}MiB",
            temp_directory=self._spill.name,
            preserve_insertion_order=True,  # positions are counted as rows arrive
            **more,
        )
        self._raw: list[str] = []

    @property
    def reader(self) -> DuckDesk:
        """Itself."""
        return self

    def store(self, sql: str) -> ibis.Table:
        """The result of a query over a raw file as a temporary table; raises duckdb.Error."""
        self._raw.append(name := f"raw_{uuid.uuid4().hex[:12]}")
        self.engine.con.execute(f"CREATE TEMP TABLE {name} AS {sql}")
        return self.engine.table(name)

    def parquet(self, shards: Sequence[Path], columns: Sequence[str]) -> ibis.Table:
        """The files in the order given, which DuckDB keeps."""
        return self.store(select_parquet(shards, columns, fine_moments(pq.read_schema(shards[0]), columns)))

    def taken(self, table: ibis.Table) -> ibis.Table:
        """Tables in memory and its own are read as they are; those of another engine are fetched."""
        others = [one for one in table._find_backends()[0] if one is not self.engine]
        return ibis.memtable(table.to_pyarrow()) if others else table

    def keep(self, table: ibis.Table) -> ibis.Table:
        """A temporary table.  Not Ibis' own cache: dropping its tables fails for some pairs of Ibis and DuckDB (12.0 and 2.0.1)."""
        return self.engine.create_table(f"kept_{uuid.uuid4().hex[:12]}", table, temp=True)

    def numbered(self, table: ibis.Table, by: str) -> ibis.Table:
        """Numbered by a window."""
        return self.keep(table.mutate(row=ibis.row_number().over(ibis.window(order_by=by)).cast("int64")))

    def ordered(self, table: ibis.Table, by: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Sorted on disk where it must be, and handed over in pieces; another query ends them."""
        found = self.engine.con.sql(self.engine.compile(table.order_by(list(by))))
        # The same under its newer and its older name; Ibis 12 knows only the latter.
        yield from (found.to_arrow_reader if hasattr(found, "to_arrow_reader") else found.fetch_arrow_reader)(ROWS)

    def clear_raw(self) -> None:
        """Drop the tables of raw files."""
        while self._raw:
            self.engine.con.execute(f"DROP TABLE IF EXISTS {self._raw.pop()}")

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, problem, trace)
        if isinstance(problem, duckdb.OutOfMemoryException):
            raise DataProblem(
                f"DuckDB needs more than {self._memory} MiB of memory here; give it more (memory), or fewer threads"
            ) from problem

    def close(self) -> None:
        """End the database and remove what it spilled."""
        self.engine.disconnect()
        self._spill.cleanup()


def scratch(folder: str | None) -> tempfile.TemporaryDirectory[str]:
    """A folder of our own within a chosen one (made where it is not there), or within the system's temporary one."""
    try:
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="tmmsrec-", dir=folder, ignore_cleanup_errors=True)
    except OSError as problem:
        raise DataProblem(
            f"nothing can be written in {folder or tempfile.gettempdir()} ({problem.strerror}); name another folder"
        ) from None


def select_parquet(shards: Sequence[Path], columns: Sequence[str], casts: Mapping[str, str]) -> str:
    """SQL for columns of Parquet files, some of them cast (name -> SQL), and the place of each row."""
    made = ", ".join(f"{casts.get(c, sql_name(c))} AS {sql_name(c)}" for c in columns)
    # A window without an order is computed in the order in which rows arrive, which DuckDB keeps as in the files.
    return f"SELECT {made}, row_number() OVER () - 1 AS {PLACE} FROM read_parquet([{', '.join(map(sql_text, shards))}])"


def fine_moments(kinds: pa.Schema, columns: Sequence[str]) -> dict[str, str]:
    """SQL that cuts moments of nanoseconds to microseconds: not every engine has finer ones, and Ibis knows not all of DuckDB's."""
    fine = {c: kinds.field(c).type for c in columns if str(kinds.field(c).type).startswith("timestamp[ns")}
    return {c: f"CAST({sql_name(c)} AS TIMESTAMP{'' if kind.tz is None else 'TZ'})" for c, kind in fine.items()}


def sql_text(value: object) -> str:
    """A value as an SQL text."""
    return "'" + str(value).replace("'", "''") + "'"


def sql_name(value: str) -> str:
    """A name as SQL writes it."""
    return '"' + value.replace('"', '""') + '"'
