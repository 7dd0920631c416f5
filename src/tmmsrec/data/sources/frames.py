"""Tables at hand instead of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np
import pyarrow as pa

from tmmsrec.data.engines import POSITION, Desk
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Events, Items
from tmmsrec.data.sources.table import as_text, free_names, picture_reference


@dataclass(frozen=True, eq=False)
class FrameEvents:
    """Events in an Arrow, pandas or Ibis table with columns user, item, time.

    Rows of an Ibis table (a Spark table, for instance) have no order of their own: give it a column ``position``.
    """

    table: Any

    def events(self, desk: Desk) -> Events:
        """The events; raises DataProblem for a missing column."""
        return Events(_table(self.table, ("user", "item", "time")), "the events table")


@dataclass(frozen=True, eq=False)
class FrameItems:
    """Items in an Arrow, pandas or Ibis table with a column item; ``image`` is the picture, every other column text."""

    table: Any

    def items(self, desk: Desk) -> Items:
        """The items; raises DataProblem for a missing column."""
        table = _table(self.table, ("item",))
        told = [n for n in table.columns if n not in ("item", "image", POSITION)]
        texts = {free: as_text(table[n]) for n, free in free_names(told).items()}
        fields = {n: e for n, e in texts.items() if e is not None}
        if "image" in table.columns:
            fields["image"] = picture_reference(table["image"], table["item"])
        return Items(table.select("item", POSITION, **fields), "the items table")


def _table(given: Any, needed: tuple[str, ...]) -> ibis.Table:
    if isinstance(given, ibis.Table):
        names, needed = list(given.columns), (*needed, POSITION)
    else:
        given = given if isinstance(given, pa.Table) else pa.Table.from_pandas(given, preserve_index=False)
        if POSITION not in given.column_names:
            given = given.append_column(POSITION, pa.array(np.arange(given.num_rows)))
        names = given.column_names
    missing = [n for n in needed if n not in names]
    if missing:
        raise DataProblem(f"the table has no column '{missing[0]}'; it has {', '.join(names)}")
    return given if isinstance(given, ibis.Table) else ibis.memtable(given)
