"""Which source a file is, by its name and its first lines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import EventsFile, ItemsFile, Source, files, movielens
from tmmsrec.data.sources.amazon import EVENTS, META, AmazonMeta, AmazonReviews
from tmmsrec.data.sources.frames import FrameEvents, FrameItems
from tmmsrec.data.sources.movielens import MovieLensFilms, MovieLensRatings
from tmmsrec.data.sources.recbole import RecBoleInter, RecBoleItem
from tmmsrec.data.sources.table import OBJECTS, TableEvents, TableItems, column_names
from tmmsrec.data.sources.text import TextLines

Format = Literal["auto", "table", "amazon", "recbole", "movielens", "text"]
EVENT_ROLES = {"user", "item", "time"}
# Endings that say nothing of how a file is written, and those of MovieLens' own splits (`u1.base`, `ra.train`).
PLAIN, SPLITS = (".txt", ".dat", ".data", ""), (".base", ".test", ".train")


def is_path(given: Any) -> bool:
    """Whether a file or folder is named; otherwise it is a table."""
    return isinstance(given, (str, os.PathLike))


def source_of(interactions: Any, items: Any = None, format: Format = "auto", columns: Mapping[str, str] | None = None) -> Source:
    """The source for files, or for tables (see ``frames``) in their place.

    ``format`` is that of a file of interactions; the item table's is always found from the file.

    ``columns`` names the columns of a table: user, item, time, and item_id, image of the item table.

    Raises:
        DataProblem: an unknown format or role, or a file that is not there.
    """
    unknown = sorted(set(columns or {}) - EVENT_ROLES - {"item_id", "image"})
    if unknown:
        raise DataProblem(f"'{unknown[0]}' is no role of a column; known: user, item, time, item_id and image (of the item table)")
    named = columns or {}
    events = (
        events_file(Path(interactions), format, named)
        if is_path(interactions)
        else FrameEvents(interactions, *(named.get(role) for role in ("user", "item", "time")))
    )
    if items is None:
        return Source(events)
    of_file = is_path(items)
    return Source(
        events, items_file(Path(items), named) if of_file else FrameItems(items, named.get("item_id"), named.get("image"))
    )


def events_file(path: Path, format: Format, columns: Mapping[str, str]) -> EventsFile:
    """The reader for a file of events."""
    files.must_exist(path)
    if format == "auto":  # a column named for the events makes them a table; those of the item table say nothing of them
        format = "table" if EVENT_ROLES & set(columns) else _events_format(path)
    if format == "amazon":
        return AmazonReviews(path)
    if format == "recbole":
        return RecBoleInter(path)
    if format == "movielens":
        return MovieLensRatings(path)
    if format == "text":
        return TextLines(path)
    if format == "table":
        return TableEvents(path, columns.get("user"), columns.get("item"), columns.get("time"))
    raise DataProblem(f"unknown format '{format}'; known: {', '.join(get_args(Format))}")


def as_before(before: Mapping[str, str | None], reader: EventsFile | ItemsFile) -> dict[str, str]:
    """Of the columns that another table was read by, role -> name, those that this file has; none where it is no table."""
    names = column_names(reader.path) if isinstance(reader, TableEvents | TableItems) else []
    return {role: name for role, name in before.items() if name in names}


def items_file(path: Path, columns: Mapping[str, str]) -> ItemsFile:
    """The reader for a table of items."""
    kind = files.kind_of(files.must_exist(path))
    chosen = "item_id" in columns or "image" in columns
    if kind in (*PLAIN, ".item") and not chosen and movielens.like_films(movielens.first_line(path)):
        return MovieLensFilms(path)
    if kind == ".item":
        return RecBoleItem(path)
    if kind in OBJECTS and not chosen:
        keys = set(files.first_keys(path))
        if any(set(names[:2]) <= keys for names in META.values()) or {"asin", "imageURLHighRes"} <= keys:
            return AmazonMeta(path)
    return TableItems(path, columns.get("item_id"), columns.get("image"))


def _events_format(path: Path) -> Format:
    kind = files.kind_of(path)
    if kind == ".inter":
        return "recbole"
    if kind in OBJECTS:
        keys = set(files.first_keys(path))
        return "amazon" if any(set(names) <= keys for names in EVENTS.values()) else "table"
    if kind in (*PLAIN, *SPLITS):
        line = files.first_lines(path)[0]
        if movielens.like_ratings(line):
            return "movielens"
        fields = line.split()
        # A header has no number in its third field; a line of events always has.
        return "text" if len(fields) == 3 and fields[2].replace(".", "", 1).isdigit() else "table"
    return "table"
