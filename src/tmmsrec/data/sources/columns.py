"""Which column is what: names that people give to users, items, times and pictures."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from tmmsrec.data.problems import DataProblem

# In order of preference, compared in lower case and without marks: "User-ID" and "user_id" are one name.
USER = ("user_id", "user", "uid", "reviewerID", "customer_id", "visitorid", "session_id", "member_id", "user_name", "username")
ITEM = ("item_id", "item", "iid", "parent_asin", "asin", "article_id", "product_id", "movie_id", "track_id", "book_id", "sku")
TIME = (
    "timestamp",
    "time",
    "unixtime",
    "unixReviewTime",
    "unix_time",
    "datetime",
    "date",
    "event_time",
    "created_at",
    "t_dat",
    "ts",
)
IMAGE = (
    "image",
    "image_url",
    "imageURLHighRes",
    "imageURL",
    "picture",
    "image_path",
    "picture_url",
    "img",
    "img_url",
    "image_name",
)

_VALUE = re.compile(r"-?\d+(?:\.\d+)?|\d{4}-\d{2}-\d{2}.*")


def plain(name: str) -> str:
    """A column name without case and marks."""
    return "".join(c for c in name.lower() if c.isalnum())


def find(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The column among ``names`` that carries one of the ``known`` names, None when there is none."""
    there = {plain(n): n for n in reversed(names)}
    return next((there[plain(k)] for k in known if plain(k) in there), None)


def like_data(names: Sequence[str]) -> bool:
    """Whether names of columns look like a row of values: one of them is a number or a date."""
    return any(_VALUE.fullmatch(name) for name in names)


def choose(names: Sequence[str], wanted: str | None, known: Sequence[str], role: str, where: object, advice: str = "") -> str:
    """The column that plays ``role``: the wanted one, or the one with a known name.

    Raises:
        DataProblem: it is not there; the message lists what is, the nearest name, and ``advice`` where none was wanted.
    """
    if wanted is not None:
        if wanted in names:
            return wanted
        close = difflib.get_close_matches(wanted, names, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else "."
        raise DataProblem(f"{where} has no column '{wanted}' for the {role}{hint} It has: {', '.join(names)}")
    found = find(names, known)
    if found is None:
        raise DataProblem(
            f"{where} has no column for the {role}: it has {', '.join(names) or 'none'}; "
            f"expected one of {', '.join(known[:6])}, ...{advice}"
        )
    return found
