"""What a source knows of the items that occur: one row each, fields, pictures, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tmmsrec.data.engines import Desk
from tmmsrec.data.pictures import Pictures
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Items


@dataclass(eq=False)
class Known:
    """Items in the order of their ids.

    Attributes:
        codes: id, row (from 0), an engine table.
        table: id, fields..., image if any, and ``listed`` (bool: the item table has it); an Arrow table of as many rows.
        notes: what was read and counted, for the report.
    """

    codes: ibis.Table
    table: pa.Table
    notes: dict[str, Any] = field(default_factory=dict)
    resolved: bool = False

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def texts(self) -> list[str]:
        """Names of the text fields."""
        return [c for c in self.table.column_names if c not in ("id", "image", "listed")]

    def lacking(self, require: tuple[str, ...], pictures: Pictures | None) -> NDArray[np.int64]:
        """Rows of the items without a required modality, [n]; counts them in the notes."""
        if not require:
            return np.zeros(0, dtype=np.int64)
        if "text" in require and not self.texts:
            raise DataProblem("items are required to have text, but no item table with text fields was given")
        has = {}
        if "text" in require:
            has["text"] = np.any([_filled(self.table[c]) for c in self.texts], axis=0)
        if "image" in require:
            self._resolve(pictures)
            if "image" not in self.table.column_names:
                raise DataProblem("items are required to have a picture, but no pictures (folder, zip, Parquet or URLs) were given")
            has["image"] = _filled(self.table["image"])
        self.notes["items_lacking"] = {m: int((~h).sum()) for m, h in has.items()}
        return np.flatnonzero(~np.all(list(has.values()), axis=0)).astype(np.int64)

    def chosen(self, there: NDArray[np.bool_], pictures: Pictures | None) -> tuple[pa.Table, dict[str, Any]]:
        """The fields of some items ([n] bool over all) and the notes for the report."""
        left_out = int((~there).sum())
        chosen = Known(self.codes, self.table.filter(pa.array(there)).combine_chunks(), self.notes, self.resolved)
        chosen._resolve(pictures)
        table = chosen.table
        told_of = int(pc.sum(table["listed"]).as_py() or 0) if self.notes["listed"] else 0
        untold = table["id"].filter(pc.invert(table["listed"]))[:3].to_pylist() if told_of else []
        rows = self.notes["table"]
        items = {
            "kept": table.num_rows,
            "left_out": left_out,
            "lacking_modalities": self.notes.get("items_lacking", {}),
            "without_metadata": table.num_rows - told_of,
            "such_as": untold,
            "rows_of_no_event": rows["read"] - rows["repeated_rows"] - self.notes["listed"] if rows else 0,
            "missing_fields": {c: int((~_filled(table[c])).sum()) for c in (*chosen.texts, "image") if c in table.column_names},
            "table": self.notes["table"],
        }
        about: dict[str, Any] = {"items": items}
        if pictures is not None:
            about["pictures"] = {**pictures.about(), "found": int(_filled(table["image"]).sum()), "items": table.num_rows}
        return table.drop_columns(["listed"]), about

    def _resolve(self, pictures: Pictures | None) -> None:
        # Looking pictures up may download them: once, and only for the items that need it.
        if pictures is None or self.resolved:
            return
        ids = [str(v) for v in self.table["id"].to_pylist()]
        named = self.table["image"].to_pylist() if "image" in self.table.column_names else [None] * len(ids)
        found = pa.array(pictures.resolve(ids, named), pa.string())
        table = self.table.drop_columns(["image"]) if "image" in self.table.column_names else self.table
        self.table = table.append_column("image", found)
        self.resolved = True


def known_items(desk: Desk, events: ibis.Table, items: Items | None, *, everything: bool) -> Known:
    """Number the items of the events (and of the whole item table if ``everything``) and fetch what is known of them.

    Raises:
        DataProblem: rows of one item that differ, item rows without an id, or a table that shares no id with the events.
    """
    ids = events.select(id=events.item).distinct()
    if items is None:
        codes = desk.numbered(ids, "id")
        table = desk.fetched(codes, "row").drop_columns(["row"])
        return Known(codes, table.append_column("listed", pa.array(np.zeros(table.num_rows, bool))), {"listed": 0, "table": {}})
    table, counts = _one_row_each(desk, items, events.item.type())
    if everything:
        ids = ids.union(table.select(id=table.item), distinct=True)
    codes = desk.numbered(ids, "id")
    fields = [c for c in table.columns if c not in ("item", "position")]
    told = table.mutate(listed=True)
    joined = codes.left_join(told, codes.id == told.item).select("id", "row", *fields, "listed")
    fetched = desk.fetched(joined, "row").drop_columns(["row"])
    listed = pc.fill_null(fetched["listed"], False)
    fetched = fetched.set_column(fetched.column_names.index("listed"), "listed", listed)
    if not pc.any(listed).as_py():
        raise DataProblem(_no_common_id(events, table, items))
    return Known(
        codes, fetched, {"listed": int(pc.sum(listed).as_py()), "table": {"source": items.origin, **items.notes, **counts}}
    )


def _one_row_each(desk: Desk, items: Items, kind: Any) -> tuple[ibis.Table, dict[str, int]]:
    """The item table with one row an id, ids in the type of the events' ids."""
    raw = items.table
    empty = raw.item.isnull() | (raw.item.cast("string").strip() == "")
    bad = raw.filter(empty).order_by("position").limit(1).to_pyarrow().to_pylist()
    if bad:
        raise DataProblem(f"{items.place(bad[0]['position'])} has no item id; give every item one or remove the row")
    table = desk.keep(raw.mutate(item=_same_type(raw.item, kind)).filter(lambda t: t.item.notnull()))
    first = desk.keep(table.group_by("item").aggregate(position=lambda t: t.position.min(), n=lambda t: t.count()))
    repeated = first.filter(first.n > 1)
    counts = {
        "read": _count(raw),
        "repeated_rows": int(repeated.aggregate(x=(repeated.n - 1).sum().coalesce(0)).to_pyarrow()["x"][0].as_py()),
    }
    if counts["repeated_rows"] == 0:
        return table, counts
    if items.repeats == "refuse":
        _refuse_different(table.semi_join(repeated, "item"), items)
    return table.semi_join(first.select("position"), "position"), counts


def _refuse_different(rows: ibis.Table, items: Items) -> None:
    content = rows.drop("position").distinct()
    differing = content.group_by("item").aggregate(n=lambda t: t.count()).filter(lambda t: t.n > 1)
    many = _count(differing)
    if not many:
        return
    some = rows.semi_join(differing.order_by("item").limit(5), "item").select("item", "position").order_by(["item", "position"])
    places: dict[Any, list[int]] = {}
    for row in some.limit(100).to_pyarrow().to_pylist():
        places.setdefault(row["item"], []).append(row["position"] + 1)
    named = "; ".join(f"{i} ({items.unit}s {', '.join(map(str, p[:6]))})" for i, p in places.items())
    raise DataProblem(f"{items.origin} describes {many} items twice with different contents: {named}; keep one row an item")


def _same_type(ids: ibis.Column, kind: Any) -> ibis.Column:
    if kind.is_string():
        return ids.cast("string")
    if ids.type().is_string():
        number = ids.try_cast("int64")
        # "007" is not 7: only text that is exactly how the number is written counts as it.
        return (number.cast("string") == ids).ifelse(number, ibis.null("int64")).cast(kind)
    return ids.try_cast("int64").cast(kind)


def _no_common_id(events: ibis.Table, table: ibis.Table, items: Items) -> str:
    there = [str(v) for v in events.select("item").limit(3).to_pyarrow()["item"].to_pylist()]
    known = [str(v) for v in items.table.select("item").limit(3).to_pyarrow()["item"].to_pylist()]
    return (
        f"no item of the events is in {items.origin}: "
        f"events have {', '.join(there)}, ..., the table has {', '.join(known) or 'nothing'}, ...; "
        "check that both use the same ids (leading zeros, blanks around them, the right column)"
    )


def _filled(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(pc.is_valid(column).to_numpy(), dtype=bool)


def _count(table: ibis.Table) -> int:
    return int(table.count().to_pyarrow().as_py())
