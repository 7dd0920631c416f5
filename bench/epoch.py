"""How soon a training on a large log starts, and what memory it takes: of the events it should take none.

The log lies on disk as a Dataset folder and is mapped; a process of its own opens it and makes the first step of an epoch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.rows import Row
from bench.worlds import DAY
from tmmsrec import zoo
from tmmsrec.data import store
from tmmsrec.data.batch import Pass
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.lesson import Lesson
from tmmsrec.loop import Loop
from tmmsrec.training import Training

ITEMS, BLOCK = 100_000, 1 << 22
SIZES = ((1_000_000, 10), (1_000_000, 30), (1_000_000, 100), (10_000_000, 10))  # users, and events of each
QUICK = ((50_000, 10), (50_000, 40))


def run(quick: bool = False) -> list[Row]:
    """A row for each log: seconds from the start of the process to its first step, and what it held of its own."""
    return [_row(users, events) for users, events in (QUICK if quick else SIZES)]


def _row(users: int, events: int) -> Row:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMMSREC_BENCH")) as folder:
        found = {}
        for what in ("make", "measure"):
            command = [sys.executable, "-m", "bench.epoch", what, str(users), str(events), folder, repr(time.time())]
            said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found = json.loads(said.splitlines()[-1])
    note = f"{found['own']:.0f} MB of its own before the step, {found['opened']:.1f} s to open the folder"
    name = f"first step of an epoch, {users * events:,} events of {users:,} users"
    return Row(name, 60.0, found["started"], "s", False, note, {"users": users, "events": events, **found})


def make(users: int, events: int, folder: Path) -> dict[str, Any]:
    """Write a log in which everybody has as many events."""
    rng, total = np.random.default_rng(0), users * events
    items, times = np.empty(total, np.int32), np.empty(total, np.int64)
    for at in range(0, total, BLOCK):
        some = slice(at, min(at + BLOCK, total))
        items[some] = rng.integers(1, ITEMS + 1, some.stop - at)
        times[some] = 12_000 * DAY + (np.arange(at, some.stop) % events) * DAY
    log = Interactions(np.arange(users + 1, dtype=np.int64) * events, items, times)
    store.save(Dataset.in_memory("epoch", log, ITEMS), folder / "data")
    return {}


def measure(folder: Path, begun: float) -> dict[str, Any]:
    """Open, cut, and make the first steps; ``begun`` is when the process was asked for."""
    opening = time.time()
    data = store.load(folder / "data")
    opened = time.time() - opening
    train = LeaveOneOut().cut(data.interactions).train
    torch.manual_seed(0)
    model = zoo.SASREC.build(data)
    model.prepare(train)
    model.observe(train)
    sampler = Sampler(train, data.n_items, zoo.SASREC.negatives)
    how = Training()
    lesson = Lesson(model.loss, train, sampler, Pass(how.batch, zoo.SASREC.history, zoo.SASREC.per))
    loop = Loop(model, lesson, None, how, 0)
    batches = iter(lesson.batches((0, 0)))
    model.train()
    first = next(batches)
    own = _own()  # what a step makes depends on how long its histories are, and is no matter of the log
    loop.step(first)
    return {"started": time.time() - begun, "opened": opened, "own": own}


def _own() -> float:
    """Megabytes that are this process's alone: what is mapped from files can be taken back at any time."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024


def draw(rows: list[dict[str, Any]], folder: Path) -> None:
    """What the first step held against the events of the log, from what ``python -m bench epoch --out`` wrote."""
    from tmmsrec.study.charts import Curve, Lines
    from tmmsrec.study.render.draw import save

    of: dict[int, list[tuple[int, float]]] = {}
    for numbers in (row["numbers"] for row in rows):
        of.setdefault(numbers["users"], []).append((numbers["users"] * numbers["events"], numbers["own"]))
    curves = [Curve(f"{users:,} users", tuple(points), f"s{n}") for n, (users, points) in enumerate(sorted(of.items()), 1)]
    sizes = tuple(sorted({events for points in of.values() for events, _ in points}))
    save(Lines(tuple(curves), "events in the log", "MB of the process' own", at=sizes), folder / "epoch-memory")


if __name__ == "__main__":
    if sys.argv[1] == "draw":  # FILE that "python -m bench epoch --out" wrote, FOLDER
        draw(json.loads(Path(sys.argv[2]).read_text())["rows"], Path(sys.argv[3]))
        sys.exit()
    _, what, users, events, folder, begun = sys.argv
    done = make(int(users), int(events), Path(folder)) if what == "make" else measure(Path(folder), float(begun))
    print(json.dumps(done))
