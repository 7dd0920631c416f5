"""An extraction under way: a folder in which any number of processes work, on one machine or on several that see it.

.text-shards/
  plan.json                  what is made; every process must want the same
  present/RANK-ID.lock       held by each process for as long as it is at it
  encoder/                   the fitted encoder, once it is fitted
  ended                      once the features stand; or why they cannot be made
  raw/000012.safetensors     shards before the encoder is fitted, where it is fitted on them
  rows/000012.safetensors    finished shards: rows, present, reasons
  claims/rows-000012.lock    held by the process that makes the shard
.text.lock                   held by the process that plans, fits or assembles

Nothing is sent from one process to another.  A claim is a lock of the operating system: it ends with its process, even one that
was killed, and another process takes the shard over.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from tmmsrec.data.problems import DataProblem
from tmmsrec.data.store import atomic_text
from tmmsrec.extract.base import NothingToLearn
from tmmsrec.extract.plan import Crew, Plan, differences
from tmmsrec.extract.whole import Arrays, save_whole

POLL = 0.1  # seconds between looks at what others have made
PATIENCE = 120.0  # seconds that a finished process waits for those of its crew that have not begun


class BadShard(DataProblem):
    """A shard that cannot be used; the others can."""


class Shards:
    """The folder of one extraction; made by ``joined``."""

    def __init__(self, folder: Path, plan: Plan, token: str, crew: Crew) -> None:
        self.folder, self.plan, self.token, self.crew = folder, plan, token, crew
        self.encoder = folder / "encoder"

    @property
    def under_way(self) -> bool:
        """False once another process has finished and cleared the extraction away."""
        return _plan_in(self.folder).get("token") == self.token

    def ended(self) -> bool:
        """Whether the features stand where they belong.

        Raises:
            DataProblem: another process found that they cannot be made; of the kind that it raised.
        """
        try:
            said = (self.folder / "ended").read_text(encoding="utf-8")
        except FileNotFoundError:
            return not self.under_way
        if said:
            raise _retold(json.loads(said))
        return True

    def there(self, kind: str) -> set[int]:
        """The shards that are made."""
        folder = self.folder / kind
        return {int(p.stem) for p in folder.glob("[0-9]*.safetensors")} if folder.exists() else set()

    def make_all(self, kind: str, make: Callable[[int], tuple[Arrays, dict[str, Any]]]) -> None:
        """Make every shard that is not there, together with all others at it; back when all are there or another has finished."""
        count, crew = self.plan.shards, self.crew
        first = count * crew.rank // max(crew.size, 1)
        while True:
            there = self.there(kind)
            left = [n for at in range(count) if (n := (at + first) % count) not in there]
            if not left or self.ended():
                return
            if not sum([self._make(kind, n, make) for n in left]):
                time.sleep(POLL)

    def _make(self, kind: str, n: int, make: Callable[[int], tuple[Arrays, dict[str, Any]]]) -> bool:
        """Make a shard if nobody else is at it."""
        file = self._file(kind, n)
        with _claim(self.folder / "claims" / f"{kind}-{n:06d}.lock") as mine:
            if not mine or file.exists() or not self.under_way:
                return False
            arrays, about = make(n)
            try:
                save_whole(file, arrays, {"extraction": self.token, "about": json.dumps(about, ensure_ascii=False)})
            except (OSError, SafetensorError) as problem:
                raise cannot_write(self.folder, problem) from None
            return True

    def read(self, kind: str, n: int) -> tuple[Arrays, dict[str, Any]]:
        """A shard's arrays and what was noted beside them.

        Raises:
            BadShard: damaged, or of another extraction.
        """
        file = self._file(kind, n)
        try:
            with safe_open(file, framework="numpy") as opened:
                told = opened.metadata() or {}
                arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as problem:
            raise BadShard(f"the shard {file} is damaged: {problem}; remove it and run again, the others are kept") from None
        if told.get("extraction") != self.token:
            raise BadShard(f"{file} is a shard of another extraction; remove it and run again, the others are kept")
        return arrays, json.loads(told["about"])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time; the others wait."""
        with _alone(self.folder):
            yield

    def end(self, problem: DataProblem | None = None) -> None:
        """Note that the features stand, or why they cannot be made."""
        atomic_text(self.folder / "ended", "" if problem is None else json.dumps(_told(problem), ensure_ascii=False))

    def clear(self) -> None:
        """Remove the folder, once all of the crew have come: one that comes later would begin anew."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and len(list((self.folder / "present").glob("*.lock"))) < self.crew.size:
            time.sleep(POLL)
        (self.folder / "plan.json").unlink(missing_ok=True)  # first: without it nothing else in the folder counts
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, kind: str, n: int) -> Path:
        return self.folder / kind / f"{n:06d}.safetensors"


def _told(problem: DataProblem) -> dict[str, str]:
    """A problem as those are told of it that work at the same features."""
    return {"found": problem.found, "cure": problem.cure} if isinstance(problem, NothingToLearn) else {"said": str(problem)}


def _retold(told: dict[str, str]) -> DataProblem:
    return NothingToLearn(**told) if "found" in told else DataProblem(told["said"])


@contextmanager
def joined(folder: Path, plan: Plan, crew: Crew) -> Iterator[Shards]:
    """Take part in the extraction in ``folder``: go on with it, or begin it, in the place of one that nobody is at.

    Raises:
        DataProblem: the folder cannot be written, or others are at an extraction by other options (each is named).
    """
    present = folder / "present" / f"{crew.rank:05d}-{uuid.uuid4().hex[:8]}.lock"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            token = _entered(folder, plan)
            for name in ("present", "claims", "raw", "rows"):
                (folder / name).mkdir(exist_ok=True)
            mine = FileLock(present)
            mine.acquire()
    except OSError as problem:
        raise cannot_write(folder, problem) from None
    try:
        yield Shards(folder, plan, token, crew)
    finally:
        mine.release()


def _entered(folder: Path, plan: Plan) -> str:
    """The token of the extraction to take part in; called by one process at a time."""
    there, here, finished = _plan_in(folder), plan.written(), (folder / "ended").exists()
    held = [file for file in (folder / "present").glob("*.lock") if _is_held(file)]
    differ = differences(there, here) if there else []
    if held and differ:
        raise DataProblem(
            f"other processes are at {folder} by other options ({'; '.join(differ)}): give all processes the same command, or wait "
            "until those have finished"
        )
    if there and not differ and (held or not finished):
        if not finished:  # those who are gone do not count as having come
            for file in set((folder / "present").glob("*.lock")) - set(held):
                file.unlink(missing_ok=True)
        return str(there["token"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    token = uuid.uuid4().hex[:12]
    atomic_text(folder / "plan.json", json.dumps({**here, "token": token}, indent=2, ensure_ascii=False))
    return token


def _plan_in(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _is_held(file: Path) -> bool:
    with _claim(file) as mine:
        return not mine


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with FileLock(folder.with_name(f"{folder.name.removesuffix('-shards')}.lock")):
        yield


@contextmanager
def _claim(file: Path) -> Iterator[bool]:
    """Whether this process holds the file now."""
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except (Timeout, FileNotFoundError):  # another's, or the folder was cleared away
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def cannot_write(folder: Path, problem: Exception) -> DataProblem:
    """The error for a folder that the disk refuses to write."""
    full = getattr(problem, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(problem)
    what = "make room" if full else "let all processes write there, or copy the Dataset to where they can"
    return DataProblem(f"cannot write {folder}: {problem}; {what}, and run again: shards that are there are kept")
