"""MGAT: gated attention over the graph of users and items, in each modality apart."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.data.batch import Batch
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.models.base import features_of
from tmmsrec.models.on_graph import GraphModel
from tmmsrec.models.pairs import PairMethod, bpr_of_pairs, items_of_pairs
from tmmsrec.nn.graph import Edges, Memory
from tmmsrec.nn.users import UserRows


@dataclass(frozen=True)
class MGAT(PairMethod):
    """MGAT (Tao et al. 2020, "MGAT: Multimodal Graph Attention Network for Recommendation").

    In each modality, with nodes for users and items and an edge both ways for every distinct pair of the training events:

        x0 = [a learned row of each user; tanh(W f_i + b)], each of length 1;   z = x0 W_g
        p_ij = <z_i, LeakyReLU(z_j)>, for an edge from j to i;   g_ij = s(p_ij / sqrt(degree of j))
        a_ij = softmax over the edges into i of p_ij g_ij;   o_i = sum_j a_ij z_j + b_g, at length 1
        x1 = LeakyReLU(W_q LeakyReLU(o) + b_q + LeakyReLU(W_l x0 + b_l) + id)

    A node's vector is the mean of x1 over the modalities, the score an inner product.  All of it is made anew for every batch.

    Deviations: an item without a modality has no edges in it, and its vector is the mean over the modalities it has (over all,
    with rows of zeros for features, where it has none).  The loss is the mean of natural logarithms; the authors sum logarithms
    to base 2, which binds the weight decay to the batch: ``loss="sum"``.  Their L2 penalty of .1 (or 0) on all parameters is
    the optimiser's: ``Training.optimiser.weight_decay``.  Negatives are items that the user has not met in training.

    Attributes:
        modalities: features that are read, one at least.
        width: d.
        inner: the width of each modality inside, in their order; the authors take 100 for text and 256 for images.
        layers: 1, as the authors' code computes; 2 repeats the layer on x1 and lays [x1; x2] side by side, as the paper's text
            may be read, with scores of 2d coordinates.
        loss: "mean", or "sum" over the batch of logarithms to base 2.
    """

    modalities: tuple[str, ...] = ("text", "image")
    width: int = 128
    inner: tuple[int, ...] = (100, 256)
    layers: Literal[1, 2] = 1
    loss: Literal["mean", "sum"] = "mean"

    source: ClassVar[str] = "MGAT 2020"
    only_with_features: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.inner) != len(self.modalities):
            raise ValueError(f"inner needs a width for each of {self.modalities}, got {self.inner}")
        if self.layers not in (1, 2):
            raise ValueError(f"MGAT has 1 or 2 layers, got {self.layers}")

    def reading(self, features: Collection[str]) -> MGAT:
        """The widths inside go along."""
        kept = {m: inner for m, inner in zip(self.modalities, self.inner, strict=True) if m in features}
        return replace(self, modalities=tuple(kept), inner=tuple(kept.values()))

    def build(self, dataset: Dataset) -> MGATModel:
        """Tables for the dataset's users and items; raises ValueError when it lacks a modality."""
        features_of(dataset, self.modalities)
        return MGATModel(self, dataset)


class MGATModel(GraphModel):
    """What an MGAT value builds: vectors of d coordinates, or of 2d with two layers."""

    def __init__(self, value: MGAT, dataset: Dataset) -> None:
        super().__init__(dataset, value.width)
        self.value = value
        self.networks = nn.ModuleList(
            _Network(dataset.features[m], dataset.n_users, inner, value)
            for m, inner in zip(value.modalities, value.inner, strict=True)
        )
        # Users and items share one table in the source, so its Xavier start is that of U + I rows.
        spread = math.sqrt(2 / (dataset.n_users + dataset.n_items + value.width))
        nn.init.normal_(self.user_rows.table.weight, std=spread)
        with torch.no_grad():
            nn.init.normal_(self.item_rows.table.weight[1:], std=spread)
        self._edges: Memory[list[Edges]] = Memory()

    def edges(self) -> list[Edges]:
        """For each modality the edges between users and the items that have it."""
        networks = self._networks()
        return self._edges.get([self.met.pairs, *(n.present for n in networks)], self._edges_made)

    @torch.inference_mode(False)
    def _edges_made(self) -> list[Edges]:
        pairs = self.met.pairs
        return [self.met.edges(pairs[n.present[pairs[:, 1]]]) for n in self._networks()]

    def made(self) -> tuple[Tensor, Tensor]:
        """The mean over modalities, for an item over those that it has."""
        ids, n_users = torch.cat([self.user_rows(), self.item_rows()]), self.met.n_users
        networks = self._networks()
        found = torch.stack([network(ids, edges) for network, edges in zip(networks, self.edges(), strict=True)])
        has = torch.stack([network.present for network in networks])
        has = has | ~has.any(0)
        has[:, 0] = False  # padding
        share = has.to(found) / has.sum(0).clamp_min(1)
        return found[:, :n_users].mean(0), (found[:, n_users:] * share[..., None]).sum(0)

    def _networks(self) -> list[_Network]:
        return [n for n in self.networks if isinstance(n, _Network)]

    def loss(self, batch: Batch) -> Tensor:
        """BPR over the pairs."""
        users, items = self.tables()
        mean = bpr_of_pairs(users[batch.users], items[items_of_pairs(batch)])
        # A sum is over the whole batch, also where several processes share it.
        return mean if self.value.loss == "mean" else mean * (len(batch.users) / batch.share / math.log(2))


class _Network(nn.Module):
    """One modality: (ids [n, d], edges) -> [n, d or 2d] over n = U + I + 1 nodes."""

    def __init__(self, features: Features, n_users: int, inner: int, value: MGAT) -> None:
        super().__init__()
        self.register_buffer("features", torch.tensor(features.rows, dtype=torch.float32), persistent=False)
        self.register_buffer("present", torch.tensor(features.present), persistent=False)
        self.features: Tensor
        self.present: Tensor
        self.preferences = UserRows(n_users, inner)
        self.entry = nn.Linear(features.width, inner)
        self.layers = nn.ModuleList(_Layer(inner if at == 0 else value.width, value.width) for at in range(value.layers))
        # The authors' start: Xavier normal for the matrices; the biases keep torch's.
        for matrix in (self.preferences.table.weight, self.entry.weight):
            nn.init.xavier_normal_(matrix)

    def forward(self, ids: Tensor, edges: Edges) -> Tensor:
        items = torch.tanh(self.entry(self.features)) * self.present[:, None]
        x = functional.normalize(torch.cat([self.preferences(), items]), dim=-1)
        found = []
        for layer in self.layers:
            x = layer(x, ids, edges)
            found.append(x)
        return torch.cat(found, dim=-1)


class _Layer(nn.Module):
    """Attention and what goes around it: x [n, L] -> [n, d]."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inner, inner))
        self.bias = nn.Parameter(torch.empty(inner))
        self.attended = nn.Linear(inner, width)
        self.direct = nn.Linear(inner, width)
        for matrix in (self.weight, self.attended.weight, self.direct.weight):
            nn.init.xavier_normal_(matrix)
        nn.init.uniform_(self.bias, -1 / math.sqrt(inner), 1 / math.sqrt(inner))

    def forward(self, x: Tensor, ids: Tensor, edges: Edges) -> Tensor:
        around = functional.leaky_relu(self.direct(x)) + ids
        return functional.leaky_relu(self.attended(functional.leaky_relu(self.convolve(x, edges))) + around)

    def convolve(self, x: Tensor, edges: Edges) -> Tensor:
        """[n, L] rows of length 1; the bias alone where no edge comes in."""
        z = (x @ self.weight).float()
        return functional.normalize(edges.sum(self.attention(z, edges), z) + self.bias, dim=-1)

    def attention(self, z: Tensor, edges: Edges) -> Tensor:
        """[E] weights that add up to 1 over the edges into each node."""
        product = edges.dot(z, functional.leaky_relu(z))
        gate = torch.sigmoid(product * edges.out[edges.sources].to(z).rsqrt())
        return edges.softmax(product * gate)
