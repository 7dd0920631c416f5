"""RecBole atomic files: tab separated, `name:type` in the header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ibis

from tmmsrec.data.engines import PLACE, Desk
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Events, Items, columns, files
from tmmsrec.data.sources.header import split_header
from tmmsrec.data.sources.table import free_names

TYPES = ("token", "token_seq", "float", "float_seq")


@dataclass(frozen=True)
class RecBoleInter:
    """A `.inter` file."""

    path: Path

    def events(self, desk: Desk) -> Events:
        """Read user_id, item_id and timestamp; raises DataProblem for a missing one."""
        raw, types = _read(desk, self.path)
        cut = next((name for name, kind in types.items() if kind == "token_seq"), None)
        if cut is not None and columns.find(list(types), columns.TIME) is None:
            raise DataProblem(
                f"{self.path} holds histories that were cut beforehand ('{cut}:token_seq') and no times; "
                "give the .inter file of single events, with user_id, item_id and timestamp"
            )
        names = list(types)
        user = columns.choose(names, None, columns.USER, "user", self.path)
        item = columns.choose(names, None, columns.ITEM, "item", self.path)
        time = columns.choose(names, None, columns.TIME, "time", self.path)
        table = raw.select(user=raw[user], item=raw[item], time=raw[time], position=raw[PLACE])
        return Events(table, str(self.path), "row", {"columns": {"user": user, "item": item, "time": time}})


@dataclass(frozen=True)
class RecBoleItem:
    """A `.item` file: item_id, and every other column but rows of numbers is a text field."""

    path: Path

    def items(self, desk: Desk) -> Items:
        """Read them; raises DataProblem without an id column."""
        raw, types = _read(desk, self.path)
        names = list(types)
        item = columns.choose(names, None, (*columns.ITEM, "id"), "item id", self.path)
        image = columns.find(names, columns.IMAGE)
        texts = [n for n in names if n not in (item, image) and types[n] != "float_seq"]
        fields = {free: raw[n].strip().nullif("") for n, free in free_names(texts).items()}
        if image:
            fields["image"] = raw[image].strip().nullif("")
        notes = {"columns": {"item": item, "image": image, "text": list(fields)}}
        return Items(raw.select(item=raw[item], position=raw[PLACE], **fields), str(self.path), "row", notes)


def _read(desk: Desk, path: Path) -> tuple[ibis.Table, dict[str, str]]:
    _, header = split_header(path, "\t")
    pairs = [h.rsplit(":", 1) for h in header]
    wrong = next((h for h, p in zip(header, pairs, strict=True) if len(p) != 2 or p[1] not in TYPES), None)
    if wrong is not None:
        raise DataProblem(f"{path}: header field '{wrong}' is no RecBole 'name:type' with a type of {', '.join(TYPES)}")
    names = [p[0] for p in pairs]
    # RecBole writes no quotes: a title may begin with one.
    return files.read_delimited(desk, path, "\t", names, names, quote=""), {p[0]: p[1] for p in pairs}
