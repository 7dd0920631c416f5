"""Where preparation runs.  An engine is a value; opened, it is a desk on which one preparation lays its tables.

The steps of preparation are Ibis expressions and do not know the engine.  What engines do each in their own way is little: how a
result is held, how sorted rows get their numbers, how they come back in order, and how a raw file becomes a table.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import ibis
import pyarrow as pa

from tmmsrec.data.problems import DataProblem

if TYPE_CHECKING:
    from typing import Self

POSITION = "position"  # place of a row in its file, from 0
PLACE = "_place_of_row"  # the same beside columns as a file names them, one of which may be "position"
ROWS = 250_000  # of a piece in which results come back
_SIZES = {"": 1 / 2**20, "k": 2**-10, "m": 1, "g": 2**10, "t": 2**20}


class Engine(ABC):
    """A way to run a preparation: a value."""

    @abstractmethod
    def open(self) -> Desk:
        """Start it, or connect to it; raises DataProblem where that cannot be done."""


class Desk(ABC):
    """An engine at work, and the tables that one preparation lays on it; leaving the block clears them away."""

    @property
    @abstractmethod
    def reader(self) -> Desk:
        """The desk that reads raw files and writes their numbers as text: DuckDB's, so that all engines have the same."""

    @abstractmethod
    def store(self, sql: str) -> ibis.Table:
        """The result of a DuckDB query over a raw file, held until ``clear_raw``; raises duckdb.Error."""

    @abstractmethod
    def parquet(self, shards: Sequence[Path], columns: Sequence[str]) -> ibis.Table:
        """Columns of Parquet files in their own types, and ``PLACE``: the place of a row in all of them, one after another."""

    @abstractmethod
    def taken(self, table: ibis.Table) -> ibis.Table:
        """A table of this or any other engine, or one in memory, as a table of this one."""

    @abstractmethod
    def keep(self, table: ibis.Table) -> ibis.Table:
        """The result of an expression, computed once and held by the engine."""

    @abstractmethod
    def numbered(self, table: ibis.Table, by: str) -> ibis.Table:
        """The rows with a column ``row``, int64 from 0 in the order of a column without repeats; kept."""

    @abstractmethod
    def ordered(self, table: ibis.Table, by: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows in the order of some columns, piece by piece: what is read of them is never held as a whole."""

    @abstractmethod
    def clear_raw(self) -> None:
        """Drop what ``store`` made."""

    @abstractmethod
    def close(self) -> None:
        """Drop everything."""

    def fetched(self, table: ibis.Table, by: str) -> pa.Table:
        """The rows in order as one Arrow table, in the types that Ibis says they have."""
        schema = table.schema().to_pyarrow()
        plain = [pa.Table.from_batches([one]).replace_schema_metadata(None).cast(schema) for one in self.ordered(table, [by])]
        return pa.concat_tables(plain) if plain else schema.empty_table()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def mebibytes(size: str) -> int:
    """A size such as 2GB, 512MB or 1.5GiB in whole MiB; raises DataProblem for anything else or less than 1 MiB."""
    said = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", size.lower())
    found = int(float(said[1]) * _SIZES[said[2]]) if said else 0
    if found < 1:
        raise DataProblem(f"'{size}' is no amount of memory; write it as 2GB or 512MB")
    return found
