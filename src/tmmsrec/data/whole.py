"""A file that is there as a whole or not at all, and what it takes for that to outlast a power cut."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path, prefix: str | None = None) -> Iterator[Path]:
    """A fresh file beside ``path`` to write to; once it is on disk it takes the name: a reader sees the old one or the new one.

    Its name begins with ``prefix``, or else ".NAME.", by which what a killed process left can be told.  On any error what was
    written is removed, and whatever stood there stays.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}." if prefix is None else prefix, dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        sync(Path(name))
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk; raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
