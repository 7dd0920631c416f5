"""Arrays that may be maps of files larger than memory: read a block at a time, and given back behind the reader.

What a process has read of a mapped file counts as its memory until the system takes it away.  Here it is given back at once, so
that the process stays as small as what it works on.  The system keeps the file's pages while it has room: a second look is cheap.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 16  # rows that are looked at together


def mapped(array: NDArray[Any]) -> bool:
    """Whether an array looks into a file that is mapped to be read."""
    return _file(array) is not None


def _file(array: NDArray[Any]) -> tuple[mmap.mmap, int] | None:
    """The file's map that an array looks into, and where in it the array begins; None for one in memory, or that may be written."""
    root: Any = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    if root.flags.writeable or not isinstance(root.base, mmap.mmap):
        return None
    within = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return root.base, len(root.base) - root.nbytes + within


def give_back(array: NDArray[Any]) -> None:
    """Let the system have the memory of what was read of a mapped array; nothing for one in memory."""
    _advise(array, "MADV_DONTNEED")


def by_the_row(array: NDArray[Any]) -> None:
    """Say that rows of a mapped array will be asked for here and there: else each brings 128 kB of its neighbours from disk."""
    _advise(array, "MADV_RANDOM")


def read_ahead(array: NDArray[Any], start: int, stop: int) -> None:
    """Have the system read rows start..stop-1 of a mapped array, which are about to be asked for."""
    _advise(array, "MADV_WILLNEED", start, stop)


def _advise(array: NDArray[Any], advice: str, start: int | None = None, stop: int = 0) -> None:
    """Advice about a mapped array, or of its rows start..stop-1; systems that do not know it are not told."""
    found = _file(array) if array.ndim and hasattr(mmap, advice) else None
    if found is None:
        return
    file, head = found
    if start is None:
        file.madvise(getattr(mmap, advice))
        return
    first = (head + start * array.strides[0]) // mmap.PAGESIZE * mmap.PAGESIZE
    file.madvise(getattr(mmap, advice), first, min(len(file), head + stop * array.strides[0]) - first)


def blocks(array: NDArray[Any], size: int = BLOCK) -> Iterator[tuple[int, NDArray[Any]]]:
    """Where each block begins, and its rows; given back when the next one is asked for."""
    for at in range(0, len(array), size):
        read_ahead(array, at, min(at + size, len(array)))
        yield at, array[at : at + size]
        give_back(array)
