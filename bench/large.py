"""Ten million items with features of 384 numbers and a million users: steps, a validation and a recommendation, and their memory.

The work is done by a process of its own, since what is measured is the most that it ever held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.rows import Row, seconds
from bench.worlds import histories
from tmmsrec import loop, machine, memory
from tmmsrec.data.batch import Batch
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.models.sequential import Sequential
from tmmsrec.nn.losses import BySize
from tmmsrec.nn.time import Learned
from tmmsrec.recommender import Recommender
from tmmsrec.study.circumstances import peak_memory
from tmmsrec.training import Adam, Training

WIDE = 384
METHOD = Sequential(modalities=("id", "text"), width=64, time=Learned(), loss=BySize(bound=100_000))
STEPS, BATCH, ASKED = 100, 128, 1_000


def run(quick: bool = False) -> list[Row]:
    """The estimate over the measured peak, with a table of learned rows beside the features, and by the features alone."""
    items, users = (200_000, 50_000) if quick else (10_000_000, 1_000_000)
    return [_row(name, items, users) for name in ("id,text", "text")]


def _row(modalities: str, items: int, users: int) -> Row:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMMSREC_BENCH")) as folder:
        command = [sys.executable, "-m", "bench.large", modalities, str(items), str(users), folder]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = json.loads(said.splitlines()[-1])
    note = (
        f"{users:,} users; {found['features_gib']:.1f} GiB of features; peak {found['fit_gib']:.2f} GiB in training, "
        f"{found['recommend_gib']:.2f} with a recommendation; {1000 * found['step']:.0f} ms a step of {BATCH} users, "
        f"{found['validation']:.0f} s to rank for {ASKED:,}, {found['recommend']:.2f} s to recommend"
    )
    off = 100 * abs(found["estimate_gib"] / found["fit_gib"] - 1)
    return Row(f"estimate against peak, {items:,} items, {modalities}", 20.0, off, "%", False, note, found)


def measure(modalities: str, items: int, users: int, folder: Path) -> dict[str, Any]:
    """Everything once, in this process."""
    file = _features(items, folder / "rows.npy")
    rows = np.load(file, mmap_mode="r")
    rng = np.random.default_rng(0)
    log = histories(users, items, mean=8.4, least=5, rng=rng)
    features = {"text": Features(rows, np.arange(items + 1) > 0, held=False)}
    dataset = Dataset.in_memory(f"{items:,} items", log, items, features)
    parts = LeaveOneOut().cut(log)
    valid = replace(parts.valid, users=np.sort(rng.choice(parts.valid.users, ASKED, replace=False)))
    method = replace(METHOD, modalities=tuple(modalities.split(",")))
    training = Training(epochs=1, rows=STEPS * BATCH, batch=BATCH, optimiser=Adam(tables="rowwise"))
    estimate = memory.need(method, dataset, training, len(valid))
    print(estimate.said(machine.memory()), file=sys.stderr)
    before, clock = peak_memory(), _Clock()
    with clock:
        fitted = fit(method, dataset, train=parts.train, valid=valid, training=training)
    peak = peak_memory()
    held = Recommender(method, fitted.model, dataset)
    first = seconds(lambda: held.recommend(user=0))
    again = min(seconds(lambda u=u: held.recommend(user=u)) for u in range(1, 4))
    return {
        "estimate_gib": estimate.total / memory.GIB,
        "estimate": estimate.said(),
        "before_gib": (before or 0) / 1024,
        "fit_gib": (peak or 0) / 1024,
        "recommend_gib": (peak_memory() or 0) / 1024,
        "features_gib": rows.nbytes / memory.GIB,
        "step": clock.steps[len(clock.steps) // 2],
        "validation": clock.validation,
        "first_recommendation": first,
        "recommend": again,
    }


class _Clock:
    """Seconds of each step, sorted, and of the validation, while it is held."""

    def __enter__(self) -> _Clock:
        self.steps: list[float] = []
        self.validation = 0.0
        self._kept = loop.Loop.step, loop.rank_shared

        def step(of: loop.Loop, batch: Batch) -> Any:
            begun = time.perf_counter()
            done = self._kept[0](of, batch)
            self.steps.append(time.perf_counter() - begun)
            return done

        def rank(*given: Any, **how: Any) -> Any:
            begun = time.perf_counter()
            done = self._kept[1](*given, **how)
            self.validation += time.perf_counter() - begun
            return done

        loop.Loop.step, loop.rank_shared = step, rank  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        loop.Loop.step, loop.rank_shared = self._kept  # type: ignore[method-assign]
        self.steps.sort()


def _features(items: int, file: Path, block: int = 1 << 16) -> Path:
    """An npy file [items + 1, 384], row 0 zero: a block of random rows again and again, each time turned a little further."""
    some = np.random.default_rng(1).normal(size=(block, WIDE)).astype(np.float32)
    with file.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (items + 1, WIDE)})
        out.write(np.zeros(WIDE, np.float32).tobytes())
        for at in range(0, items, block):
            out.write(np.roll(some, at // block, axis=1)[: items - at].tobytes())
    return file


if __name__ == "__main__":
    torch.manual_seed(0)
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
