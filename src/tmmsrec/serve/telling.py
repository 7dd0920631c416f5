"""From the library's answers to JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tmmsrec.recommender import Answer, Recommendation
from tmmsrec.serve.pictures import Gallery
from tmmsrec.serve.shelf import Held

UNKNOWN = "this user is unknown: the most popular items"
EMPTY = "there is no history to read: the most popular items"
BY_ROWS = "the method knows only the users of its training: the most popular items"


def encoded(value: Any) -> bytes:
    """JSON, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def iso(seconds: int) -> str:
    """A moment as ISO text, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fields(known: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an item that are shown: all but the picture's name, and no number that JSON does not have."""
    return {k: v for k, v in known.items() if k != "image" and not (isinstance(v, float) and not math.isfinite(v))}


def best(asked: Answer, held: Held, gallery: Gallery, *, reasons: bool, known: bool, known_user: bool) -> dict[str, Any]:
    """The answer to a question."""
    return {
        "items": scored(asked.items, held, gallery, reasons=reasons),
        "basis": asked.basis,
        "why": None
        if asked.basis == "model"
        else UNKNOWN
        if not known
        else BY_ROWS
        if held.recommender.method.reads_users
        else EMPTY,
        "bundle": held.name,
        "at": iso(asked.at),
        "read": asked.read,
        "known_user": known_user,
    }


def scored(found: Sequence[Recommendation], held: Held, gallery: Gallery, *, reasons: bool = True) -> list[dict[str, Any]]:
    """Items with their scores."""
    return [
        {
            "item": one.item,
            "score": one.score,
            "rank": one.rank,
            "fields": fields(one.fields),
            "picture": gallery.address(one.item, held.name),
            "shares": one.shares if reasons else {},
        }
        for one in found
    ]


def item(held: Held, row: int, gallery: Gallery, events: int) -> dict[str, Any]:
    """What is known of an item."""
    catalog = held.recommender.catalog
    own = catalog.ids[row]
    has = sorted(name for name, one in catalog.features.items() if one.present[row])
    learned = ["id"] if row <= held.recommender.trained_items else []
    return {
        "item": own,
        "fields": fields(catalog.describe(row)),
        "picture": gallery.address(own, held.name),
        "modalities": [*learned, *has],
        "events": events,
    }
