"""A row per method of the zoo: events trained on per second, peak memory and ranking time, each in a process of its own.

The data have the size of a fashion shop's sample: 923 users, 16,636 items, 33 events a user, texts and pictures 128 wide.  Widths
are 126 where a method has one, so that TIE fits; batches have 128 rows, or 1,024 pairs of user and item.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import fields, replace

import torch

from bench.rows import Row
from bench.worlds import shop
from tmmsrec import zoo
from tmmsrec.data.split import LeaveOneOut, Parts
from tmmsrec.models.base import Method, Model
from tmmsrec.ranking import rank
from tmmsrec.study.circumstances import peak_memory

USERS, ITEMS, MEAN = 923, 16_636, 33.0
# One of each family; the variants of Tables 4 to 6 cost what TMMSRec costs.
LEFT_OUT = re.compile(r"tmmsrec-(?!plus$|gru4rec|nextitnet|mlp4rec)")


def run(quick: bool = False) -> list[Row]:
    """A row per method."""
    names = [name for name in zoo.methods() if not LEFT_OUT.match(name)]
    return [_row(name, quick) for name in names]


def _row(name: str, quick: bool) -> Row:
    command = [sys.executable, "-m", "bench.methods", name, *(["--quick"] if quick else [])]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    numbers = json.loads(told)
    note = f"peak {numbers['peak_mb']:,} MB, ranking {numbers['ranking_seconds']:.2f} s, {numbers['parameters']:,} parameters"
    return Row(f"{name}: training", None, numbers["events_per_second"], "events/s", True, note, numbers)


def measure(name: str, seconds: float) -> dict[str, float | int | None]:
    """Train for a while, rank the test part once."""
    method = zoo.methods()[name]
    if "width" in {f.name for f in fields(method)}:  # type: ignore[arg-type]
        method = replace(method, width=126)  # type: ignore[type-var]
    dataset = shop(USERS, ITEMS, mean=MEAN, widths={"text": 128, "image": 128})
    parts = LeaveOneOut().cut(dataset.interactions)
    torch.manual_seed(0)
    model = method.build(dataset)
    model.prepare(parts.train)
    model.observe(parts.train)
    rate = _rate(method, model, parts, seconds) if model.trainable else 0.0
    begun = time.perf_counter()
    rank(model, parts.test, history=method.history)
    return {
        "events_per_second": rate,
        "ranking_seconds": time.perf_counter() - begun,
        "peak_mb": peak_memory(),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


def _rate(method: Method, model: Model, parts: Parts, seconds: float) -> float:
    """Targets per second over whole steps, the first one left out, for about so many seconds."""
    from tmmsrec.data.batch import Pass
    from tmmsrec.data.negatives import Sampler
    from tmmsrec.lesson import Lesson
    from tmmsrec.loop import Loop
    from tmmsrec.training import Training

    sampler = Sampler(parts.train, ITEMS, method.negatives)
    training = Training(batch=1024 if method.history == 0 else 128)
    lesson = Lesson(model.loss, parts.train, sampler, Pass(training.batch, method.history, method.per))
    loop = Loop(model, lesson, None, training, 0)
    model.train()
    model.begin_epoch(0)
    events, spent, first, epoch = 0, 0.0, True, 0
    while spent < seconds:
        for batch in lesson.batches((0, epoch)):
            begun = time.perf_counter()
            loop.step(batch)
            done = batch.events
            if not first:
                spent, events = spent + time.perf_counter() - begun, events + done
            first = False
            if spent >= seconds:
                break
        epoch += 1
    return events / spent


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], 1.0 if "--quick" in sys.argv else 8.0)))
