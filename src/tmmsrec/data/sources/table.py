"""Tables: csv, tsv, Parquet (one file, or a folder of them) and JSON lines, plain or packed (.gz, .zst)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ibis

from tmmsrec.data.engines import PLACE, Desk
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Events, Items, columns, files
from tmmsrec.data.sources.header import split_header

TEXTS = (".csv", ".tsv", ".txt", ".dat", ".data", "")
OBJECTS = (".json", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class TableEvents:
    """Events in a table; columns are found by their usual names where they are not given.

    Ids are text in text formats and JSON, and keep their own type in Parquet.
    """

    path: Path
    user: str | None = None
    item: str | None = None
    time: str | None = None

    def events(self, desk: Desk) -> Events:
        """Read the three columns; raises DataProblem for a missing one."""
        names = column_names(self.path)
        user = columns.choose(names, self.user, columns.USER, "user", self.path, advice(self.path, names, "--user-column"))
        item = columns.choose(names, self.item, columns.ITEM, "item", self.path, advice(self.path, names, "--item-column"))
        time = columns.choose(names, self.time, columns.TIME, "time", self.path, advice(self.path, names, "--time-column"))
        raw = read(desk, self.path, [user, item, time], ids=(user, item))
        table = raw.select(user=raw[user], item=raw[item], time=raw[time], position=raw[PLACE])
        unit = "line" if files.kind_of(self.path) in OBJECTS else "row"
        return Events(table, str(self.path), unit, {"columns": {"user": user, "item": item, "time": time}})


@dataclass(frozen=True)
class TableItems:
    """Items in a table: an id, any text fields, perhaps a picture's name or address.

    ``text`` chooses text columns; left out, every column but id and picture is one (numbers become text, lists are joined).
    """

    path: Path
    item: str | None = None
    image: str | None = None
    text: tuple[str, ...] | None = None

    def items(self, desk: Desk) -> Items:
        """Read them; raises DataProblem for a missing column or two that would get one name."""
        names = column_names(self.path, desk)
        more = advice(self.path, names, "--item-id-column")
        item = columns.choose(names, self.item, (*columns.ITEM, "id"), "item id", self.path, more)
        image = columns.choose(names, self.image, (), "picture", self.path) if self.image else columns.find(names, columns.IMAGE)
        texts = [columns.choose(names, t, (), "text", self.path) for t in self.text] if self.text is not None else None
        wanted = texts if texts is not None else [n for n in names if n not in (item, image)]
        raw = read(desk, self.path, [item, *wanted, *([image] if image else [])], ids=(item,))
        kept = {free: as_text(raw[n]) for n, free in free_names(wanted).items()}
        left_out = [n for n, e in zip(wanted, kept.values(), strict=True) if e is None]
        fields = {n: e for n, e in kept.items() if e is not None}
        if image:
            fields["image"] = picture_reference(raw[image], raw[item])
        table = raw.select(item=raw[item], position=raw[PLACE], **fields)
        notes = {
            "columns": {"item": item, "image": image, "text": [n for n in fields if n != "image"]},
            "columns_left_out": left_out,
        }
        return Items(table, str(self.path), "line" if files.kind_of(self.path) in OBJECTS else "row", notes)


def column_names(path: Path, desk: Desk | None = None) -> list[str]:
    """Column names of a table file; of JSON lines those of the first thousand, or, where a desk reads them, of all."""
    kind = files.kind_of(files.must_exist(path))
    if kind in files.PARQUETS:
        return list(files.schema(files.shards(path)[0]).names)
    if kind in OBJECTS:
        return files.first_names(path) if desk is None else files.json_keys(desk, path)
    if kind in TEXTS:
        return split_header(path, "\t" if kind == ".tsv" else None)[1]
    raise DataProblem(f"{path}: files ending in '{kind}' are not known; give csv, tsv, jsonl or parquet, plain, .gz or .zst")


def advice(path: Path, names: list[str], option: str) -> str:
    """What to do where no column has a known name: the option that names it, or a first line where there seems to be none."""
    said = f", or say which column it is: {option} NAME"
    if files.kind_of(path) in TEXTS and columns.like_data(names):
        said += "; its first line looks like data: where that is so, put a line with the names of the columns above it"
    return said


def read(desk: Desk, path: Path, names: list[str], ids: Sequence[str]) -> ibis.Table:
    """Some columns of a table file, plus ``PLACE``; those of ``ids`` exactly as they stand there."""
    kind = files.kind_of(path)
    if kind in files.PARQUETS:
        return files.read_parquet(desk, path, list(dict.fromkeys(names)))
    if kind in OBJECTS:
        return files.read_json(desk, path, {n: files.json_id(n) if n in ids else files.json_text(n) for n in names})
    delimiter, there = split_header(path, "\t" if kind == ".tsv" else None)
    return files.read_delimited(desk, path, delimiter, there, names)


def as_text(column: ibis.Column) -> ibis.Column | None:
    """A column as text, trimmed, empty as null, lists joined by commas; None for what has no text (bytes, records)."""
    kind = column.type()
    if kind.is_array():
        column = column.cast("array<string>").join(", ") if not kind.value_type.is_nested() else None
    elif kind.is_nested() or kind.is_binary():
        column = None
    return None if column is None else column.cast("string").strip().nullif("")


def picture_reference(column: ibis.Column, item: ibis.Column) -> ibis.Column:
    """A picture column as text; where it holds the bytes themselves, the item's id stands for them."""
    kind = column.type()
    if kind.is_binary() or (kind.is_struct() and "bytes" in kind.names):
        data = column if kind.is_binary() else column["bytes"]
        return data.notnull().ifelse(item.cast("string"), ibis.null("string"))
    if kind.is_array():
        column = column[0]
    return column.cast("string").strip().nullif("")


def free_names(names: Sequence[str]) -> dict[str, str]:
    """Column -> a field's name that none of the house's own columns has, and no other field."""
    taken = {"item", "position", "image", "id", "row", "listed"}
    found = {name: name for name in names if name.lower() not in taken}
    taken |= {name.lower() for name in found}
    for name in names:
        if name not in found:
            free = name
            while free.lower() in taken:
                free += "_"
            found[name] = free
            taken.add(free.lower())
    return {name: found[name] for name in names}
