"""How much memory a training will take, told before its first step, and a refusal where the machine has less.

No kind of method has to be named here: the method is built for a few made-up users and some of the items, and what grows with
items, users and rows of a batch is measured there and carried on in a straight line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tmmsrec.data.batch import Sampler, training_batches
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import Part
from tmmsrec.models.base import Method, Model, VectorModel
from tmmsrec.optimiser import tables_of
from tmmsrec.ranking import ITEMS, SCORED, WAITING
from tmmsrec.training import Training

SMALL = 100_000  # items and users together that no machine is too small for
GIB = 1 << 30
_ROWS = 512  # users that are ranked together
_BACKWARD = 1.5  # what is alive on the way back, over what the way forward left for it


@dataclass(frozen=True)
class Need:
    """Bytes that a training takes.

    Attributes:
        process: what the process held already.
        parameters: and what else is kept with the weights.
        gradients: those that are as large as their parameters.
        optimiser: its state.
        best: the weights that did best so far; as much again for the moment in which better ones are copied.
        features: rows that the model holds.
        stored: rows that stay on disk; they are no part of the sum.
        log: what is counted and ordered of the log.
        step: what a step makes and leaves for its way back.
        ranking: a block of users with a block of items.
    """

    process: int
    parameters: int
    gradients: int
    optimiser: int
    best: int
    features: int
    stored: int
    log: int
    step: int
    ranking: int

    @property
    def total(self) -> int:
        """At the moment that takes the most: a step, a ranking, or better weights being copied."""
        held = self.process + self.parameters + self.gradients + self.optimiser + self.best + self.features + self.log
        return held + max(self.step, self.ranking, self.best)

    def said(self, of: int | None = None) -> str:
        """One line with its parts; ``of`` is what the machine has."""
        has = f" of {_gib(of)}" if of else ""
        names = ("process", "parameters", "gradients", "optimiser", "best", "features", "log", "step", "ranking")
        words = {"process": "so far", "best": "best weights", "step": "a step", "log": "the log"}
        parts = ", ".join(f"{words.get(name, name)} {_gib(getattr(self, name), '')}" for name in names)
        stored = f"; features of {_gib(self.stored)} stay on disk" if self.stored else ""
        return f"memory: about {_gib(self.total)}{has} ({parts}{stored})"


def need(method: Method, dataset: Dataset, training: Training, asked: int | None = None) -> Need:
    """An estimate of what ``fit`` will take at its peak, the process as it is now included.

    Args:
        method: what will be trained.
        dataset: on what.
        training: how.
        asked: users of the validation part; all of the dataset if not given.

    Raises:
        ValueError: the dataset lacks what the method reads.
    """
    with torch.random.fork_rng(devices=[]):
        probe = _Probe(method.sized(dataset.n_items), dataset)
        return probe.need(training, dataset.n_users if asked is None else asked)


def told(method: Method, dataset: Dataset, training: Training) -> list[str]:
    """What a person should know before a training begins: the memory, and the loss where the size of the catalogue chose it."""
    sized = method.sized(dataset.n_items)
    chosen = [f"loss: {getattr(sized, 'loss', None)}, for {dataset.n_items:,} items"] if sized != method else []
    return [need(method, dataset, training).said(limit()), *chosen]


def check(method: Method, dataset: Dataset, training: Training, asked: int | None = None) -> None:
    """Refuse a training that this machine has no memory for; a small one is not looked at.

    Raises:
        DataProblem: what it needs, what there is, and what to set.
    """
    has = limit()
    if has is None or dataset.n_items + dataset.n_users <= SMALL:
        return
    found = need(method, dataset, training, asked)
    if found.total > has:
        raise DataProblem(f"{found.said(has)} does not fit: {_advice(method, dataset, training, found)}")


def limit() -> int | None:
    """Bytes that there are: of the device, of the machine or its control group, or what TMMSREC_MEMORY says ("40GB", "unlimited")."""
    told = os.environ.get("TMMSREC_MEMORY")
    if told:
        return _read(told)
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")] if hasattr(os, "sysconf") else []
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = Path(file).read_text().strip() if Path(file).exists() else ""
        found += [int(text)] if text.isdigit() else []
    return min(found, default=None)


def _read(told: str) -> int | None:
    units = {"gib": GIB, "gb": 10**9, "mib": 1 << 20, "mb": 10**6, "": 1}
    number = told.strip().lower().rstrip("gimb ")
    unit = told.strip().lower()[len(number) :].strip()
    try:
        return None if told.strip().lower() == "unlimited" else int(float(number) * units[unit])
    except (ValueError, KeyError):
        raise DataProblem(f"TMMSREC_MEMORY={told!r} is no amount of memory: write 40GB, 24GiB or unlimited") from None


def _advice(method: Method, dataset: Dataset, training: Training, found: Need) -> str:
    said = []
    if training.optimiser.tables == "whole":
        by_row = replace(training, optimiser=replace(training.optimiser, tables="rowwise"))
        less = need(method, dataset, by_row).total
        if less < found.total:
            said.append(f"set --training optimiser.tables=rowwise (about {_gib(less)})")
    if found.parameters > found.total / 10:
        said.append("a smaller --set width")
        if "id" in method.reads and len(method.reads) > 1:
            said.append("modalities without id")
    if found.step > found.total / 10:
        said.append("--set loss=BySize, or a smaller --training batch")
    said.append("or set TMMSREC_MEMORY to what may be used")
    return ", ".join(said)


def _gib(size: int | None, unit: str = " GiB") -> str:
    return f"{(size or 0) / GIB:.1f}{unit}"


class _Probe:
    """A method as it is built for few items and users, and what that says of many."""

    def __init__(self, method: Method, dataset: Dataset) -> None:
        self.method, self.dataset = method, dataset
        self.items = max(1, min(dataset.n_items // 2, 2 * method.history + 128))
        self.more = min(2 * self.items, dataset.n_items)
        self.base, self.wide, self.tall = self._model(self.items, 4), self._model(self.more, 4), self._model(self.items, 8)

    def _part(self, items: int, users: int) -> tuple[Dataset, Part]:
        """Some of the items, and users who have met as much as is read of each."""
        length = max(3, self.method.history + 1)
        rng = np.random.default_rng(0)
        met = rng.integers(1, max(1, items // 2) + 1, users * length)  # some items must be left to draw
        times = np.tile(np.arange(length) * 86_400 + 1_500_000_000, users)
        log = Interactions.of(np.repeat(np.arange(users), length), met, times)
        ids = Ids(list(range(users)), what="user")
        tiny = replace(self.dataset, interactions=log, catalog=self.dataset.catalog.first(items), users=ids, folder=None)
        return tiny, Part("train", log, log.lengths, np.arange(users))

    def _model(self, items: int, users: int) -> Model:
        return self.method.build(self._part(items, users)[0])

    def grown(self, measured: tuple[float, float, float]) -> float:
        """A number for all items and users, from those of the base, of more items and of more users."""
        base, wide, tall = measured
        by_item = (wide - base) / max(1, self.more - self.items) * (self.dataset.n_items - self.items)
        by_user = (tall - base) / 4 * (self.dataset.n_users - 4)
        return max(0.0, base + by_item + by_user)

    def bytes(self, kind: str) -> int:
        """Of the tensors of one kind, all of them together."""
        return round(self.grown(tuple(sum(map(_size, _tensors(m, kind))) for m in (self.base, self.wide, self.tall))))  # type: ignore[arg-type]

    def need(self, training: Training, asked: int) -> Need:
        """What a training takes."""
        learned, tables, rows = self.bytes("learned"), self.bytes("tables"), self.bytes("rows")
        by_row = training.optimiser.tables == "rowwise"
        dense = learned - tables if by_row else learned
        kept = self.bytes("kept")
        # A table that is read in two places gets two gradients, which are added up.
        step = self._step(training) + (0 if by_row else tables)
        return Need(
            process=_resident(),
            parameters=kept,
            gradients=dense if self.base.trainable else 0,
            optimiser=2 * dense + (rows if by_row else 0),
            best=kept if self.base.trainable else 0,
            features=self.bytes("features"),
            stored=sum(f.rows.nbytes for name, f in self.dataset.features.items() if name in self.method.reads and not f.in_memory),
            log=self._log(),
            step=step,
            ranking=self._ranking(asked),
        )

    def _step(self, training: Training) -> int:
        """What is made on the way forward and kept for the way back."""
        if not self.base.trainable:
            return 0
        here = self._saved(self.items, 4, 2)
        by_row = (self._saved(self.items, 4, 4) - here) / 2
        fixed = self.grown((here, self._saved(self.more, 4, 2), self._saved(self.items, 8, 2))) - 2 * by_row
        return round(_BACKWARD * (max(0.0, fixed) + by_row * training.batch))

    def _saved(self, items: int, users: int, rows: int) -> float:
        """Bytes that the loss of a batch leaves for its gradient."""
        dataset, part = self._part(items, users)
        model = self.method.build(dataset).train()
        model.prepare(part)
        model.observe(part)
        model.begin_epoch(0)
        sampler = Sampler(part, items, self.method.negatives)
        how = {"size": rows, "length": self.method.history, "sampler": sampler, "seed": (0,), "per": self.method.per}
        batch = max(training_batches(part, **how), key=lambda one: one.items.numel())  # type: ignore[arg-type]
        own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
        held: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                held[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = model.loss(batch)
        del loss
        return float(sum(held.values()))

    def _log(self) -> int:
        """Which events may be read, how often each item occurs, the order of users; pairs that were met, where negatives need them."""
        events, users = len(self.dataset.interactions), self.dataset.n_users
        return (40 if self.method.negatives.per_step else 24) * events + 64 * users

    def _ranking(self, asked: int) -> int:
        """Vectors of users and of a block of items, their scores, and what is compared."""
        items = self.dataset.n_items + 1
        if not isinstance(self.base, VectorModel):
            return 12 * _ROWS * items
        with torch.inference_mode():
            wide = self.base.eval().items(torch.ones(1, dtype=torch.long)).shape[-1]
        block = min(items, ITEMS)
        whole = 0 if type(self.base).item_blocks is not VectorModel.item_blocks else items
        read = sum(f.width for name, f in self.dataset.features.items() if name in self.method.reads)
        return 4 * (min(asked * wide, WAITING) + block * (2 * wide + read) + whole * wide) + 9 * min(_ROWS, asked) * (items if items < ITEMS else SCORED)


def _tensors(model: Model, kind: str) -> Iterable[Tensor]:
    """Tensors of a model: learned ones; learned tables; a number for each row of these; kept with the weights; held beside them."""
    if kind == "learned":
        return [p for p in model.parameters() if p.requires_grad]
    if kind == "tables":
        return [table.weight for table in tables_of(model)]
    if kind == "rows":
        return [table.weight[:, 0].detach().clone() for table in tables_of(model)]
    kept = model.state_dict()
    return kept.values() if kind == "kept" else [b for name, b in model.named_buffers() if name not in kept]


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _resident() -> int:
    """What the process holds now; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS")), 0)
