"""MovieLens as GroupLens packs it, files without a header (the csv editions are tables):

    events  1M, 10M   ratings.dat   user::item::rating::seconds
            100K      u.data        user, item, rating and seconds between tabs
    items   1M, 10M   movies.dat    id::title::genre|genre
            100K      u.item        id|title|release|video release|address|19 flags, one a genre

Every rating is an event, whatever it says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import ibis
import pyarrow as pa

from tmmsrec.data.engines import Desk
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Events, Items, files
from tmmsrec.data.sources.text import by_pattern
from tmmsrec.data.times import Y1971, Y2100

NUMBER = r"([0-9]+(?:\.[0-9]*)?)"
COLONS = rf"^([^:]+)::([^:]+)::{NUMBER}::{NUMBER}[ \t\r]*$"
TABS = rf"^([^\t]+)\t([^\t]+)\t{NUMBER}\t{NUMBER}[ \t\r]*$"
# In the order of the flags; "unknown" comes first and is no genre.
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
FIELDS = ("item", "title", "genres")
NO_GENRES = ("unknown", "(no genres listed)")
# Counted from the end, so that a bar in a title is part of the title.
FLAGS = re.compile(r"([^|]+)\|(.*)\|[^|]*\|[^|]*\|[^|]*((?:\|[01]){19})")
_FIRST = re.compile(r"[0-9]+::")


@dataclass(frozen=True)
class MovieLensRatings:
    """`ratings.dat` or `u.data`, told apart by the first line; blank lines are passed over."""

    path: Path

    def events(self, desk: Desk) -> Events:
        """Read user, item and time; raises DataProblem naming the first line that has not four fields."""
        colons = "::" in files.first_lines(self.path)[0]
        form = "user::item::rating::seconds" if colons else "user, item, rating and seconds between tabs"
        needed = (
            f"four fields are needed, {form}, the last two of them numbers; "
            "correct the line or take it out, or say --format table where the first line names the columns"
        )
        table = by_pattern(desk, self.path, COLONS if colons else TABS, {"user": 1, "item": 2, "time": 4}, needed)
        columns = {"user": "field 1", "item": "field 2", "time": "field 4"}
        return Events(table, str(self.path), "line", {"columns": columns, "columns_left_out": ["field 3 (rating)"]})


@dataclass(frozen=True)
class MovieLensFilms:
    """`movies.dat` or `u.item`: text fields title (with its year) and genres (names with a blank between).

    A film without genres has null there, in either form; blank lines are passed over.
    """

    path: Path

    def items(self, desk: Desk) -> Items:
        """Read them; raises DataProblem naming the first line that is no film."""
        text, encoding = decoded(self.path)
        # Not splitlines(): a title may hold marks that it takes for the end of a line.
        lines = [(position, line) for position, line in enumerate(text.split("\n")) if line.strip()]
        films = [_film(line, f"line {position + 1} of {self.path}") for position, line in lines]
        columns = {name: pa.array(column, pa.string()) for name, column in zip(FIELDS, zip(*films, strict=True), strict=True)}
        table = pa.table({**columns, "position": pa.array([position for position, _ in lines], pa.int64())})
        notes = {"columns": {"item": "field 1", "image": None, "text": ["title", "genres"]}, "encoding": encoding}
        return Items(ibis.memtable(table), str(self.path), "line", notes)


def like_ratings(line: str) -> bool:
    """Whether a first line is one of ratings, or at least begins as those with colons do.

    Between tabs only four numbers count, the last of them from 1971 to 2100 in seconds: many tables are split by tabs.
    """
    found = re.search(TABS, line)
    numbers = found is not None and found[1].isdecimal() and found[2].isdecimal() and Y1971 <= float(found[4]) < Y2100
    return numbers or _FIRST.match(line) is not None


def like_films(line: str) -> bool:
    """Whether a first line is a film of `u.item`, or begins as those of `movies.dat` do."""
    return (_FIRST.match(line) or FLAGS.fullmatch(line.rstrip())) is not None


def first_line(path: Path) -> str:
    """The first line, whatever its encoding; raises DataProblem when the packing is broken."""
    return _text(next(files.lines(path), b""))[0].rstrip("\r\n")


def decoded(path: Path) -> tuple[str, str]:
    """All of a text file, and its encoding: UTF-8 where the whole of it is that, ISO-8859-1 otherwise (1M and 100K).

    By Python, not by DuckDB's ``encoding``: not all of its versions have one, and its latin-1 refuses bytes 80 to 9f.
    """
    text, encoding = _text(b"".join(files.lines(files.must_exist(path))))
    if not text.strip():
        raise DataProblem(f"{path} holds no text: only blank lines; give a file with one film a line")
    return text, encoding


def _text(raw: bytes) -> tuple[str, str]:
    try:
        return raw.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "ISO-8859-1"


def _film(line: str, place: str) -> tuple[str, str | None, str | None]:
    """Id, title and genres of a line."""
    if flagged := FLAGS.fullmatch(line.rstrip()):
        item, title, flags = flagged.groups()
        genres = [name for name, flag in zip(GENRES, flags[1:].split("|"), strict=True) if flag == "1"]
    elif line.count("::") == 2 and not line.startswith("::"):
        item, _, rest = line.partition("::")
        title, _, words = rest.rpartition("::")  # the last two colons: a title may end with one more
        genres = words.strip().split("|")
    else:
        raise DataProblem(
            f"{place} is {line[:80]!r}: a film is id::title::genre|genre as in movies.dat, or "
            f"id|title|date|date|address and {len(GENRES)} flags of 0 or 1 as in u.item; correct the line or take it out"
        )
    return item, title.strip() or None, " ".join(g for g in genres if g not in NO_GENRES) or None
