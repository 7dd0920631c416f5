"""How much memory a training will take, told before its first step, and a refusal where the machine has less.

No kind of method has to be named here: the method is built for a few made-up users and some of the items, and what grows with
items, users and rows of a batch is measured there and carried on in a straight line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tmmsrec import machine
from tmmsrec.data.batch import Pass, training_batches
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import Part
from tmmsrec.data.stored import Stored
from tmmsrec.models.base import Method, Model, VectorModel
from tmmsrec.nn.items import FrozenRows
from tmmsrec.nn.losses import CrossEntropy
from tmmsrec.optimiser import tables_of
from tmmsrec.scoring import ITEMS, SCORED, WAITING
from tmmsrec.training import Training

SMALL = 100_000  # items and users together that no machine is too small for, if it has
ROOMY = 8 << 30  # so many bytes
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
        best: the weights that did best so far; better ones are written over them.
        features: rows that the model holds.
        stored: rows that stay on disk; they are no part of the sum.
        log: the rows of a pass, and their order.
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
        """At the moment that takes the most: a step, or a ranking."""
        held = self.process + self.parameters + self.gradients + self.optimiser + self.best + self.features + self.log
        return held + max(self.step, self.ranking)

    def said(self, of: int | None = None) -> str:
        """One line with its parts; ``of`` is what the machine has."""
        has = f" of {_gib(of)}" if of else ""
        names = ("process", "parameters", "gradients", "optimiser", "best", "features", "log", "step", "ranking")
        words = {"process": "so far", "best": "best weights", "step": "a step", "log": "the log"}
        sizes = {words.get(name, name): _gib(getattr(self, name), "") for name in names}
        parts = ", ".join(f"{name} {size}" for name, size in sizes.items() if size != "0.0")
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
    learned = sized if sized.within is None else sized.within.method  # of a sum of terms it is the network that has a loss
    chosen = [f"loss: {getattr(learned, 'loss', None)}, for {dataset.n_items:,} items"] if sized != method else []
    return [need(method, dataset, training).said(machine.memory()), *chosen]


def check(method: Method, dataset: Dataset, training: Training, asked: int | None = None) -> None:
    """Refuse a training that this machine has no memory for; a small one is not looked at.

    Raises:
        DataProblem: what it needs, what there is, and what to set.
    """
    has = machine.memory()
    if has is None or (dataset.n_items + dataset.n_users <= SMALL and has >= ROOMY):
        return
    found = need(method, dataset, training, asked)
    if found.total > has:
        raise DataProblem(f"{found.said(has)} does not fit: {_advice(method, dataset, training, found)}")


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
    if isinstance(getattr(method, "loss", None), CrossEntropy):
        said.append("--set loss=BySize")
    if found.step > found.total / 10:
        said.append("a smaller --training batch")
    said.append("or set TMMSREC_MEMORY to what may be used")
    return ", ".join(said)


def _gib(size: int | None, unit: str = " GiB") -> str:
    return f"{(size or 0) / GIB:.1f}{unit}"


class _Probe:
    """A method as it is built for few items and users, and what that says of many."""

    def __init__(self, method: Method, dataset: Dataset) -> None:
        self.method, self.dataset = method, dataset
        # So many items that a loss which reads only some of them does so here too.
        enough = method.negatives.shared + 4 * (method.history + 1)
        self.items = max(1, min(dataset.n_items // 2, max(enough, 2 * method.history + 128)))
        self.more = min(2 * self.items, dataset.n_items)
        self.base, self.wide, self.tall = self._model(self.items, 4), self._model(self.more, 4), self._model(self.items, 8)

    def _part(self, items: int, users: int) -> tuple[Dataset, Part]:
        """Some of the items, and users who have met the same of them: four as much as is read of each, the others what is usual."""
        most = max(3, self.method.history + 1)
        usual = max(3, min(most, len(self.dataset.interactions) // max(1, self.dataset.n_users)))
        lengths = np.array([most] * 4 + [usual] * (users - 4))
        at = np.concatenate([np.arange(length) for length in lengths])
        met = np.random.default_rng(0).integers(1, max(1, self.items // 2) + 1, most)  # some items must be left to draw
        log = Interactions.of(np.repeat(np.arange(users), lengths), met[at], 86_400 * at + 1_500_000_000)
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
            process=machine.held(),
            parameters=kept,
            gradients=dense if self.base.trainable else 0,
            optimiser=2 * dense + (rows if by_row else 0),
            best=kept if self.base.trainable else 0,
            features=self.bytes("features"),
            stored=self._stored(),
            log=self._log(),
            step=step,
            ranking=self._ranking(asked),
        )

    def _stored(self) -> int:
        """Of rows that the model reads from where they are."""
        stored = [part.stored for part in self.base.modules() if isinstance(part, FrozenRows) and part.stored is not None]
        return sum(s.rows.nbytes // len(s) for s in stored if isinstance(s, Stored)) * (self.dataset.n_items + 1)

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
        how = Pass(rows, self.method.history, self.method.per)
        batch = max(training_batches(part, how, sampler, seed=(0,)), key=lambda one: one.items.numel())
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
        """The rows of a pass and their order: a row for each user, or for each event."""
        events = len(self.dataset.interactions) if self.method.per == "event" else 0
        return 64 * (self.dataset.n_users + events)

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
        vectors = min(asked * wide, WAITING) + block * (2 * wide + read) + whole * wide
        return 4 * vectors + 9 * min(_ROWS, asked) * (items if items < ITEMS else SCORED)


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
