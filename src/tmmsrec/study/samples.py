"""A few users to look at: what they had, what they were given, what they really took."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tmmsrec.data import pictures, split
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.extract.templates import clean
from tmmsrec.recommender import Recommendation, Recommender

THUMBNAIL = 88  # pixels


@dataclass(frozen=True)
class Part:
    """One modality's share of a score, and the words for it."""

    name: str
    share: float


@dataclass(frozen=True)
class Shown:
    """An item as a page shows it.

    Attributes:
        item: its outside id.
        title: "" where it has none.
        note: a line under the title (a date, a score).
        picture: a data: address, "" where there is no picture.
        parts: shares of the score.
        hit: whether it is what the user really took next.
    """

    item: str
    title: str
    note: str = ""
    picture: str = ""
    parts: tuple[Part, ...] = ()
    hit: bool = False


@dataclass(frozen=True)
class Sample:
    """What one user had and was given.

    Attributes:
        user: outside id.
        at: the moment of the request, for people.
        history: the newest items, oldest first.
        recommended: best first.
        taken: what the user really took next.
        rank: of ``taken`` among all items, from 1.
        earlier: how many older events were read and are not shown.
    """

    user: str
    at: str
    history: tuple[Shown, ...]
    recommended: tuple[Shown, ...]
    taken: Shown
    rank: float
    earlier: int = 0


def samples(
    recommender: Recommender,
    test: split.Part,
    *,
    users: int = 3,
    k: int = 6,
    newest: int = 5,
    seed: int = 0,
    source: pictures.Pictures | None = None,
    exclude_seen: bool = False,
) -> list[Sample]:
    """Users drawn by lot, asked about just before their test target.

    Args:
        recommender: what a run tested, which has neither learned from the targets nor counted them.
        test: who was asked about, and where the histories stopped.
        users: how many.
        k: recommendations each.
        newest: how many events of the history are shown.
        seed: of the lot.
        source: where the pictures are.
        exclude_seen: leave out what a user has met.
    """
    chosen = np.random.default_rng(seed).choice(test.users, min(users, len(test)), replace=False)
    pages = _Pages(recommender.dataset, source)
    return [_sample(recommender, test, int(user), k, newest, pages, exclude_seen) for user in chosen]


def _sample(
    recommender: Recommender, test: split.Part, user: int, k: int, newest: int, pages: _Pages, exclude_seen: bool
) -> Sample:
    dataset, log = recommender.dataset, recommender.dataset.interactions
    start = int(log.offsets[user])
    last = start + int(test.stop[user])
    ids = dataset.catalog.ids
    history = [(ids[int(log.items[e])], int(log.times[e])) for e in range(start, last)]
    taken, at = ids[int(log.items[last])], int(log.times[last])
    # A method with user rows knows the user by its row only; all others are shown the events before the target.
    who: dict[str, Any] = {"user": dataset.users[user]} if recommender.method.reads_users else {"history": history}
    given = recommender.recommend(**who, at=at, k=k, exclude_seen=exclude_seen)
    rank = recommender.explain(**who, items=[taken], at=at)[0].rank
    if exclude_seen:
        had = list(dict.fromkeys(item for item, _ in history))
        rank -= sum(one.rank < rank for one in recommender.explain(**who, items=had, at=at))
    return Sample(
        user=str(dataset.users[user]),
        at=day(at),
        history=tuple(pages.shown(item, day(when)) for item, when in history[-newest:]),
        recommended=tuple(pages.recommended(r, hit=r.item == taken) for r in given),
        taken=pages.shown(taken, day(at)),
        rank=float(rank),
        earlier=max(0, len(history) - newest),
    )


def day(seconds: int) -> str:
    """The day of a moment, UTC."""
    return str(np.datetime64(seconds, "s").astype("datetime64[D]"))


def source_of(dataset: Dataset) -> pictures.Pictures | None:
    """The pictures the Dataset was prepared with, None when there are none or they are no longer there."""
    about = dataset.report.get("pictures")
    if not isinstance(about, dict) or "kind" not in about or not (about["kind"] == "urls" or Path(about["path"]).exists()):
        return None
    try:
        return pictures.reopen(about)
    except DataProblem:
        return None


class _Pages:
    """Items of a dataset as a page shows them."""

    def __init__(self, dataset: Dataset, source: pictures.Pictures | None) -> None:
        self.dataset, self.source = dataset, source

    def shown(self, item: Any, note: str, parts: Sequence[Part] = (), hit: bool = False) -> Shown:
        fields = self.dataset.catalog.describe(self.dataset.catalog.ids.row(item))
        return Shown(str(item), title_of(fields), note, self._picture(fields.get("image")), tuple(parts), hit)

    def recommended(self, given: Recommendation, hit: bool) -> Shown:
        parts = [Part(name, share) for name, share in given.shares.items()]
        return self.shown(given.item, f"score {given.score:.2f}", parts, hit)

    def _picture(self, name: Any) -> str:
        data = self.source.read(str(name)) if self.source is not None and name else None
        return thumbnail(data) if data else ""


def title_of(fields: dict[str, Any]) -> str:
    """The best name among an item's fields: its title, or the first text there is; without marks left by scraping."""
    texts = {k: v for k, v in fields.items() if k != "image" and isinstance(v, str)}
    found = next((texts[k] for k in ("title", "name", "product_name") if k in texts), next(iter(texts.values()), ""))
    return (clean(pa.array([found]))[0].as_py() or "") if {"<", "&"} & {*found} else found


def thumbnail(data: bytes) -> str:
    """A small picture as a data: address; "" for bytes that are no picture."""
    from PIL import Image

    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))  # twice, for sharp screens
            small = opened.convert("RGBA")
        ground = Image.new("RGB", small.size, "white")
        ground.paste(small, mask=small.getchannel("A"))
        ground.save(out, "WEBP", quality=80, method=4)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()
