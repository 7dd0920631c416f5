"""Events that an engine hands over piece by piece become a log, in memory or on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tmmsrec.data.interactions import Interactions


def gather(
    pieces: Iterable[pa.RecordBatch], n: int, users: int, rows: NDArray[np.int32], folder: Path | None = None
) -> tuple[Interactions, NDArray[np.bool_]]:
    """The log of events in the order of users and their times; users without an event are left out.

    Args:
        pieces: columns u (from 0, in order), i (from 0) and t.
        n: how many events there are.
        users: how many users were numbered.
        rows: [items] the item row of each number.
        folder: where the log's two long arrays are written (items.npy, times.npy); in memory by default.

    Returns:
        The log, and which of the users have events, [users].
    """
    items: NDArray[np.int32] = _room(folder, "items", n, np.int32)
    times: NDArray[np.int64] = _room(folder, "times", n, np.int64)
    lengths, at = np.zeros(users, np.int64), 0
    for piece in pieces:
        u, i, t = (piece.column(c).to_numpy(zero_copy_only=False) for c in ("u", "i", "t"))
        here = slice(at, at + len(u))
        items[here], times[here] = rows[i], t
        first = np.flatnonzero(np.diff(u, prepend=-1))
        lengths[u[first]] += np.diff(first, append=len(u))  # a user occurs once among them: u is in order
        at += len(u)
    there = lengths > 0
    offsets = np.concatenate([[0], np.cumsum(lengths[there])]).astype(np.int64)
    return Interactions(offsets, items, times), there


def _room(folder: Path | None, name: str, n: int, kind: type[np.integer[Any]]) -> NDArray[Any]:
    if folder is None or n == 0:
        return np.empty(n, kind)
    return np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=(n,))
