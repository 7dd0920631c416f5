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
from tmmsrec.serve.shelf import MAIN

_KEPT_BYTES = 32 * 2**20  # of scaled pictures in memory
Place = tuple[Pictures | Journal, str]  # what holds it, and its name there
Key = tuple[str, str, int]  # where it comes from, its name there, the size


@dataclass(frozen=True)
class Shown:
    """A picture as it is sent."""

    data: bytes
    media_type: str
    tag: str


class Gallery:
    """Pictures by bundle and item id, for two bundles may mean different items by one id.  Names are looked up once, bytes when
    asked for.

    Args:
        where: a folder or zip that the person named, in the place of what the main bundle was prepared from; None for just that.
        journal: holds the pictures of added items; None where nothing may be added.
    """

    def __init__(self, where: Path | str | None, journal: Journal | None) -> None:
        self._journal = journal
        self._named = open_pictures(where) if where is not None else None
        self._stands_for: tuple[Any, ...] = ()  # what the main bundle was made from
        self._names: dict[str, dict[Any, Place]] = {}
        self._added: dict[str, Place] = {}
        self._kept: OrderedDict[Key, Shown] = OrderedDict()
        self._size, self._keeping = 0, threading.Lock()

    def __bool__(self) -> bool:
        return any(self._names.values()) or bool(self._added)

    def learn(self, bundle: str, recommender: Recommender) -> None:
        """Look up the names of a bundle's pictures, the main one's first; what is not to be found has none.

        The named pictures are those of another bundle too if it says that it was made from the same as the main one.
        """
        if bundle == MAIN:
            self._stands_for = _made_from(recommender)
        named = self._named if _made_from(recommender) == self._stands_for else None
        pictures = named or _prepared_from(recommender)
        if pictures is None:
            self._names[bundle] = {}
            return
        catalog = recommender.catalog
        ids = list(catalog.ids)
        names = catalog.fields["image"].to_pylist() if "image" in catalog.fields.column_names else [None] * len(ids)
        if named is not None and pictures.kind != "urls":  # resolving addresses would download them
            names = pictures.resolve([str(one) for one in ids], names)
        self._names[bundle] = {one: (pictures, name) for one, name in zip(ids, names, strict=True) if name}
        with self._keeping:  # another bundle's pictures may have the same names
            self._kept.clear()
            self._size = 0

    def add(self, item: Any, name: str) -> None:
        """An added item has a picture in the journal; it is added to all bundles."""
        if self._journal is not None:
            self._added[str(item)] = self._journal, name

    def address(self, item: Any, bundle: str = MAIN) -> str | None:
        """Where the picture of a bundle's item is to be had; None when it has none.  The same picture has one address."""
        place = self._place(item, bundle)
        if place is None:
            return None
        main = self._place(item, MAIN)
        own = main is None or _source(main) != _source(place)
        return address(item) + (f"?bundle={bundle}" if own else "")

    def show(self, item: Any, size: int | None, bundle: str = MAIN) -> Shown | None:
        """The picture of a bundle's item, its longest side ``size`` at most; None when there is none or it cannot be read."""
        place = self._place(item, bundle)
        if place is None:
            return None
        source, name = place
        key = *_source(place), size or 0
        found = self._kept.get(key)
        if found is None:
            data = source.picture(name) if isinstance(source, Journal) else source.read(name)
            found = None if data is None else scaled(data, size)
            if found is not None:
                self._keep(key, found)
        return found

    def _place(self, item: Any, bundle: str) -> Place | None:
        return self._added.get(str(item)) or self._names.get(bundle, {}).get(item)

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


def _source(place: Place) -> tuple[str, str]:
    source, name = place
    return str(source.folder if isinstance(source, Journal) else source.path), name


def _made_from(recommender: Recommender) -> tuple[Any, ...]:
    """Kind and path of the pictures that a bundle says it was made from; how many were found in them does not matter."""
    about = recommender.report.get("pictures") or {}
    return about.get("kind"), about.get("path")


def _prepared_from(recommender: Recommender) -> Pictures | None:
    """The pictures that the bundle's data was prepared from, if they are still there."""
    about: Mapping[str, Any] | None = recommender.report.get("pictures")
    try:
        return reopen(dict(about)) if about else None
    except (DataProblem, KeyError, OSError):
        return None
