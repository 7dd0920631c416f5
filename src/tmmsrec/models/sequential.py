"""The one composition.

    items -> a table per modality -> + time -> fusion (streams apart, or one) -> a backbone per stream
          -> vectors side by side -> one inner product

TMMSRec is a point of it, and so are SASRec and every variant of Tables 4-6: see ``tmmsrec.zoo``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tmmsrec.data.batch import Batch, Per
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.negatives import Negatives
from tmmsrec.data.stored import feature_rows
from tmmsrec.models.base import Method, VectorModel, features_of
from tmmsrec.nn.backbones import Backbone, probe
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.dropout import Dropout
from tmmsrec.nn.fusion import Apart, Fusion
from tmmsrec.nn.items import FrozenRows, ItemTable, LearnedRows, initialise
from tmmsrec.nn.look import together
from tmmsrec.nn.losses import BCE, Drawn, Loss
from tmmsrec.nn.outputs import Output, Tied
from tmmsrec.nn.streams import Stream, read
from tmmsrec.nn.time import Clock, Nothing, TimeEncoder, TimeModule


@dataclass(frozen=True)
class Entry:
    """How item rows enter the streams.

    Attributes:
        dropout: on the way in.
        dropped: "rows" drops item rows before time is added, as the authors' TMMSRec does; "streams" drops their sum with time, as
            SASRec does with positions.
        scaled: multiply rows by sqrt(d) on the way in (not in the score), as SASRec's official code does.
    """

    dropout: float = 0.5
    dropped: Literal["rows", "streams"] = "rows"
    scaled: bool = False


#: Which losses may meet which backbones, by where the loss is taken.  "every": one row per user, a target at every step.  "last":
#: one row per event, its history before it and the one target at its end.  A backbone that is not causal would see at each step
#: the very target it is asked for, so it may only be asked at the end; every loss of ``nn.losses`` may be taken in both places.
MEETS: dict[tuple[str, str], bool] = {
    ("every", "causal"): True,
    ("every", "not causal"): False,
    ("last", "causal"): True,
    ("last", "not causal"): True,
}


@dataclass(frozen=True)
class Sequential(Method):
    """A sequential recommender over one or more modalities (paper section 2; TMMSRec is ``zoo.TMMSREC``).

    Attributes:
        modalities: "id" for learned rows; other names are features of the dataset ("text", "image").
        width: d, the width of each stream.
        length: n, the newest events that are read.
        time: what is added to each stream (Eq. 5, 11).
        fusion: streams apart until the score (two-stage), or one early.
        backbone: the encoder of each stream (Eq. 10).
        loss: what is made small (Eq. 14).
        steps: where the loss is taken, see ``MEETS``.
        output: what candidates are scored by.
        entry: how rows enter the streams.
    """

    modalities: tuple[str, ...] = ("id",)
    width: int = 126
    length: int = 50
    time: TimeEncoder = Nothing()
    fusion: Fusion = Apart()
    backbone: Backbone = Attention()
    loss: Loss = BCE()
    steps: Literal["every", "last"] = "every"
    output: Output = Tied()
    entry: Entry = Entry()

    def __post_init__(self) -> None:
        self.check_sizes()
        if not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities must be distinct and at least one, got {self.modalities}")
        if not MEETS[self.steps, "causal" if self.backbone.causal else "not causal"]:
            raise ValueError(
                f"{type(self.backbone).__name__} is not causal: with a loss at every step each step would see its own target; "
                'take the loss at the last step (steps="last")'
            )
        if self.time.looks and not self.backbone.looks:
            raise ValueError(
                f"{type(self.time).__name__} says how a history is looked at, which {type(self.backbone).__name__} cannot: "
                "take Attention, with its key mask"
            )
        self.time.check(self.width)

    @property
    def source(self) -> str:
        """The paper of the framework, or of the backbone where it stands alone."""
        if self.modalities == ("id",) and not self.reads_time:
            return self.backbone.source
        on = "" if isinstance(self.backbone, Attention) else f" on {type(self.backbone).__name__}"
        return f"TMMSRec 2026{on}"

    @property
    def reads(self) -> tuple[str, ...]:
        """Modalities that the method reads."""
        return self.modalities

    @property
    def scored_by(self) -> tuple[str, ...]:
        """What it reads; with an output of its own, that output's learned rows."""
        return self.modalities if isinstance(self.output, Tied) else ("id",)

    @property
    def reads_time(self) -> bool:
        """Whether the times of past events change the scores."""
        return self.time.reads_time

    @property
    def reads_now(self) -> bool:
        """Whether the moment of the request changes the scores."""
        return self.time.reads_now

    @property
    def history(self) -> int:
        """How many of a user's newest events it reads."""
        return self.length

    @property
    def per(self) -> Per:
        """A row per user while every step has a target, else a row per event."""
        return "user" if self.steps == "every" else "event"

    @property
    def negatives(self) -> Negatives:
        """The negatives its loss needs."""
        return Negatives(self.loss.per_step, self.loss.shared, getattr(self.loss, "by", "uniform"))

    def build(self, dataset: Dataset) -> SequentialModel:
        """Tables for the dataset's items; raises ValueError when it lacks a modality."""
        features_of(dataset, self.modalities)
        tables = [self._table(m, dataset) for m in self.modalities]
        return SequentialModel(self.sized(dataset.n_items), tables, dataset.n_items)

    def _table(self, modality: str, dataset: Dataset) -> ItemTable:
        if modality == "id":
            return LearnedRows(dataset.n_items, self.width)
        features = dataset.features[modality]
        return FrozenRows(feature_rows(features), torch.tensor(features.present), self.width)


class SequentialModel(VectorModel):
    """What a Sequential value builds."""

    def __init__(self, value: Sequential, tables: list[ItemTable], n_items: int) -> None:
        super().__init__()
        self.value, self.n_items = value, n_items
        self.tables = nn.ModuleList(tables)
        self.time = nn.ModuleList(value.time.build(value.width, value.length) for _ in tables)
        self.fusion = value.fusion.build(value.width, len(tables))
        streams = len(tables) if value.fusion.apart else 1
        encoders = 1 if getattr(value.fusion, "one_encoder", False) else streams
        self.backbones = nn.ModuleList(value.backbone.build(value.width, value.length) for _ in range(encoders))
        probe(value.backbone, self.backbones[0], value.width, value.length)
        self.dropout = Dropout(value.entry.dropout)
        self.output = value.output.build(n_items, value.width, streams)
        initialise(self)

    def states(self, batch: Batch) -> Tensor:
        """[B, L, D] the vectors after every step, streams side by side."""
        return self._queries(self._read(batch))

    def users(self, batch: Batch) -> Tensor:
        """[B, D] the states after the newest events."""
        return self._queries(self._read(batch, batch.last))

    def _read(self, batch: Batch, last: Tensor | None = None) -> list[Tensor]:
        """Each stream through its backbone (Eq. 10): [B, L, d], or [B, d] at the columns ``last``."""
        return read(list(self.backbones), self._streams(batch), last, stacks=self.value.backbone.stacks)

    def _streams(self, batch: Batch) -> list[Stream]:
        """What each backbone reads."""
        clock = Clock(batch.times, batch.now, batch.mask)
        rows, masks, looks = [], [], []
        for table, time in zip(self.item_tables, self.time_modules, strict=True):
            x = table(batch.items)
            if self.value.entry.scaled:
                x = x * math.sqrt(self.value.width)
            if self.value.entry.dropped == "rows":
                x = self.dropout(x)
                x = x + time(x, clock)  # Eq. 11
            else:
                x = self.dropout(x + time(x, clock))
            rows.append(x)
            masks.append(None if table.complete else table.has(batch.items))
            looks.append(time.look(clock))
        if not self.value.fusion.apart:
            masks, looks = [None], [together(looks, self.fusion)]
        return list(zip(self.fusion(rows), masks, looks, strict=True))

    @property
    def item_tables(self) -> list[ItemTable]:
        """The tables, in the order of the modalities."""
        return [t for t in self.tables if isinstance(t, ItemTable)]

    @property
    def time_modules(self) -> list[TimeModule]:
        """What the time encoder built, in the order of the modalities."""
        return [t for t in self.time if isinstance(t, TimeModule)]

    def _queries(self, vectors: list[Tensor]) -> Tensor:
        """Streams [..., d] side by side, as the output asks with them."""
        return torch.cat(vectors if self.output is None else self.output.queries(vectors), dim=-1)  # type: ignore[operator]

    def items(self, rows: Tensor | None = None) -> Tensor:
        """Time-free item vectors [..., D]: time is never added to candidates."""
        if self.output is not None:
            return torch.cat(self.output(rows), dim=-1)
        return torch.cat(self.fusion([table(rows) for table in self.tables]), dim=-1)

    def item_blocks(self, most: int) -> Iterator[Tensor]:
        """The same vectors, of each block's items alone."""
        rows = torch.arange(self.n_items + 1, device=next(self.parameters()).device)
        yield from (self.items(part) for part in torch.split(rows, most)) if len(rows) > most else [self.items()]

    def shares(self) -> dict[str, slice]:
        """One slice per modality while the streams stay apart."""
        if not self.value.fusion.apart:
            return {"+".join(self.value.modalities): slice(None)}
        d = self.value.width + (self.output is not None)
        return {m: slice(at * d, (at + 1) * d) for at, m in enumerate(self.value.modalities)}

    def biases(self) -> list[int]:
        """Those of an output of its own: the last coordinate of each stream."""
        d = self.value.width + 1
        return [] if self.output is None else [at * d + d - 1 for at in range(len(self.output.rows))]  # type: ignore[arg-type]

    def loss(self, batch: Batch) -> Tensor:
        """The value's loss over all steps that have a target."""
        shared = batch.negatives.dim() == 1
        negatives = batch.negatives if shared else batch.at_targets(batch.negatives)
        drawn = Drawn(negatives, batch.expected, self.n_items)
        states = batch.at_targets(self.states(batch)) if self.value.steps == "every" else self.users(batch)
        return self.value.loss(states, batch.at_targets(batch.targets), drawn, self.candidates)
