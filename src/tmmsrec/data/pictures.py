"""Where the items' pictures come from: a folder, a zip (never unpacked), a Parquet column of bytes, or web addresses.

``open_pictures`` looks at what it is given; ``about()`` of the result is plain JSON from which ``reopen`` opens it again, in
another process too.  Reading is safe from several threads.
"""

from __future__ import annotations

import os
import threading
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from tmmsrec.data.download import Downloader
from tmmsrec.data.picture_base import LARGEST, Found, Pictures, climbs_out
from tmmsrec.data.picture_table import ParquetPictures, is_picture_type
from tmmsrec.data.problems import DataProblem

__all__ = [
    "FolderPictures",
    "Found",
    "ParquetPictures",
    "Pictures",
    "WebPictures",
    "ZipPictures",
    "cache_folder",
    "holds_pictures",
    "open_pictures",
    "reopen",
]

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


OUTSIDE = Found(None, "damaged: its name leads out of where the pictures are")


class _Files(Pictures):
    """Pictures that are named files, in a folder or a zip."""

    @abstractmethod
    def _names(self) -> list[str]:
        """Relative names, parts divided by '/'."""

    @cached_property
    def _by_name(self) -> dict[str, str]:
        """Every way to name a file -> the file: its full name, its last part, and that without ending."""
        found: dict[str, str] = {}
        pictures = [n for n in self._names() if n.lower().endswith(ENDINGS)]
        rank = {ending: i for i, ending in enumerate(ENDINGS)}
        # Where several would do: the one least deep, then by ending, then by name; full names are never shadowed.
        pictures.sort(key=lambda n: (n.count("/"), rank[PurePosixPath(n).suffix.lower()], n))
        ways = (str, lambda n: PurePosixPath(n).name, lambda n: PurePosixPath(n).stem)
        for way in ways:
            for name in pictures:
                found.setdefault(way(name), name)
        return found

    def resolve(self, ids: Sequence[str], names: Sequence[str | None]) -> list[str | None]:
        """See ``Pictures.resolve``; a name that climbs out stays as it is, and ``get`` says so."""
        return [self._find(i, n) for i, n in zip(ids, names, strict=True)]

    def _find(self, item: str, name: str | None) -> str | None:
        known = self._by_name
        if name:
            if "://" in name:
                name = unquote(urlsplit(name).path).rsplit("/", 1)[-1]
            elif climbs_out(name):
                return name
            name = name.replace("\\", "/").removeprefix("./")
            found = known.get(name) or known.get(PurePosixPath(name).name) or known.get(PurePosixPath(name).stem)
            if found:
                return found
        return known.get(item)


class FolderPictures(_Files):
    """A folder of picture files, folders inside it included."""

    kind = "folder"

    def _names(self) -> list[str]:
        return [p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file()]

    def get(self, name: str) -> Found:
        """See ``Pictures.get``."""
        if climbs_out(name):
            return OUTSIDE
        try:
            with open(self.path / name, "rb") as file:
                data = file.read(LARGEST + 1)
        except (FileNotFoundError, IsADirectoryError):
            return Found(None, "missing")
        except OSError as problem:
            return Found(None, f"damaged: {problem.strerror}")
        return Found(data) if len(data) <= LARGEST else Found(None, "too large")


class ZipPictures(_Files):
    """A zip of picture files, read where it lies.

    Raises:
        DataProblem: no zip, a damaged one, or one with a member whose name leads out of it.
    """

    kind = "zip"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._mine = threading.local()
        try:
            members = self._zip().infolist()
        except (zipfile.BadZipFile, OSError) as problem:
            raise DataProblem(f"{path} is no complete zip ({problem}); download or copy it again") from None
        climbing = next((m.filename for m in members if climbs_out(m.orig_filename)), None)
        if climbing is not None:
            raise DataProblem(
                f"{path} holds '{climbing}', whose name leads out of the zip; it is refused, pack it again without such names"
            )
        self._members = [m.filename for m in members if not m.is_dir()]

    def _zip(self) -> zipfile.ZipFile:
        # One handle a thread: reads through one handle would wait for each other.
        if not hasattr(self._mine, "zip"):
            self._mine.zip = zipfile.ZipFile(self.path)
        opened: zipfile.ZipFile = self._mine.zip
        return opened

    def _names(self) -> list[str]:
        return self._members

    def get(self, name: str) -> Found:
        """See ``Pictures.get``."""
        if climbs_out(name):
            return OUTSIDE
        try:
            member = self._zip().getinfo(name)
            if member.file_size > LARGEST:
                return Found(None, "too large")
            return Found(self._zip().read(member))
        except KeyError:
            return Found(None, "missing")
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as problem:
            return Found(None, f"damaged: {problem}")


class WebPictures(Pictures):
    """Web addresses: downloaded once into a folder, by ``resolve``, and read from there."""

    kind = "urls"

    def __init__(self, path: Path, downloader: Downloader | None = None) -> None:
        super().__init__(path)
        self.downloader = downloader or Downloader(self.path)

    def resolve(self, ids: Sequence[str], names: Sequence[str | None]) -> list[str | None]:
        """The addresses whose pictures could be had; the rest is None, and ``downloader.status`` says why."""
        addresses = [n if n and n.lower().startswith(("http://", "https://")) else None for n in names]
        got = self.downloader.fetch([a for a in addresses if a])
        return [a if a and got[a].status == "ok" else None for a in addresses]

    def get(self, name: str) -> Found:
        """See ``Pictures.get``; never goes to the network."""
        data = self.downloader.stored(name)
        return Found(data) if data is not None else Found(None, "missing")

    def about(self) -> dict[str, Any]:
        """See ``Pictures.about``; with the number of addresses by status."""
        return {**super().about(), "status": self.downloader.counts()}


def open_pictures(where: Path | str) -> Pictures:
    """Pictures from a folder, a ``.zip``, a ``.parquet``, or ``urls:FOLDER`` (addresses in the item table, kept in FOLDER; ``urls``
    keeps them in the user's cache).

    Raises:
        DataProblem: nothing there, or not readable as what its name says.
    """
    if isinstance(where, str) and (where == "urls" or where.startswith("urls:")):
        return WebPictures(Path(where[5:]) if where[5:] else cache_folder() / "pictures")
    path = Path(where)
    if path.is_dir():
        return FolderPictures(path)
    if not path.exists():
        raise DataProblem(f"there is no folder or file of pictures at {path}; give a folder, a zip, a Parquet file, or urls:FOLDER")
    if path.suffix.lower() in (".parquet", ".pq"):
        return ParquetPictures(path)
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return ZipPictures(path)
    raise DataProblem(f"{path} is neither a folder nor a zip nor a Parquet file; pack the pictures as one of these")


def reopen(about: dict[str, Any]) -> Pictures:
    """Open the pictures that ``Pictures.about`` described (a Dataset's ``report["pictures"]``)."""
    return open_pictures(f"urls:{about['path']}" if about["kind"] == "urls" else about["path"])


def cache_folder() -> Path:
    """Where downloads of this package go: $TMMSREC_CACHE, else the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TMMSREC_CACHE") or Path(base) / "tmmsrec")


def holds_pictures(items: Path) -> bool:
    """Whether an item table is a Parquet file that holds its pictures' bytes."""
    if items.suffix.lower() not in (".parquet", ".pq") or not items.is_file():
        return False
    try:
        return any(is_picture_type(f.type) for f in pq.read_schema(items))
    except (OSError, pa.ArrowException):
        return False  # whoever reads the table says what is wrong with it
