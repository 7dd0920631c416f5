"""Stages whose results lie in one folder: each is done again only when its inputs have changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tmmsrec import values
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.store import atomic_text, make_folder
from tmmsrec.loop import Watch
from tmmsrec.study.blocks import Table

_FILE = "path.json"


class Stages:
    """What was done in a folder, and from which inputs: stage -> key and facts, in path.json."""

    def __init__(self, folder: Path) -> None:
        """Take a folder; raises DataProblem when it holds something else."""
        self.folder = Path(folder)
        self._file = self.folder / _FILE
        make_folder(self.folder)
        if not self._file.exists() and any(self.folder.iterdir()):
            raise DataProblem(f"{folder} holds something else; choose an empty or new folder for the results")
        try:
            self._done: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            self._done = {}  # new or lost: everything is done again, which is slower and never wrong
            self._write()

    def stands(self, stage: str, key: str) -> bool:
        """Whether the stage was done from these inputs."""
        return bool(self.facts(stage).get("key") == key)

    def facts(self, stage: str) -> dict[str, Any]:
        """What was noted when it was done."""
        found: dict[str, Any] = self._done.get(stage, {})
        return found

    def begin(self, stage: str) -> None:
        """Forget the stage before its result is replaced."""
        if self._done.pop(stage, None) is not None:
            self._write()

    def done(self, stage: str, key: str, **facts: Any) -> None:
        """Note that its result is there."""
        self._done[stage] = {"key": key, **facts}
        self._write()

    def _write(self) -> None:
        atomic_text(self._file, json.dumps(self._done, indent=2, ensure_ascii=False))


def identity(path: Path | str | None) -> Any:
    """What tells one state of a file or folder from another: path, size and time of change, for a folder of all its files."""
    if path is None or (isinstance(path, str) and path.startswith("urls")):
        return path
    path = Path(path).resolve()
    if path.is_dir():
        files = sorted((str(p.relative_to(path)), *_stamp(p)) for p in path.rglob("*") if p.is_file())
        return [str(path), len(files), values.key(files)]
    return [str(path), *(_stamp(path) if path.exists() else ())]


def _stamp(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def key_of(*parts: Any) -> str:
    """The key of a stage from whatever decides its result."""
    return values.key(*[dict(p) if isinstance(p, Mapping) else p for p in parts])


class Listener(Protocol):
    """Told how the path goes."""

    def stage(self, text: str) -> None:
        """A stage begins, or was found done."""

    def note(self, text: str) -> None:
        """Something a person should know."""

    def counting(self, done: int, total: int, what: str) -> None:
        """A stage has done so many of so many."""

    def standing(self, table: Table) -> None:
        """How a study stands, after each of its runs."""

    def training(self, name: str) -> Watch | None:
        """What watches the training of a method."""


class Silent(Listener):
    """Says nothing."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def counting(self, done: int, total: int, what: str) -> None:
        """Nothing."""

    def standing(self, table: Table) -> None:
        """Nothing."""

    def training(self, name: str) -> Watch | None:
        """Nothing."""
        return None
