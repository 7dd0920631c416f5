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


def _file(array: NDArray[Any]) -> mmap.mmap | None:
    """The file's map that an array looks into; None for one in memory, or that may be written."""
    root: Any = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    return root.base if isinstance(root.base, mmap.mmap) and not root.flags.writeable else None


def give_back(array: NDArray[Any]) -> None:
    """Let the system have the memory of what was read of a mapped array; nothing for one in memory."""
    _advise(array, "MADV_DONTNEED")


def by_the_row(array: NDArray[Any]) -> None:
    """Say that rows of a mapped array will be asked for here and there: else each brings 128 kB of its neighbours from disk."""
    _advise(array, "MADV_RANDOM")


def in_turn(array: NDArray[Any]) -> None:
    """Say that rows of a mapped array will be asked for one after the other: the system then reads ahead."""
    _advise(array, "MADV_SEQUENTIAL")


def _advise(array: NDArray[Any], advice: str) -> None:
    """Advice about a mapped array; nothing on systems that do not know it."""
    file = _file(array)
    if file is not None and hasattr(mmap, advice):
        file.madvise(getattr(mmap, advice))


def blocks(array: NDArray[Any], size: int = BLOCK) -> Iterator[tuple[int, NDArray[Any]]]:
    """Where each block begins, and its rows; given back when the next one is asked for."""
    in_turn(array)
    for at in range(0, len(array), size):
        yield at, array[at : at + size]
        give_back(array)
