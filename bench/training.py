"""Training: length-grouped batches against the same batches padded to 50, and the share of the machine's peak.

Both sides are the same module, the same optimiser and the same users in every step; the reference only has its rows padded to
50, as code without grouping has them.  The two take turns, step by step, so that both meet the same disturbances.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from bench.rows import Row
from bench.worlds import shop
from tmmsrec.data.batch import Batch, Pass, training_batches
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut, Parts
from tmmsrec.lesson import Lesson
from tmmsrec.loop import Loop
from tmmsrec.models.base import Model
from tmmsrec.models.sequential import Sequential, SequentialModel
from tmmsrec.nn.time import TIE, Nothing
from tmmsrec.training import Training

LENGTH = 50
USERS, ITEMS, MEAN = 5230, 5196, 8.4  # the paper's Luxury
TEXT, IMAGE = 384, 512


def run(quick: bool = False) -> list[Row]:
    """Rows for id-only and three modalities at d = 126 and 768."""
    dataset = shop(USERS, ITEMS, mean=MEAN, widths={"text": TEXT, "image": IMAGE})
    parts = LeaveOneOut().cut(dataset.interactions)
    alone = Sequential(time=Nothing())
    three = Sequential(modalities=("id", "text", "image"), time=TIE())
    rows = []
    for name, method, width, count, tries, goals in (
        ("id only", alone, 126, 20, 5, _Goals(5.0)),
        ("id only", alone, 768, 6, 2, _Goals(5.0, 50.0)),
        ("TMMSRec", three, 126, 8, 3, _Goals(5.0)),
        ("TMMSRec", three, 768, 3, 2, _Goals(6.0, 60.0)),
    ):
        count, tries = (-(-count // 3), 2) if quick else (count, tries)
        rows += _rows(f"{name}, d={width}", replace(method, width=width), dataset, parts, count, tries, goals=goals)
    return rows


@dataclass(frozen=True)
class _Goals:
    """How many times faster than padded, and the share of the matrix-product peak in percent, where one is asked for."""

    times: float
    peak: float | None = None


def _rows(name: str, method: Sequential, dataset: Dataset, parts: Parts, count: int, tries: int, *, goals: _Goals) -> list[Row]:
    torch.manual_seed(0)
    model = method.build(dataset)
    sampler = Sampler(parts.train, dataset.n_items, method.negatives)
    training = Training()
    lesson = Lesson(model.loss, parts.train, sampler, Pass(training.batch, LENGTH, method.per))
    loop = Loop(model, lesson, None, training, 0)
    model.train()
    loop.step(next(_sample(parts, sampler, 1, size=16)))  # first-call costs are nobody's
    turns = [_turns(loop, batch, tries) for batch in _sample(parts, sampler, count)]
    grouped, padded = (sum(getattr(t, side) for t in turns) for side in ("grouped", "padded"))
    events, flops = sum(t.events for t in turns), sum(model_flops(model, t.batch) for t in turns)
    slots = sum(t.batch.items.numel() for t in turns)
    wide = sum(LENGTH * len(t.batch.users) for t in turns)
    possible = sum(t.grouped * t.peak for t in turns)
    numbers = {
        "batches": count,
        "events_per_second": events / grouped,
        "events_per_second_padded": events / padded,
        "seconds_per_step": grouped / count,
        "seconds_per_step_padded": padded / count,
        "slots_per_event": slots / events,
        "slots_per_event_padded": wide / events,
        "gflops": flops / grouped / 1e9,
        "peak_gflops": possible / grouped / 1e9,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    note = f"{events / grouped:,.0f} events/s against {events / padded:,.0f}; slots {wide / slots:.1f} to 1"
    where = f"{flops / grouped / 1e9:.0f} of {possible / grouped / 1e9:.0f} GFLOP/s"
    return [
        Row(f"training speed, {name}", goals.times, padded / grouped, "times", True, note, numbers),
        Row(f"share of matrix peak, {name}", goals.peak, 100 * flops / possible, "%", True, where, numbers),
    ]


@dataclass(frozen=True, eq=False)
class _Turn:
    """One batch: the best seconds of each side, and the best rate of a matrix product, over the same few moments.

    The best, since other work on the machine only ever adds; the same number of tries for all three.
    """

    batch: Batch
    grouped: float
    padded: float
    peak: float

    @property
    def events(self) -> int:
        return int((self.batch.targets != 0).sum())


def _turns(loop: Loop, batch: Batch, tries: int) -> _Turn:
    wide = widened(batch)
    taken = [(_time(loop, batch), _time(loop, wide), peak()) for _ in range(tries)]
    grouped, padded, rates = zip(*taken, strict=True)
    return _Turn(batch, min(grouped), min(padded), max(rates))


def _sample(parts: Parts, sampler: Sampler, count: int, size: int = Training().batch) -> Iterator[Batch]:
    """Batches of one epoch, spread evenly over the lengths."""
    every = sorted(
        training_batches(parts.train, Pass(size=size, length=LENGTH), sampler, seed=(0, 0)), key=lambda b: b.items.shape[1]
    )
    for at in range(count):
        yield every[(2 * at + 1) * len(every) // (2 * count)]


def _time(loop: Loop, batch: Batch) -> float:
    begun = time.perf_counter()
    loop.step(batch)
    return time.perf_counter() - begun


def widened(batch: Batch, length: int = LENGTH) -> Batch:
    """The same batch with its rows padded to ``length``."""
    more = length - batch.items.shape[1]
    wide = {name: pad(getattr(batch, name), (0, more)) for name in ("items", "times", "now", "targets")}
    return replace(batch, negatives=pad(batch.negatives, (0, 0, 0, more)), **wide)


def model_flops(model: Model, batch: Batch) -> float:
    """Multiplications and additions that the real events of a batch need, forwards and backwards.

    6 for each weight of a matrix product and event, and 12 d for each pair of steps that attention relates.  What padding costs
    on top is not counted: it is waste.  Feature maps of the loss's targets and negatives are counted, as the model asks for them.
    """
    assert isinstance(model, SequentialModel)
    events = batch.mask.sum(-1)
    matrices = sum(m.weight.numel() for b in model.backbones for m in b.modules() if isinstance(m, nn.Linear))
    maps = sum(m.weight.numel() for t in model.tables for m in t.modules() if isinstance(m, nn.Linear))
    blocks = sum(len(b.blocks) for b in model.backbones)  # type: ignore[arg-type]
    total = events.sum().item()
    pairs = (events * (events + 1) / 2).sum().item()
    # A map of frozen features needs no gradient of its input: 4 and not 6, for the event, its target and its negative.
    return float(6 * matrices * total + 4 * maps * 3 * total + 12 * model.value.width * blocks * pairs)


def peak(size: int = 1536) -> float:
    """Operations per second of a large float32 matrix product: what the machine gives at this moment."""
    a, b = _squares(size)
    begun = time.perf_counter()
    torch.mm(a, b)
    return 2.0 * size**3 / (time.perf_counter() - begun)


_MADE: dict[int, tuple[Tensor, Tensor]] = {}


def _squares(size: int) -> tuple[Tensor, Tensor]:
    if size not in _MADE:
        _MADE[size] = (torch.randn(size, size), torch.randn(size, size))
        torch.mm(*_MADE[size])
    return _MADE[size]
