"""The runs of a folder, each read once: while a study runs it is asked again after every job how it stands."""

from __future__ import annotations

from pathlib import Path

from tmmsrec.study.run import Run, read_run

_Mark = tuple[int, int, int]  # what tells a file from the one that stood there before: a run is written whole, into a new file


class Runs:
    """Finished runs by their names; one is read again only where its file has changed.

    Attributes:
        root: the folder they lie in.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._held: dict[str, tuple[_Mark, Run]] = {}

    def read(self, key: str) -> Run:
        """A finished run; raises as ``read_run`` does."""
        about = (self.root / key / "run.json").stat()
        mark = about.st_ino, about.st_size, about.st_mtime_ns
        held = self._held.get(key)
        if held is None or held[0] != mark:
            held = self._held[key] = mark, read_run(self.root / key)
        return held[1]

    def done(self, key: str, *, test: bool) -> Run | None:
        """A run that is finished, and tested where that is asked for; None where it is not."""
        if not (self.root / key / "run.json").exists():
            return None
        run = self.read(key)
        return run if run.tested or not test else None
