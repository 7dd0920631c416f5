"""The desk at which a contender sits: what it is given, how its time is taken, what it hands back.

Runs in every contender's environment, so it asks for nothing but numpy and torch.

    given       setting.json, sizes.json, train.csv, valid.csv (user, item, timestamp; items 1..I, by user and time)
    handed back valid-0.npy, valid-1.npy, ... and test-0.npy, ... ([asked users, 10] items, best first, 0 for none), told.json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.neighbours.setting import Setting

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Events:
    """Rows of a log, three columns [N]: user rows from 0, item rows from 1, seconds; by user and time."""

    users: Ints
    items: Ints
    times: Ints

    @classmethod
    def read(cls, file: Path) -> Events:
        """From a CSV file with a header."""
        return cls(*np.loadtxt(file, delimiter=",", dtype=np.int64, skiprows=1, ndmin=2).reshape(-1, 3).T)

    def write(self, file: Path) -> None:
        """As a CSV file with a header."""
        table = np.stack([self.users, self.items, self.times], axis=1)
        np.savetxt(file, table, fmt="%d", delimiter=",", header="user,item,timestamp", comments="")

    def and_then(self, more: Events) -> Events:
        """Both, by user; later events after earlier ones."""
        both = [np.concatenate(pair) for pair in ((self.users, more.users), (self.items, more.items), (self.times, more.times))]
        order = np.argsort(both[0], kind="stable")
        return Events(*(column[order] for column in both))

    def histories(self, of: Ints) -> list[Ints]:
        """The items of each of these users, oldest first."""
        begins, ends = np.searchsorted(self.users, of, "left"), np.searchsorted(self.users, of, "right")
        return [self.items[a:b] for a, b in zip(begins, ends, strict=True)]


@dataclass
class Clock:
    """Wall and processor seconds of each epoch, from before its first batch is made to after its last step."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    _begun: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """An epoch begins."""
        self._begun = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        """It ends."""
        self.wall.append(time.perf_counter() - self._begun[0])
        self.processor.append(time.process_time() - self._begun[1])


class Desk:
    """What a contender is given (see the top of the file) and the clock that it starts and stops."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.setting = Setting.read(folder / "setting.json")
        self.train, self.valid = Events.read(folder / "train.csv"), Events.read(folder / "valid.csv")
        sizes = json.loads((folder / "sizes.json").read_text(encoding="utf-8"))
        self.n_users, self.n_items = int(sizes["users"]), int(sizes["items"])
        self.clock = Clock()
        self._epochs = 0
        self._told: dict[str, Any] = {}

    @property
    def asked(self) -> Ints:
        """The users that are asked about: they have a validation event, and a test event that nobody here sees."""
        return self.valid.users

    @property
    def grown(self) -> Events:
        """Training and validation events: what may be read when the test items are asked for."""
        return self.train.and_then(self.valid)

    def ranked(self, valid: Ints, test: Ints) -> None:
        """Hand over the best items [asked, 10] after an epoch, from the training events and from ``grown``."""
        for name, best in (("valid", valid), ("test", test)):
            np.save(self.folder / f"{name}-{self._epochs}.npy", np.asarray(best, dtype=np.int64), allow_pickle=False)
        self._epochs += 1

    def timed(self, rank: Callable[[], object], times: int = 3) -> None:
        """Take the time of ranking every test user: the least of a few, the others are other work on the machine."""
        taken = []
        for _ in range(times):
            begun = time.perf_counter()
            rank()
            taken.append(time.perf_counter() - begun)
        self._told["ranking_seconds"] = min(taken)

    def close(self, versions: dict[str, str], parameters: int, events: int | None = None) -> None:
        """The end: what was measured, as JSON.  ``events`` are an epoch's targets, where they are not the newest of each user."""
        self._told |= {"wall": self.clock.wall, "processor": self.clock.processor, "peak_mb": _peak_memory()}
        self._told |= {"versions": versions, "parameters": parameters, "events": events}
        (self.folder / "told.json").write_text(json.dumps(self._told, indent=1), encoding="utf-8")


def sit(run: Callable[[Desk], None]) -> None:
    """The main of a contender: its folder is the only argument."""
    import torch

    desk = Desk(Path(sys.argv[1]))
    torch.set_num_threads(desk.setting.threads)
    torch.manual_seed(desk.setting.seed)
    run(desk)


def lightning_clock(callback: type, clock: Clock, after: Callable[[], None]) -> Any:
    """A Lightning callback (of whichever Lightning ``callback`` comes from) that times epochs; ``after`` ranks, off the clock."""

    class Timed(callback):  # type: ignore[misc]
        def on_train_epoch_start(self, *_: Any) -> None:
            clock.start()

        def on_train_epoch_end(self, *_: Any) -> None:
            clock.stop()
            after()

        def __deepcopy__(self, memo: Any) -> Timed:
            return self  # trainers are copied, the clock is not

    return Timed()


def left_padded(histories: list[Ints], length: int, empty: int = 0) -> Ints:
    """[n, length]: the newest items of each history, padding to the left."""
    table = np.full((len(histories), length), empty, dtype=np.int64)
    for row, items in zip(table, histories, strict=True):
        newest = items[-length:]
        row[length - len(newest) :] = newest
    return table


def _peak_memory() -> int:
    """Most memory that this process held, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells on Linux can be the parent's, whose size a child begins with
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return round(int(line.split()[1]) / 1024)
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))
