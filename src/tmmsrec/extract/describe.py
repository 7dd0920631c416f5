"""Contents -> raw rows, block by block, each distinct content once, helped by the cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from operator import length_hint
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tmmsrec.extract.base import Absent, Content, Work
from tmmsrec.extract.cache import ContentCache, content_key


class Describer(Protocol):
    """Makes raw rows.  ``name`` stands for everything that decides them; equal name and content, equal row."""

    name: str
    width: int
    dtype: str
    block: int
    what: str

    def describe(self, contents: list[Any], threads: int) -> tuple[NDArray[Any], dict[int, str]]:
        """Rows [n, width] of n contents that are there, and position -> reason for those that failed."""
        ...


@dataclass(frozen=True, eq=False)
class Described:
    """Raw rows of n contents.

    Attributes:
        rows: [n, w]; zero where absent.
        present: [n] bool.
        keys: [n] the content keys, b"" where absent.
        reasons: position -> why there is no row.
        reused: rows read from the cache on disk.
    """

    rows: NDArray[Any]
    present: NDArray[np.bool_]
    keys: list[bytes]
    reasons: dict[int, str]
    reused: int


def describe_all(describer: Describer, contents: Iterable[Content], work: Work) -> Described:
    """Describe every content.  Contents are read once and held one block at a time.

    Raises:
        DataProblem: the cache cannot be used.
    """
    cache = work.kept(describer)
    run = _Run(describer, cache, work)
    total, done = length_hint(contents, 0), 0
    stream = iter(contents)
    try:
        while block := list(islice(stream, describer.block)):
            run.take(block)
            done += len(block)
            work.tell(done, max(total, done), describer.what)
    finally:
        if cache is not None:
            cache.flush()
    return run.result()


class _Run:
    def __init__(self, describer: Describer, cache: ContentCache | None, work: Work) -> None:
        self.describer, self.cache, self.work = describer, cache, work
        self.blocks: list[NDArray[Any]] = []
        self.keys: list[bytes] = []
        self.reasons: dict[int, str] = {}
        self.known: dict[bytes, int] = {}
        self.reused = 0

    def take(self, block: list[Content]) -> None:
        start = len(self.keys)
        rows = np.zeros((len(block), self.describer.width), self.describer.dtype)
        self.blocks.append(rows)
        first: dict[bytes, int] = {}
        for i, content in enumerate(block):
            if isinstance(content, (str, bytes)) and content:
                self.keys.append(key := content_key(content))
                if key not in self.known:
                    first.setdefault(key, i)
            else:
                self.keys.append(b"")
                self.reasons[start + i] = content.reason if isinstance(content, Absent) else _empty(content)
        failed = self._fill(rows, block, first)
        self.known.update((k, start + i) for k, i in first.items() if k not in failed)
        for i, key in enumerate(self.keys[start:]):
            if key in self.known and self.known[key] != start + i:
                rows[i] = self._row(self.known[key])
            elif key in failed:
                self.reasons[start + i] = failed[key]
                self.keys[start + i] = b""

    def _fill(self, rows: NDArray[Any], block: list[Content], first: dict[bytes, int]) -> dict[bytes, str]:
        keys = list(first)
        places = np.array([first[k] for k in keys], dtype=np.int64)
        todo = np.arange(len(keys))
        if self.cache is not None:
            hits, found = self.cache.find(keys)
            rows[places[hits]] = found
            todo = np.setdiff1d(todo, hits)
            self.reused += len(hits)
        if not len(todo):
            return {}
        made, bad = self.describer.describe([block[places[t]] for t in todo], self.work.threads)
        good = np.array([t for t in range(len(todo)) if t not in bad], dtype=np.int64)
        rows[places[todo[good]]] = made[good]
        if self.cache is not None and len(good):
            self.cache.add([keys[t] for t in todo[good]], made[good])
        return {keys[todo[t]]: reason for t, reason in bad.items()}

    def _row(self, position: int) -> NDArray[Any]:
        size = self.describer.block
        return np.asarray(self.blocks[position // size][position % size])

    def result(self) -> Described:
        empty = np.zeros((0, self.describer.width), self.describer.dtype)
        rows = np.concatenate(self.blocks) if self.blocks else empty
        present = np.fromiter((k != b"" for k in self.keys), dtype=np.bool_, count=len(self.keys))
        return Described(rows, present, self.keys, self.reasons, self.reused)


def _empty(content: Content) -> str:
    return "the picture file is empty (0 bytes)" if isinstance(content, bytes) else "empty" if content == "" else "none given"
