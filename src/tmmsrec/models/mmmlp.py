"""MMMLP: mixers over items, texts and pictures, fused by a linear map (Liang et al., WWW 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tmmsrec.data.batch import Batch, Per
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.negatives import Negatives
from tmmsrec.data.stored import feature_rows
from tmmsrec.models.base import Method, VectorModel, features_of
from tmmsrec.nn.items import FrozenRows, ItemTable, LearnedRows, initialise
from tmmsrec.nn.losses import CrossEntropy, Drawn, Loss
from tmmsrec.nn.mixing import Mixer, padded


@dataclass(frozen=True)
class MMMLP(Method):
    """MMMLP as its authors coded it.

    A branch for item rows and one for each modality: layer norm, then mixers over steps and channels.  The branches side by side go
    through a layer norm and a linear map, the newest step is taken, and the item branch's first layer norm is applied once more.
    Items are scored by their learned rows alone: features only change what is asked for.

    Mixing is not causal and its weights belong to positions, so that a row is one event after its history, read as exactly n steps
    with zeros after its end.  Zeros also stand for items without a modality.

    Deviations: features of another width go through a learned linear map without bias (the code takes vectors of width d); padding
    stays zero (the code draws a row for it); the code's number of layers and dropout stand in a file that was not published.

    Attributes:
        modalities: features beside the item rows.
        width: d.
        length: n.
        layers: mixers of the item branch.
        feature_layers: mixers of each other branch.  The code loops four times, but from the same input each time: one counts.
        dropout: after each linear map of the mixers.
        share_depth: one mixer serves all layers of a branch, as in the code.
        loss: what is made small.
    """

    modalities: tuple[str, ...] = ("text", "image")
    width: int = 128
    length: int = 50
    layers: int = 4
    feature_layers: int = 1
    dropout: float = 0.5
    share_depth: bool = True
    loss: Loss = CrossEntropy()

    source: ClassVar[str] = "MMMLP 2023"

    def __post_init__(self) -> None:
        self.check_sizes()
        if "id" in self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"MMMLP.modalities are distinct features beside the item rows, got {self.modalities}")
        if min(self.layers, self.feature_layers) < 1:
            raise ValueError(f"each branch needs a mixer, got {self.layers} and {self.feature_layers}")

    @property
    def reads(self) -> tuple[str, ...]:
        """Modalities that the method reads."""
        return ("id", *self.modalities)

    @property
    def scored_by(self) -> tuple[str, ...]:
        """Candidates are scored by their learned rows alone."""
        return ("id",)

    @property
    def history(self) -> int:
        """How many of a user's newest events it reads."""
        return self.length

    @property
    def per(self) -> Per:
        """A row per event, since mixing is not causal."""
        return "event"

    @property
    def negatives(self) -> Negatives:
        """The negatives its loss needs."""
        return Negatives(self.loss.per_step, self.loss.shared, getattr(self.loss, "by", "uniform"))

    def build(self, dataset: Dataset) -> MMMLPModel:
        """Branches for the dataset's items; raises ValueError when it lacks a modality."""
        read = features_of(dataset, self.modalities)
        frozen = [FrozenRows(feature_rows(f), torch.tensor(f.present), self.width) for f in read]
        tables: list[ItemTable] = [LearnedRows(dataset.n_items, self.width), *frozen]
        return MMMLPModel(self.sized(dataset.n_items), tables, dataset.n_items)


class MMMLPModel(VectorModel):
    """What an MMMLP value builds."""

    def __init__(self, value: MMMLP, tables: list[ItemTable], n_items: int) -> None:
        super().__init__()
        self.value, self.n_items = value, n_items
        self.tables = nn.ModuleList(tables)
        depths = [value.layers] + [value.feature_layers] * len(value.modalities)
        self.branches = nn.ModuleList(_Branch(value, depth) for depth in depths)
        joined = value.width * len(tables)
        self.fusion = nn.Sequential(nn.LayerNorm(joined, eps=1e-12), nn.Linear(joined, value.width))
        initialise(self)

    def start(self) -> None:
        """N(0, .02) for tables and linear maps, as in the official code (mixers start by themselves)."""
        for part in (*self.tables.modules(), *self.fusion.modules()):
            if isinstance(part, (nn.Embedding, nn.Linear)):
                nn.init.normal_(part.weight, std=0.02)
            if isinstance(part, nn.Embedding):
                nn.init.zeros_(part.weight[0])

    def users(self, batch: Batch) -> Tensor:
        """[B, d] after the newest events."""
        streams = zip(self.branches, self.tables, strict=True)
        newest = [branch(table(batch.items), batch.last) for branch, table in streams]
        # The item branch's norm a second time: the official code uses one object in both places.
        normed: Tensor = self.branches[0].norm(self.fusion(torch.cat(newest, dim=-1)))  # type: ignore[operator]
        return normed

    def items(self, rows: Tensor | None = None) -> Tensor:
        """The learned rows."""
        vectors: Tensor = self.tables[0](rows)
        return vectors

    def loss(self, batch: Batch) -> Tensor:
        """The value's loss at the newest steps."""
        negatives = batch.negatives if batch.negatives.dim() == 1 else batch.at_targets(batch.negatives)
        drawn = Drawn(negatives, batch.expected, self.n_items)
        return self.value.loss(self.users(batch), batch.at_targets(batch.targets), drawn, self.candidates)


class _Branch(nn.Module):
    """Layer norm and mixers of one modality: [B, L, d] and the columns ``last`` [B] -> [B, d] the newest steps."""

    def __init__(self, value: MMMLP, depth: int) -> None:
        super().__init__()
        self.depth, self.length = depth, value.length
        self.norm = nn.LayerNorm(value.width, eps=1e-12)
        mixers = 1 if value.share_depth else depth
        self.mixers = nn.ModuleList(Mixer(value.length, value.width, value.dropout) for _ in range(mixers))

    def forward(self, x: Tensor, last: Tensor) -> Tensor:
        x = self.norm(padded(x, self.length))
        mixers = [self.mixers[layer % len(self.mixers)] for layer in range(self.depth)]
        for mixer in mixers[:-1]:
            x = mixer(x)
        newest: Tensor = mixers[-1].newest(x, last)  # type: ignore[operator]
        return newest
