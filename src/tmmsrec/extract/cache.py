"""Rows kept by the hash of what they were made from, in a folder that only ever grows.

One file per shard (safetensors: ``keys`` [n, 16] uint8, ``rows`` [n, w]), written beside and renamed into place: a
process killed at any moment leaves whole shards or nothing.  Several processes may write at once.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tmmsrec.data.problems import DataProblem

SHARD_ROWS = 2_048
SHARD_SECONDS = 20.0
_STALE_SECONDS = 86_400.0
_OPEN_SHARDS = 4


def content_key(content: str | bytes) -> bytes:
    """16 bytes that name a text or a picture by its content."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.blake2b(data, digest_size=16).digest()


class ContentCache:
    """The rows one encoder has made so far.

    Args:
        folder: the cache folder, shared by all encoders.
        name: names the encoder and everything that decides its rows; a subfolder.
        width: w, numbers per row.
        dtype: of the rows.

    Raises:
        DataProblem: the folder cannot be made.
    """

    def __init__(self, folder: Path, name: str, width: int, dtype: DTypeLike) -> None:
        self.folder = Path(folder) / name
        self.width, self.dtype = width, np.dtype(dtype)
        self._where: dict[bytes, tuple[Path, int]] = {}
        self._open: OrderedDict[Path, NDArray[Any]] = OrderedDict()
        self._keys: list[bytes] = []
        self._rows: list[NDArray[Any]] = []
        self._since = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
        except OSError as problem:
            raise DataProblem(f"cannot use the cache folder {self.folder}: {problem}; choose another or go without") from None
        for shard in sorted(self.folder.glob("*.safetensors")):
            self._index(shard)

    def __len__(self) -> int:
        return len(self._where)

    def find(self, keys: Sequence[bytes]) -> tuple[list[int], NDArray[Any]]:
        """Positions among ``keys`` that are known, and their rows [known, w]."""
        hits = [(i, self._where[k]) for i, k in enumerate(keys) if k in self._where]
        rows = np.empty((len(hits), self.width), self.dtype)
        by_shard: dict[Path, list[int]] = {}
        for n, (_, (shard, _row)) in enumerate(hits):
            by_shard.setdefault(shard, []).append(n)
        for shard, places in by_shard.items():
            rows[places] = self._load(shard)[[hits[n][1][1] for n in places]]
        return [i for i, _ in hits], rows

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
        keys = np.frombuffer(b"".join(self._keys), np.uint8).reshape(-1, 16)
        rows = np.ascontiguousarray(np.concatenate(self._rows))
        handle, name = tempfile.mkstemp(prefix=".shard.", dir=self.folder)
        os.close(handle)
        try:
            save_file({"keys": keys.copy(), "rows": rows}, name)
            with open(name, "rb") as written:
                os.fsync(written.fileno())
            os.chmod(name, 0o644)
            shard = self.folder / f"{len(self._where):09d}-{Path(name).name.removeprefix('.shard.')}.safetensors"
            os.replace(name, shard)
        except (OSError, SafetensorError) as problem:
            Path(name).unlink(missing_ok=True)
            said = f"cannot write the cache in {self.folder}: {problem}"
            raise DataProblem(f"{said}; make room, choose another folder or go without") from None
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._where.update((k, (shard, i)) for i, k in enumerate(self._keys))
        self._keys, self._rows, self._since = [], [], time.monotonic()

    def _index(self, shard: Path) -> None:
        # A shard that cannot be read (a disk that lost power) is left out and its rows are made anew.
        try:
            with safe_open(shard, framework="numpy") as opened:
                keys, shape = opened.get_tensor("keys"), opened.get_slice("rows").get_shape()
        except (OSError, SafetensorError):
            return
        if keys.ndim != 2 or keys.shape[1] != 16 or list(shape) != [len(keys), self.width]:
            return
        self._where.update((k.tobytes(), (shard, i)) for i, k in enumerate(keys))

    def _load(self, shard: Path) -> NDArray[Any]:
        if shard not in self._open:
            with safe_open(shard, framework="numpy") as opened:
                self._open[shard] = opened.get_tensor("rows")
            while len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(shard)
        return self._open[shard]

    def _sweep(self) -> None:
        for left in self.folder.glob(".shard.*"):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                left.unlink(missing_ok=True)
