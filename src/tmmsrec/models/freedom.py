"""FREEDOM: a frozen graph of similar items and a pruned graph of users and items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.data.batch import Batch
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import Part
from tmmsrec.models.base import features_of
from tmmsrec.models.on_graph import GraphModel
from tmmsrec.models.pairs import PairMethod, bpr_of_pairs, items_of_pairs
from tmmsrec.nn.graph import Edges, Memory, nearest, propagate


@dataclass(frozen=True)
class FREEDOM(PairMethod):
    """FREEDOM (Zhou and Shen 2023, "A Tale of Two Graphs").

        h = S^{L_i} E_item                          S: the mean over each item's nearest items, by features
        Z = mean of Z^0 .. Z^{L_u}, Z^{l+1} = A Z^l     A: users and items that met, 1/sqrt(d_u d_i)
        score = <Z_u, Z_i + h_i>

    Each epoch trains on a sample of A (``pruned``); evaluation, and training before the first ``begin_epoch``, read all of it.
    The loss is BPR, plus ``reg`` times BPR of the user's vector with the mapped features of the same items, for each modality.
    Without modalities this is LightGCN (He et al. 2020).

    Deviations: negatives are uniform over all items the user has not met, not only over items of the training events.  An item
    without a modality is nobody's neighbour in it, has the neighbours of its other modalities alone (itself, where it has none),
    and its pairs are left out of that modality's loss; the authors take a row of zeros, whose cosine is NaN.  The maps of the
    features have no bias unless ``bias`` says so: a bias cancels in the difference of two scores.

    Attributes:
        modalities: features that the item graph and the extra losses read; one, several, or none.
        width: d.
        neighbours: k, nearest items of each item and modality, itself among them.
        user_layers: L_u.
        item_layers: L_i; 0 leaves h out.
        pruned: share of the pairs that an epoch leaves out; the authors take .8 or .9.
        image_weight: of "image" in S where there are other modalities, which share the rest alike.
        reg: lambda, the weight of the losses on features; the authors choose among 0, 1e-5, 1e-4 and 1e-3.
        trainable_features: the losses on features train the features too, as the authors' code does; the graph does not follow.
        bias: the maps of the features have a bias, as in the authors' code.
    """

    modalities: tuple[str, ...] = ("text", "image")
    width: int = 128
    neighbours: int = 10
    user_layers: int = 2
    item_layers: int = 1
    pruned: float = 0.8
    image_weight: float = 0.1
    reg: float = 1e-3
    trainable_features: bool = True
    bias: bool = False

    source: ClassVar[str] = "FREEDOM 2023"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1 or self.user_layers < 0 or self.item_layers < 0:
            raise ValueError("FREEDOM needs neighbours of at least 1 and no negative number of layers")
        if not (0 <= self.pruned < 1 and 0 <= self.image_weight <= 1):
            raise ValueError(f"pruned lies in [0, 1) and image_weight in [0, 1], got {self.pruned} and {self.image_weight}")

    def weights(self) -> dict[str, float]:
        """What each modality weighs in the item graph; they add up to 1."""
        others = [m for m in self.modalities if m != "image"]
        if "image" not in self.modalities or not others:
            return {m: 1 / len(self.modalities) for m in self.modalities}
        return {m: self.image_weight if m == "image" else (1 - self.image_weight) / len(others) for m in self.modalities}

    def build(self, dataset: Dataset) -> FREEDOMModel:
        """Tables for the dataset's users and items; raises ValueError when it lacks a modality."""
        features_of(dataset, self.modalities)
        return FREEDOMModel(self, dataset)


class FREEDOMModel(GraphModel):
    """What a FREEDOM value builds."""

    def __init__(self, value: FREEDOM, dataset: Dataset) -> None:
        super().__init__(dataset, value.width)
        self.value, self.weights = value, value.weights()
        self.contents = nn.ModuleDict({m: _Content(dataset.features[m], value) for m in value.modalities})
        nn.init.xavier_uniform_(self.user_rows.table.weight)  # the authors' start
        with torch.no_grad():
            nn.init.xavier_uniform_(self.item_rows.table.weight[1:])
        self._sampled: Edges | None = None  # of this epoch
        self._all: Memory[Edges] = Memory()
        self._similar: Memory[list[tuple[Edges, Tensor]]] = Memory()

    def prepare(self, train: Part) -> None:
        """Take the training events as the graph, and find the items' neighbours."""
        super().prepare(train)
        self._sampled = None
        self.similar()

    def begin_epoch(self, seed: int) -> None:
        """Sample the pairs of this epoch."""
        self._sampled = self.met.edges(self.met.sample(1 - self.value.pruned, seed)) if self.value.pruned else None

    def tables(self) -> tuple[Tensor, Tensor]:
        """User vectors [U, d] and item vectors [I+1, d]."""
        if not self.training:
            self.similar()  # items that came after training find their neighbours, before it is asked what has changed
        return super().tables()

    def made(self) -> tuple[Tensor, Tensor]:
        """Z of users, and Z + h of items."""
        users, items = self.user_rows(), self.item_rows()
        met = self._sampled if self.training and self._sampled is not None else self._all.get([self.met.pairs], self.met.edges)
        z = propagate(met, torch.cat([users, items]), self.value.user_layers)
        return z[: len(users)], z[len(users) :] + self.similar_items(items)

    def similar_items(self, items: Tensor) -> Tensor:
        """S^{L_i} of rows [I+1, d]; zero without an item graph."""
        similar = self.similar()
        if not similar or not self.value.item_layers:
            return torch.zeros_like(items)
        for _ in range(self.value.item_layers):
            items = torch.stack([edges.sum(values, items) for edges, values in similar]).sum(0)
        return items

    def similar(self) -> list[tuple[Edges, Tensor]]:
        """S as a list of edges with values [E]: one per modality, and the items without any, each with itself.

        Values into an item add up to 1.
        """
        contents = self._contents()
        for content in contents.values():
            content.complete(self.item_rows.known)
        return self._similar.get([t for c in contents.values() for t in (c.neighbours, c.present)], self._similar_edges)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _similar_edges(self) -> list[tuple[Edges, Tensor]]:
        contents = self._contents()
        if not contents:
            return []
        has = {m: content.neighbours.any(1).float() for m, content in contents.items()}
        total = torch.stack([self.weights[m] * has[m] for m in contents]).sum(0)
        made = []
        for name, content in contents.items():
            edges = content.edges()
            of_item = self.weights[name] * has[name] / total.clamp_min(1e-12) / edges.into.clamp_min(1)
            made.append((edges, of_item[edges.targets]))
        # A modality of weight 0 alone places an item nowhere, as no modality does.
        alone = (total == 0).nonzero()[1:, 0]
        if len(alone):
            made.append((Edges.of(alone, alone, len(total), len(total)), torch.ones_like(alone, dtype=torch.float32)))
        return made

    def _contents(self) -> dict[str, _Content]:
        return {name: content for name, content in self.contents.items() if isinstance(content, _Content)}

    def loss(self, batch: Batch) -> Tensor:
        """BPR over the pairs, and ``reg`` times BPR of the features."""
        users, items = self.tables()
        chosen, rows = users[batch.users], items_of_pairs(batch)
        total = bpr_of_pairs(chosen, items[rows])
        for content in self._contents().values() if self.value.reg else ():
            both = content.present[rows].all(1)
            if both.any():
                total = total + self.value.reg * bpr_of_pairs(chosen[both], content(rows[both]))
        return total


class _Content(nn.Module):
    """One modality: its nearest items, frozen, and its features mapped to the width, for the loss.

    ``neighbours`` [I+1, k] is saved with the weights and never rebuilt; 0 where there are fewer.
    """

    def __init__(self, features: Features, value: FREEDOM) -> None:
        super().__init__()
        rows = torch.tensor(features.rows, dtype=torch.float32)
        self.register_buffer("features", rows, persistent=False)
        self.register_buffer("present", torch.tensor(features.present), persistent=False)
        self.register_buffer("neighbours", torch.zeros(len(rows), value.neighbours, dtype=torch.int64))
        self.features: Tensor
        self.present: Tensor
        self.neighbours: Tensor
        self.rows = None
        if value.trainable_features:
            self.rows = nn.Embedding(len(rows), rows.shape[1], padding_idx=0, _weight=rows.clone())
        self.map = nn.Linear(rows.shape[1], value.width, bias=value.bias)

    def forward(self, rows: Tensor) -> Tensor:
        """Mapped features [..., d] of the rows [...]."""
        found = functional.embedding(rows, self.features) if self.rows is None else self.rows(rows)
        mapped: Tensor = self.map(found)
        return mapped

    def complete(self, known: int) -> None:
        """Find the neighbours of items that have none yet: of all items at first, of new ones later.

        Only items 1..known may be neighbours: a row that training did not know says nothing of its item.
        """
        todo = (self.present & ~self.neighbours.any(1)).nonzero()[:, 0]
        among = self.present[: known + 1].nonzero()[:, 0]
        if len(todo) and len(among):
            self.neighbours[todo] = nearest(self.features, todo, among, self.neighbours.shape[1])

    def edges(self) -> Edges:
        """From each neighbour to its item."""
        at, place = self.neighbours.nonzero(as_tuple=True)
        return Edges.of(at, self.neighbours[at, place], len(self.neighbours), len(self.neighbours))
