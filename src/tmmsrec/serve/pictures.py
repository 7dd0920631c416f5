"""The items' pictures: those that the bundles name, and those that came with added items; scaled down when asked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from tmmsrec.data.pictures import Pictures, open_pictures, reopen
from tmmsrec.data.problems import DataProblem
from tmmsrec.extract.base import Absent
from tmmsrec.extract.decode import decode
from tmmsrec.recommender import Recommender
from tmmsrec.serve.errors import Refused
from tmmsrec.serve.journal import Journal

_KEPT_BYTES = 32 * 2**20  # of scaled pictures in memory
Key = tuple[str, str, int]  # where it comes from, its name there, the size


@dataclass(frozen=True)
class Shown:
    """A picture as it is sent."""

    data: bytes
    media_type: str
    tag: str


class Gallery:
    """Pictures by item id.  Names are looked up once, bytes when asked for.

    Args:
        where: a folder or zip that the person named; what the bundle was prepared from if None.
        journal: holds the pictures of added items; None where nothing may be added.
    """

    def __init__(self, where: Path | str | None, journal: Journal | None) -> None:
        self._journal = journal
        self._pictures = open_pictures(where) if where is not None else None
        self._names: dict[Any, tuple[Pictures, str]] = {}
        self._added: dict[Any, tuple[Journal, str]] = {}
        self._kept: OrderedDict[Key, Shown] = OrderedDict()
        self._size, self._keeping = 0, threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._names or self._added)

    def learn(self, recommender: Recommender) -> None:
        """Look up the names of a bundle's pictures; what is not to be found has none."""
        pictures = self._pictures or _prepared_from(recommender)
        if pictures is None:
            return
        catalog = recommender.catalog
        ids = list(catalog.ids)
        names = catalog.fields["image"].to_pylist() if "image" in catalog.fields.column_names else [None] * len(ids)
        if self._pictures is not None and pictures.kind != "urls":  # resolving addresses would download them
            names = pictures.resolve([str(one) for one in ids], names)
        self._names = {**self._names, **{one: (pictures, name) for one, name in zip(ids, names, strict=True) if name}}
        with self._keeping:  # another bundle's pictures may have the same names
            self._kept.clear()
            self._size = 0

    def add(self, item: Any, name: str) -> None:
        """An added item has a picture in the journal."""
        if self._journal is not None:
            self._added[item] = self._journal, name

    def address(self, item: Any) -> str | None:
        """Where an item's picture is to be had; None when it has none."""
        if item not in self._added and item not in self._names:
            return None
        return address(item)

    def show(self, item: Any, size: int | None) -> Shown | None:
        """An item's picture, its longest side ``size`` pixels at most; None when there is none or it cannot be read."""
        place = self._added.get(item) or self._names.get(item)
        if place is None:
            return None
        source, name = place
        key = str(source.folder if isinstance(source, Journal) else source.path), name, size or 0
        found = self._kept.get(key)
        if found is None:
            data = source.picture(name) if isinstance(source, Journal) else source.read(name)
            found = None if data is None else scaled(data, size)
            if found is not None:
                self._keep(key, found)
        return found

    def _keep(self, key: Key, shown: Shown) -> None:
        with self._keeping:
            if key in self._kept:  # two asked at once
                return
            self._kept[key] = shown
            self._size += len(shown.data)
            while self._size > _KEPT_BYTES:
                self._size -= len(self._kept.popitem(last=False)[1].data)


def address(item: Any) -> str:
    """The path of an item's picture."""
    return f"/v1/items/{quote(str(item), safe='')}/picture"


def scaled(data: bytes, size: int | None) -> Shown | None:
    """A picture as JPEG or PNG, its longest side ``size`` at most; None when it is no picture."""
    image = decode(data, size or 10_000)
    if isinstance(image, Absent):
        return None
    kind = next((name for name, start in (("png", b"\x89PNG"), ("jpeg", b"\xff\xd8\xff")) if data.startswith(start)), None)
    if size is not None and max(image.size) > size:
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        kind = None
    if kind is None:
        buffer, kind = io.BytesIO(), "jpeg"
        image.save(buffer, "JPEG", quality=85)
        data = buffer.getvalue()
    return Shown(data, f"image/{kind}", f'"{hashlib.blake2b(data, digest_size=12).hexdigest()}"')


def from_text(text: str, where: str) -> bytes:
    """The bytes of a picture given as base64 (a data: address will do).

    Raises:
        Refused: it is no base64.
    """
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(422, "must be the picture's file as base64 text", where) from None


def _prepared_from(recommender: Recommender) -> Pictures | None:
    """The pictures that the bundle's data was prepared from, if they are still there."""
    about: Mapping[str, Any] | None = recommender.report.get("pictures")
    try:
        return reopen(dict(about)) if about else None
    except (DataProblem, KeyError, OSError):
        return None
