"""What was taken: items and events as JSON lines, on disk before anybody is told that they are taken.

FOLDER/journal.jsonl      a head, then a line for every request that brought something new: {"check": CRC-32 of the entry's text,
                          "entry": {...}}
FOLDER/journal.jsonl.new  a shorter journal that says the same, while it is written
FOLDER/pictures/HASH      pictures of added items, by the hash of their bytes
FOLDER/lock               held by the process that writes
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tmmsrec.data.problems import DataProblem, NewerFormat
from tmmsrec.data.store import atomic_bytes
from tmmsrec.data.whole import sync

FORMAT = 1
_HEAD = {"format": FORMAT, "kind": "tmmsrec journal"}
log = logging.getLogger("tmmsrec.serve")


class Unsure(OSError):
    """The disk failed in such a way that what was written may be there, or a part of it: only opening it anew says."""


class Journal:
    """The journal of one service; open in one process at a time.

    Args:
        folder: made if it is not there.

    Raises:
        DataProblem: another process has it, it cannot be written, or it is damaged elsewhere than at its very end.
        NewerFormat: written by a later version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path, self._fresh = folder / "journal.jsonl", folder / "journal.jsonl.new"
        try:
            (folder / "pictures").mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / "lock", timeout=0, thread_local=False)
            self._lock.acquire()
        except Timeout:
            raise DataProblem(f"{folder} is in use by another process; stop it, or give this one its own folder (--data)") from None
        except OSError as problem:
            raise DataProblem(f"{folder} cannot be written ({problem.strerror}); name another folder with --data") from None
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> None:
        self._fresh.unlink(missing_ok=True)  # of a process that was killed while it wrote
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.size = self._sound()
        if os.fstat(self._file).st_size > self.size:
            log.warning("%s ended in the middle of a line that nobody was told of: it is cut off", self._path)
            os.ftruncate(self._file, self.size)
        if not self.size:
            self.append(_HEAD)
        self.sync()
        sync(self.folder)

    def _sound(self) -> int:
        """How many bytes from the start are whole lines that are what was written."""
        size, bad = 0, 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                entry = _entry(line)
                if entry is None:
                    bad = bad or number
                    continue
                if bad:
                    raise DataProblem(
                        f"{self._path} is damaged at line {bad}, and whole lines come after it; "
                        "take it from a backup, or remove that line to go on without it"
                    )
                if number == 1:
                    _check_head(entry, self._path)
                size += len(line)
        return size

    def append(self, *entries: Mapping[str, Any]) -> None:
        """Write entries; they are on disk after ``sync``.

        Raises:
            Unsure: some of them may be there; nothing may be appended any more.
            OSError: nothing of them is there.
        """
        lines = b"".join(map(_line, entries))
        try:
            _write(self._file, lines)
        except OSError as problem:
            try:
                os.ftruncate(self._file, self.size)
            except OSError:
                raise Unsure(problem.errno, problem.strerror) from problem
            raise
        self.size += len(lines)

    def rewrite(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Put other entries in the place of all that there are.  Whenever it is cut short, the old journal is there or the new one.

        Raises:
            OSError: there is no room, say; the old journal stays.
            DataProblem: the disk failed when the one took the place of the other: nothing may be appended to either.
        """
        file, size = os.open(self._fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), 0
        try:
            os.fchmod(file, stat.S_IMODE(os.fstat(self._file).st_mode))
            for line in map(_line, chain([_HEAD], entries)):
                _write(file, line)
                size += len(line)
            os.fsync(file)
        except OSError:
            os.close(file)
            self._fresh.unlink(missing_ok=True)
            raise
        try:
            os.replace(self._fresh, self._path)
            sync(self.folder)  # before anything is appended: what is appended to a name that a power cut takes back is lost
        except OSError as problem:
            os.close(file)
            raise DataProblem(f"{self._path} cannot be put in place ({problem.strerror}): see to the disk, start again") from None
        os.close(self._file)
        self._file, self.size = file, size

    def sync(self) -> None:
        """Wait until all that was appended is on disk; raises OSError."""
        os.fsync(self._file)

    def read(self, start: int = 0, end: int | None = None) -> Iterator[dict[str, Any]]:
        """Entries from one position (a former ``size``) to another; the end by default."""
        end = self.size if end is None else end
        with self._path.open("rb") as file:
            file.seek(start)
            while file.tell() < end:
                line = file.readline()
                if not line:  # it was rewritten meanwhile, and is shorter
                    return
                entry = _entry(line)
                if entry is not None and "kind" not in entry:
                    yield entry

    def keep_picture(self, data: bytes) -> str:
        """Put a picture on disk and return its name; raises OSError."""
        name = hashlib.blake2b(data, digest_size=16).hexdigest()
        path = self.folder / "pictures" / name
        if not path.exists():
            atomic_bytes(path, data)
            sync(path.parent)
        return name

    def picture(self, name: str) -> bytes | None:
        """A kept picture; None when it is gone."""
        try:
            return (self.folder / "pictures" / name).read_bytes()
        except OSError:
            return None

    def forget_pictures(self, but: Container[str]) -> None:
        """Remove all kept pictures but the named ones; raises OSError."""
        for path in (self.folder / "pictures").iterdir():
            if path.name not in but:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._file)
        self._lock.release()


def _line(entry: Mapping[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":"), default=str)
    return f'{{"check":"{zlib.crc32(text.encode()):08x}","entry":{text}}}\n'.encode()


def _write(file: int, data: bytes) -> None:
    """All of it; raises OSError, and then a part of it may be there."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a line, None for a line that is not what was written."""
    try:
        head, text = line[:28], line[28:-2]
        if line[-2:] != b"}\n" or head != b'{"check":"%08x","entry":' % zlib.crc32(text):
            return None
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _check_head(entry: Mapping[str, Any], path: Path) -> None:
    if entry.get("kind") != _HEAD["kind"]:
        raise DataProblem(f"{path} is no journal of tmmsrec; name another folder with --data")
    if entry.get("format", 0) > FORMAT:
        raise NewerFormat(
            f"{path} was written in journal format {entry['format']}; this version reads up to {FORMAT}: upgrade tmmsrec"
        )
