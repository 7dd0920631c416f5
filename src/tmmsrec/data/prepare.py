"""From raw tables to a Dataset: written once as Ibis expressions, run by DuckDB in this process or by Spark."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tmmsrec.data import store
from tmmsrec.data.catalog import Catalog
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.engines import Desk, Engine
from tmmsrec.data.engines.duck import DuckDB
from tmmsrec.data.gather import gather
from tmmsrec.data.ids import Ids
from tmmsrec.data.items import Known, known_items
from tmmsrec.data.pictures import Pictures, holds_pictures, open_pictures
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Events, Source
from tmmsrec.data.sources.guess import Format, is_path, source_of
from tmmsrec.data.tally import nothing_left, report_of
from tmmsrec.data.times import TimeChoice, TimeColumn, detect, seconds
from tmmsrec.data.zones import checked_zone

MODALITIES = ("text", "image")
DUCKDB = DuckDB()
AnyEvents = TypeVar("AnyEvents", bound=Events)


@dataclass(frozen=True)
class Preparation:
    """What is kept of raw events, and in which order.

    Attributes:
        min_events: users with fewer kept events are dropped.
        min_item_events: items with fewer kept events are dropped, in turns with users until both hold (a core); 1, as in the
            paper, drops none.
        duplicates: "keep" every event, or "drop" those that repeat user, item and time of an earlier one.
        ties: order among equal times of a user: the "file"'s, or a "hash" of user and item that no file order can leak into.
        require: modalities ("text", "image") an item must have; items without are dropped first, with their events, then users.
        catalogue: items with kept "events" only, or "all" of the item table too (they can then be recommended).
        time: unit of the time column, found in the data by default.
        zone: of clock times that are written without an offset: "Europe/Berlin".
    """

    min_events: int = 5
    min_item_events: int = 1
    duplicates: Literal["keep", "drop"] = "keep"
    ties: Literal["file", "hash"] = "file"
    require: tuple[str, ...] = ()
    catalogue: Literal["events", "all"] = "events"
    time: TimeChoice = "auto"
    zone: str = field(default="UTC", metadata={"later": True})

    def __post_init__(self) -> None:
        unknown = [m for m in self.require if m not in MODALITIES]
        if unknown:
            raise DataProblem(f"items cannot be asked to have '{unknown[0]}'; known: {', '.join(MODALITIES)}")
        for name in ("min_events", "min_item_events"):
            if getattr(self, name) < 1:
                raise DataProblem(f"{name} is {getattr(self, name)}; it must be at least 1")
        checked_zone(self.zone)


def prepare(
    source: Source,
    how: Preparation = Preparation(),
    *,
    name: str = "data",
    pictures: Pictures | None = None,
    engine: Engine = DUCKDB,
    folder: Path | None = None,
) -> Dataset:
    """Turn a source into a Dataset in memory; its ``report`` says what was read, decided, dropped and missing.

    Users and items are numbered in the order of their ids (numbers by value, text by its UTF-8 bytes).  The same source gives
    the same Dataset whatever the engine.

    Args:
        source: the raw files.
        how: what to keep.
        name: the Dataset's name.
        pictures: where the items' pictures are.
        engine: what runs it.
        folder: where the log is laid instead of in memory; it must outlive the Dataset.

    Raises:
        DataProblem: input that cannot be used; the message names file, row and value.
    """
    with engine.open() as desk:
        raw = _taken(desk, source.events.events(desk))
        _check_ids(raw)
        time = detect(raw.table, how.time, raw.place, how.zone)
        items = _taken(desk, source.items.items(desk.reader)) if source.items else None
        users = desk.numbered(raw.table.select(id=raw.table.user).distinct(), "id")
        known = known_items(desk, raw.table, items, everything=how.catalogue == "all")
        coded = _coded(desk, raw.table, users, known.codes, time, how)
        desk.clear_raw()  # the ids' texts are most of what is held, and each is held once now
        lacking = known.lacking(how.require, pictures)
        kept, counts = _kept(desk, coded, lacking, how)
        if counts["kept"] == 0:
            raise DataProblem(nothing_left(counts, how))
        there = _items_there(kept, known, lacking, how)
        row = np.cumsum(there, dtype=np.int32)  # closes the gaps of those left out; the first one there gets row 1
        pieces = desk.ordered(kept.select("u", "i", "t", "tie"), ["u", "t", "tie"])
        log, user_there = gather(pieces, counts["kept"], counts["users_read"], row, folder)
        user_ids = desk.fetched(users, "row")["id"]
    fields, about = known.chosen(there, pictures)
    met = Ids(pc.filter(user_ids, pa.array(user_there)), first=0, what="user")
    dataset = Dataset(name, log, Catalog(Ids(fields["id"], first=1, what="item"), fields.drop_columns(["id"])), met, about)
    dataset = replace(dataset, report={**report_of(raw, time, how, counts, dataset), **dataset.report})
    dataset.check()
    return dataset


def prepare_to(
    folder: Path | str,
    source: Source,
    how: Preparation = Preparation(),
    *,
    name: str | None = None,
    pictures: Pictures | None = None,
    engine: Engine = DUCKDB,
) -> Dataset:
    """``prepare`` and write the Dataset folder, the log never whole in memory; nothing is written unless all went well."""
    folder = Path(folder)
    store.must_be_free(folder)  # said now, not after hours
    store.make_folder(folder.parent)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.log.", dir=folder.parent) as log:
        made = prepare(source, how, name=name or folder.name, pictures=pictures, engine=engine, folder=Path(log))
        return store.save(made, folder)


def _taken(desk: Desk, read: AnyEvents) -> AnyEvents:
    return replace(read, table=desk.taken(read.table))


def _check_ids(raw: Events) -> None:
    for role in ("user", "item"):
        column = raw.table[role]
        kind = column.type()
        if not (kind.is_string() or kind.is_integer()):
            raise DataProblem(f"the {role} ids of {raw.origin} have type {kind}; write them as text or whole numbers")
        empty = column.isnull() | (column.strip() == "") if kind.is_string() else column.isnull()
        first = empty.ifelse(raw.table.position, ibis.null("int64")).min()
        found = raw.table.aggregate(events=raw.table.count(), many=empty.sum(), first=first).to_pyarrow().to_pylist()[0]
        if not found["events"]:
            raise DataProblem(f"there are no events in {raw.origin}; give a file that has at least one")
        if found["many"]:
            raise DataProblem(
                f"{raw.place(found['first'])} has no {role} id ({found['many']} such); remove these events or complete them"
            )


def _coded(desk: Desk, events: ibis.Table, users: ibis.Table, items: ibis.Table, time: TimeColumn, how: Preparation) -> ibis.Table:
    """Events as four integer (or hash) columns: u, i, t, tie."""
    if how.ties == "hash":
        # Equal pairs get equal hashes, and then their order does not matter: they are the same event.
        tie = (events.user.cast("string") + "|" + events.item.cast("string")).hexdigest("md5")
    else:
        tie = events.position
    small = events.select(user=events.user, item=events.item, t=seconds(events.time, time.unit, how.zone), tie=tie)
    u = users.select(user_id="id", u="row")
    i = items.select(item_id="id", i="row")
    joined = small.join(u, small.user == u.user_id).join(i, small.item == i.item_id)
    return desk.keep(joined.select("u", "i", "t", "tie"))


def _kept(desk: Desk, coded: ibis.Table, lacking: NDArray[np.int64], how: Preparation) -> tuple[ibis.Table, dict[str, int]]:
    """The events that stay, and how many went at each step."""
    counts = {
        "read": _count(coded),
        "users_read": _count(coded.select("u").distinct()),
    }
    counts |= {"after_items": counts["read"], "users_after_items": counts["users_read"]}
    kept = coded
    if len(lacking):
        kept = kept.anti_join(desk.taken(ibis.memtable(pa.table({"i": lacking}))), "i")
        counts |= {"after_items": _count(kept), "users_after_items": _count(kept.select("u").distinct())}
    counts["after_duplicates"] = counts["after_items"]
    if how.duplicates == "drop":
        kept = kept.group_by("u", "i", "t").aggregate(tie=lambda t: t.tie.min())
        counts["after_duplicates"] = _count(kept)
    kept, counts["of_rare_items"] = _core(desk, kept, how)
    counts["kept"] = _count(kept)
    return kept, counts


def _core(desk: Desk, events: ibis.Table, how: Preparation) -> tuple[ibis.Table, int]:
    """The events of users and items with enough of them, and how many were dropped for their items."""
    dropped = 0
    while True:
        kept = desk.keep(_often(events, "u", how.min_events))
        if how.min_item_events == 1:
            return kept, dropped
        before, kept = _count(kept), desk.keep(_often(kept, "i", how.min_item_events))
        after = _count(kept)
        if after == before:
            return kept, dropped
        events, dropped = kept, dropped + before - after


def _often(events: ibis.Table, column: str, least: int) -> ibis.Table:
    """The events whose value in a column occurs ``least`` times or more."""
    if least <= 1:
        return events
    enough = events.group_by(column).aggregate(n=lambda t: t.count()).filter(lambda t: t.n >= least)
    return events.semi_join(enough, column)


def _count(table: ibis.Table) -> int:
    return int(table.count().to_pyarrow().as_py())


def _items_there(kept: ibis.Table, known: Known, lacking: NDArray[np.int64], how: Preparation) -> NDArray[np.bool_]:
    """Which of the numbered items the Dataset holds, [items]."""
    there = np.zeros(len(known), dtype=bool)
    if how.catalogue == "all":
        there[:] = True
        there[lacking] = False
    else:
        there[kept.select("i").distinct().to_pyarrow()["i"].to_numpy()] = True
    return there


def prepare_from(
    interactions: Any,
    items: Any = None,
    images: Path | str | None = None,
    how: Preparation = Preparation(),
    name: str | None = None,
    format: Format = "auto",
    columns: Mapping[str, str] | None = None,
    engine: Engine = DUCKDB,
) -> Dataset:
    """``prepare`` for files and tables: the readers of files are found by name and first lines, columns by their usual names.

    Args:
        interactions: the events: a file, a folder of Parquet files, or a table of pandas, polars, Arrow or Ibis (``FrameEvents``).
        items: the item table, if there is one; a file or such a table.
        images: a folder, a zip, a Parquet file, ``urls`` or ``urls:FOLDER`` (addresses in the item table, fetched into a cache
            or FOLDER); left out, an item table in Parquet that holds the bytes itself is taken.
        how: what to keep.
        name: of the Dataset; the events file's by default, "data" for a table.
        format: of the events, where it should not be guessed.
        columns: names for the roles user, item, time, and item_id, image of the item table.
        engine: what runs it.

    Raises:
        DataProblem: input that cannot be used.
    """
    source = source_of(interactions, items, format, columns)
    name = name or (Path(interactions).name.split(".")[0] if is_path(interactions) else "data")
    return prepare(source, how, name=name, pictures=pictures_of(items if is_path(items) else None, images), engine=engine)


def pictures_of(items: Path | str | None, images: Path | str | None) -> Pictures | None:
    """The pictures that were named, or those that the item table holds itself."""
    where = images if images is not None else items if items is not None and holds_pictures(Path(items)) else None
    return open_pictures(where) if where is not None else None
