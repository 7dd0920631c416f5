"""One folder takes the place of another: at once where the system can, else so that it can be put right after a kill."""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_WAS = "was"


def swap(fresh: Path, target: Path) -> Path | None:
    """Put ``fresh`` in the place of ``target``; if that fails, ``target`` is as it was.

    Returns:
        The folder in which what stood there lies now, to be removed; None if nothing stood there.
    """
    if not target.exists():
        os.replace(fresh, target)
        return None
    return fresh if exchange(fresh, target) else _by_two_renames(fresh, target)


def remove(old: Path) -> None:
    """Remove a folder, or the link that stood for one, as far as that can be done."""
    with suppress(OSError):
        old.unlink() if old.is_symlink() else shutil.rmtree(old, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Let two folders change places at once; False, and nothing done, where the system or the file system does not."""
    call = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return call is not None and call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def _by_two_renames(fresh: Path, target: Path) -> Path:
    """Between the two nothing stands at ``target``: whoever looks for it then waits, or puts the old one back, see ``put_back``."""
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    try:
        with FileLock(aside / "lock"):
            os.replace(target, aside / _WAS)
            try:
                os.replace(fresh, target)
            except BaseException:
                os.replace(aside / _WAS, target)
                raise
    except BaseException:
        if not (aside / _WAS).exists():
            shutil.rmtree(aside, ignore_errors=True)
        raise
    return aside


def put_back(parent: Path, name: str | None = None) -> None:
    """Put back the folders of that name (of any if none is given) whose replacement was killed between two renames.

    A replacement that is under way is waited for: its lock ends with its process.
    """
    for aside in sorted(parent.glob(f".{'*' if name is None else glob.escape(name)}.old.*")):
        target = parent / aside.name[1:].rpartition(".old.")[0]
        if target.exists() or not (aside / _WAS).exists():
            continue
        with suppress(OSError):  # on a disk that is only read, say: there the caller tells that nothing stands at the target
            with FileLock(aside / "lock"):
                if not target.exists():
                    os.replace(aside / _WAS, target)
            shutil.rmtree(aside, ignore_errors=True)
