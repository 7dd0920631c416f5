"""Tables at hand instead of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np
import pyarrow as pa

from tmmsrec.data.engines import POSITION, Desk
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Events, Items, columns
from tmmsrec.data.sources.table import as_text, free_names, picture_reference


@dataclass(frozen=True, eq=False)
class FrameEvents:
    """Events in a table of pandas, polars, Arrow or Ibis, or in a list of records.

    Rows of an Ibis table (a Spark table, for instance) have no order of their own: give it a column ``position``.

    Attributes:
        table: the events, one a row.
        user, item, time: names of the columns; found by their usual names where they are not given.
    """

    table: Any
    user: str | None = None
    item: str | None = None
    time: str | None = None

    def events(self, desk: Desk) -> Events:
        """The events; raises DataProblem for a missing column, and for what is no table."""
        table, where = _table(self.table, "events"), "the events table"
        found = {
            "user": _column(table, self.user, columns.USER, "user", where),
            "item": _column(table, self.item, columns.ITEM, "item", where),
            "time": _column(table, self.time, columns.TIME, "time", where),
        }
        picked = table.select(POSITION, **{role: table[name] for role, name in found.items()})
        return Events(picked, where, notes={"columns": found})


@dataclass(frozen=True, eq=False)
class FrameItems:
    """Items in such a table; every column but those of the id and the picture is text.

    Attributes:
        table: the items, one a row.
        item, image: names of the columns; found by their usual names where they are not given.
    """

    table: Any
    item: str | None = None
    image: str | None = None

    def items(self, desk: Desk) -> Items:
        """The items; raises DataProblem for a missing column, and for what is no table."""
        table, where = _table(self.table, "items"), "the items table"
        item = _column(table, self.item, (*columns.ITEM, "id"), "item", where)
        names = [n for n in table.columns if n != POSITION]
        image = columns.choose(names, self.image, (), "picture", where) if self.image else columns.find(names, columns.IMAGE)
        told = [n for n in names if n not in (item, image)]
        texts = {free: as_text(table[n]) for n, free in free_names(told).items()}
        fields = {n: e for n, e in texts.items() if e is not None}
        if image:
            fields["image"] = picture_reference(table[image], table[item])
        return Items(table.select(POSITION, item=table[item], **fields), where)


def _column(table: ibis.Table, given: str | None, known: tuple[str, ...], role: str, where: str) -> str:
    names = [n for n in table.columns if n != POSITION]
    return columns.choose(names, given or (role if role in names else None), known, role, where)


def _table(given: Any, what: str) -> ibis.Table:
    if isinstance(given, ibis.Table):
        if POSITION not in given.columns:
            raise DataProblem(f"the table has no column '{POSITION}'; it has {', '.join(given.columns)}")
        return given
    table = _arrow(given, what)
    if POSITION not in table.column_names:
        table = table.append_column(POSITION, pa.array(np.arange(table.num_rows)))
    return ibis.memtable(table)


def _arrow(given: Any, what: str) -> pa.Table:
    if isinstance(given, pa.Table):
        return given
    try:
        if isinstance(given, list):
            return pa.Table.from_pylist(given)
        if hasattr(given, "iloc"):  # pandas, without its index
            return pa.Table.from_pandas(given, preserve_index=False)
        return pa.table(given)
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as problem:
        kind = type(given).__name__
        raise DataProblem(f"the {what} are a {kind}, no path and no table of pandas, polars, Arrow or Ibis: {problem}") from problem
