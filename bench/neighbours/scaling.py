"""``python -m bench.neighbours.scaling``: curves of what an event costs us in training.

Users, items, lengths of histories, d and processes are varied.  Each point is a log of its own, made so that only one size differs
from the middle point, and is trained on for a few seconds in this process, or by processes of one thread each that torchrun starts.
Costs are processor seconds, which other work on the machine changes little, and wall seconds beside them.  Another axis is one more
value in ``AXES``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.neighbours.ours import method
from bench.neighbours.setting import Setting
from bench.rows import machine
from tmmsrec.data.batch import Batch, Pass
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import Part
from tmmsrec.lesson import Lesson
from tmmsrec.loop import Loop
from tmmsrec.processes import Processes, joined
from tmmsrec.study.charts import Curve, Lines
from tmmsrec.training import Training

_LOSSES = {"ce": "softmax cross-entropy", "bce": "BCE, one negative"}


@dataclass(frozen=True)
class Point:
    """A size of everything.

    Attributes:
        users: with a history each.
        items: in the catalogue.
        length: events of every history, all of them read.
        width: d.
        loss: "ce" or "bce".
        processes: of one thread each, which share every batch; 0 for this process, with all the threads it has.
    """

    users: int = 2_000
    items: int = 2_000
    length: int = 10
    width: int = 128
    loss: str = "bce"
    processes: int = 0


@dataclass(frozen=True)
class Axis:
    """What is varied, and over which values."""

    name: str
    values: tuple[int, ...]
    said: str


AXES = (
    Axis("users", (500, 2_000, 8_000, 32_000), "users"),
    Axis("items", (500, 2_000, 8_000, 32_000), "items"),
    Axis("length", (5, 10, 20, 50, 100, 200), "events in every history"),
    Axis("width", (32, 64, 128, 256, 512), "d"),
    Axis("processes", tuple(2**n for n in range((os.cpu_count() or 1).bit_length())), "processes of one thread each"),
)


@dataclass(frozen=True)
class Cost:
    """What an event costs, in microseconds: of the processor, and on the clock."""

    processor: float
    wall: float


def cost(point: Point, seconds: float = 3.0) -> Cost:
    """Train on a made log of this size for about so many seconds, after first steps that are nobody's."""
    return _together(point, seconds) if point.processes else _here(point, seconds, Processes.here())


def _together(point: Point, seconds: float) -> Cost:
    asked = json.dumps({**asdict(point), "processes": 0})
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(point.processes)]
    command = [*torchrun, "-m", "bench.neighbours.scaling", "--seconds", str(seconds), "--point", asked]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=alone).stdout
    return Cost(**json.loads(said.splitlines()[-1]))


def _here(point: Point, seconds: float, processes: Processes) -> Cost:
    rng = np.random.default_rng(0)
    events = point.users * (point.length + 1)  # one more: the first is no target
    owner = np.repeat(np.arange(point.users), point.length + 1)
    log = Interactions.of(owner, rng.integers(1, point.items + 1, events), np.arange(events), point.users)
    train = Part("train", log, log.lengths, np.arange(point.users))
    wanted = method(Setting(loss=point.loss, width=point.width, length=point.length))
    torch.manual_seed(0)
    model = wanted.build(Dataset.in_memory("scaling", log, point.items))
    training = Training(batch=max(1, 1_280 // point.length))  # as many events in each step, whatever the length
    sampler = Sampler(train, point.items, wanted.negatives)
    lesson = Lesson(model.loss, train, sampler, Pass(training.batch, point.length, wanted.per))
    loop = Loop(model, lesson, None, training, 0)
    model.train()
    batches = _endless(lesson, processes)
    loop.step(next(batches))
    begun = time.perf_counter()
    for _ in range(3):
        loop.step(next(batches))
    # All processes make the same steps, so their number is settled before.
    steps = processes.agree(max(1, round(3 * seconds / (time.perf_counter() - begun))))
    done, spent, begun = 0, time.process_time(), time.perf_counter()
    for _ in range(steps):
        batch = next(batches)
        loop.step(batch)
        done += batch.events
    wall = time.perf_counter() - begun
    every = float(processes.sum(torch.tensor(time.process_time() - spent, dtype=torch.float64)))
    return Cost(processor=1e6 * every / done, wall=1e6 * wall / done)


def _endless(lesson: Lesson, processes: Processes) -> Iterator[Batch]:
    """Batches of one epoch after the other, or this process's shares of them."""
    for epoch in count():
        yield from lesson.batches((0, epoch), 0, processes)


def curves(axes: Sequence[Axis] = AXES, middle: Point = Point(), seconds: float = 3.0) -> list[dict[str, Any]]:
    """For each axis and loss, the points and their costs."""
    found = []
    for axis in axes:
        for loss in _LOSSES:
            points = [replace(middle, loss=loss, **{axis.name: value}) for value in axis.values]
            found.append({"axis": axis.name, "loss": loss, "points": [asdict(p) | asdict(cost(p, seconds)) for p in points]})
    return found


def chart(axis: Axis, measured: list[dict[str, Any]]) -> Lines:
    """The costs of one axis, both losses; positions are evenly spaced, as the values are by their logarithm."""
    ours = [one for one in measured if one["axis"] == axis.name]
    lines = [
        Curve(_LOSSES[one["loss"]], tuple((p[axis.name], p["processor"]) for p in one["points"]), f"s{n}")
        for n, one in enumerate(ours, 1)
    ]
    return Lines(tuple(lines), axis.said, "processor microseconds an event", at=axis.values)


def main() -> int:
    """Measure, print, and write JSON and plots where asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.neighbours.scaling", description="Cost of an event against sizes.")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each point")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write everything as JSON")
    parser.add_argument("--plots", type=Path, help="folder for scaling-AXIS.svg and .png")
    parser.add_argument("--point", type=json.loads, help="a point as JSON: measure it alone, with the processes of torchrun")
    asked = parser.parse_args()
    if asked.point:
        with joined() as processes:
            found = _here(Point(**asked.point), asked.seconds, processes)
        if processes.first:
            print(json.dumps(asdict(found)))
        return 0
    torch.set_num_threads(asked.threads)
    about = {**machine(), "date": datetime.now(UTC).isoformat(timespec="minutes")}
    measured = curves(seconds=asked.seconds)
    table = Table(
        "axis", "loss", "value: microseconds an event, of the processors (on the clock)", title="What an event costs in training"
    )
    for one in measured:
        told = (f"{p[one['axis']]:,}: {p['processor']:.0f} ({p['wall']:.0f})" for p in one["points"])
        table.add_row(one["axis"], one["loss"], ", ".join(told))
    Console().print(table)
    if asked.out:
        asked.out.write_text(json.dumps({"machine": about, "curves": measured}, indent=1) + "\n", encoding="utf-8")
    if asked.plots:
        draw(measured, asked.plots)
    return 0


def draw(measured: list[dict[str, Any]], folder: Path) -> None:
    """A plot for each axis."""
    from tmmsrec.study.render.draw import save

    folder.mkdir(parents=True, exist_ok=True)
    for axis in AXES:
        save(chart(axis, measured), folder / f"scaling-{axis.name}")


if __name__ == "__main__":
    sys.exit(main())
