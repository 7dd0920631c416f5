"""Whose run it is: one process at a time works on a run's folder, however many were asked for it.

A claim is a file lock of the operating system, so it ends with its process, even one that was killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class Busy(RuntimeError):
    """Another process is working on the same run."""


@contextmanager
def claim(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a folder, which must exist, for as long as the block runs.

    Args:
        folder: of the run.
        wait: until it is free; else raise Busy when it is not.
    """
    lock = FileLock(folder / "claim.lock")
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise Busy(f"another process is working on {folder}") from None
    try:
        yield
    finally:
        lock.release()
