"""Rows kept by the hash of what they were made from, in a folder that only ever grows.

One file per shard (safetensors: ``keys`` [n, 16] uint8, ``rows`` [n, w]), written beside and renamed into place: a
process killed at any moment leaves whole shards or nothing.  Several processes may write at once.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open

from tmmsrec.data.problems import DataProblem
from tmmsrec.extract.whole import save_whole

SHARD_ROWS = 2_048
SHARD_SECONDS = 20.0
_STALE_SECONDS = 86_400.0
_OPEN_SHARDS = 4
_KEY = 16


def content_key(content: str | bytes) -> bytes:
    """16 bytes that name a text or a picture by its content."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.blake2b(data, digest_size=_KEY).digest()


class ContentCache:
    """The rows one encoder has made so far; 24 bytes in memory for each.

    Args:
        folder: the cache folder, shared by all encoders.
        name: names the encoder and everything that decides its rows; a subfolder.
        width: w, numbers per row.
        dtype: of the rows.
        mark: goes into the names of the shards that are written, and rows so marked are not found: what an extraction by many
            processes reads is then what was there before it began, whichever of them is where.  Found at once without a mark.

    Raises:
        DataProblem: the folder cannot be made.
    """

    def __init__(self, folder: Path, name: str, width: int, dtype: DTypeLike, mark: str = "") -> None:
        self.folder = Path(folder) / name
        self.width, self.dtype, self.mark = width, np.dtype(dtype), mark
        self._shards: list[Path] = []
        self._fresh: dict[bytes, tuple[int, int]] = {}
        self._open: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._keys: list[bytes] = []
        self._rows: list[NDArray[Any]] = []
        self._since = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
        except OSError as problem:
            raise DataProblem(f"cannot use the cache folder {self.folder}: {problem}; choose another or go without") from None
        self._index()

    def __len__(self) -> int:
        return len(self._known) + len(self._fresh)

    def find(self, keys: Sequence[bytes]) -> tuple[list[int], NDArray[Any]]:
        """Positions among ``keys`` that are known, and their rows [known, w]."""
        where = np.array([self._fresh.get(key, (-1, -1)) for key in keys], np.int32).reshape(-1, 2)
        if len(self._known) and len(keys):
            asked = np.array(list(keys), f"S{_KEY}")
            place = np.minimum(np.searchsorted(self._known, asked), len(self._known) - 1)
            old = self._known[place] == asked
            where[old] = self._where[place[old]]
        hits = np.flatnonzero(where[:, 0] >= 0)
        rows = np.empty((len(hits), self.width), self.dtype)
        for shard in np.unique(where[hits, 0]).tolist():
            here = np.flatnonzero(where[hits, 0] == shard)
            rows[here] = self._load(shard)[where[hits[here], 1]]
        return hits.tolist(), rows

    def add(self, keys: Sequence[bytes], rows: NDArray[Any]) -> None:
        """Remember rows; they reach the disk in shards, at the latest with ``flush``."""
        self._keys.extend(keys)
        self._rows.append(np.asarray(rows, self.dtype))
        if len(self._keys) >= SHARD_ROWS or time.monotonic() - self._since > SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is not yet on disk; raises DataProblem when the disk refuses (nothing half-written stays)."""
        if not self._keys:
            return
        keys = np.frombuffer(b"".join(self._keys), np.uint8).reshape(-1, _KEY)
        marked = f"{self.mark}-" if self.mark else ""
        shard = self.folder / f"{len(self):09d}-{marked}{uuid.uuid4().hex[:8]}.safetensors"
        try:
            save_whole(shard, {"keys": keys, "rows": np.concatenate(self._rows)})
        except (OSError, SafetensorError) as problem:
            said = f"cannot write the cache in {self.folder}: {problem}"
            raise DataProblem(f"{said}; make room, choose another folder or go without") from None
        if not self.mark:
            self._fresh.update((k, (len(self._shards), i)) for i, k in enumerate(self._keys))
            self._shards.append(shard)
        self._keys, self._rows, self._since = [], [], time.monotonic()

    def _index(self) -> None:
        """Read the keys of all shards: sorted, and of each the shard and the row in it."""
        keys, where = [np.empty(0, f"S{_KEY}")], [np.empty((0, 2), np.int32)]
        for file in sorted(self.folder.glob("*.safetensors")):
            found = None if self.mark and f"-{self.mark}-" in file.name else self._keys_of(file)
            if found is not None:
                keys.append(found.view(f"S{_KEY}")[:, 0])
                where.append(np.stack([np.full(len(found), len(self._shards)), np.arange(len(found))], axis=1).astype(np.int32))
                self._shards.append(file)
        every = np.concatenate(keys)
        order = np.argsort(every, kind="stable")
        self._known, self._where = every[order], np.concatenate(where)[order]

    def _keys_of(self, shard: Path) -> NDArray[np.uint8] | None:
        # A shard that cannot be read (a disk that lost power) is left out and its rows are made anew.
        try:
            with safe_open(shard, framework="numpy") as opened:
                keys, shape = opened.get_tensor("keys"), opened.get_slice("rows").get_shape()
        except (OSError, SafetensorError):
            return None
        fits = keys.ndim == 2 and keys.shape[1] == _KEY and list(shape) == [len(keys), self.width]
        return np.ascontiguousarray(keys) if fits else None

    def _load(self, shard: int) -> NDArray[Any]:
        if shard not in self._open:
            with safe_open(self._shards[shard], framework="numpy") as opened:
                self._open[shard] = opened.get_tensor("rows")
            while len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(shard)
        return self._open[shard]

    def _sweep(self) -> None:
        for left in self.folder.glob(".shard.*"):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                left.unlink(missing_ok=True)
