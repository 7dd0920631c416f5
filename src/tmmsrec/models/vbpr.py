"""VBPR (He and McAuley 2016): matrix factorisation whose items also stand in a space made from their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tmmsrec.data.batch import Batch
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.negatives import Negatives
from tmmsrec.models.base import VectorModel, features_of
from tmmsrec.models.pairs import PairMethod, bpr_of_pairs, items_of_pairs
from tmmsrec.nn.items import LearnedRows
from tmmsrec.nn.users import UserRows


@dataclass(frozen=True)
class VBPR(PairMethod):
    """Scores of He and McAuley 2016 (Eq. 4), trained by BPR; with texts beside pictures it is the paper's VBPR_ITV.

        x_ui = b_i + <g_u, g_i> + sum over modalities m of <t_u^m, E^m f_i^m> + <w^m, f_i^m>

    The global offset and the users' biases are left out: they cancel in every comparison of two items.  An item without a modality
    gets nothing from it; a new item, added after training, has g_i = 0 and b_i = 0 and stands by its features alone.

    Attributes:
        modalities: features that are read beside ids.
        width: of g, the latent factors.
        content_width: of t, the factors of each modality.
        shared_users: one t_u for all modalities (the reading that joins the features first: E [f; f'] = E f + E' f') instead of
            one for each.
        unit_rows: features are scaled to length one; the public codes take them as they are, which is the default.
        negatives_drawn: for each pair.
        rows, biases, maps: L2 penalties per triple on user and item rows, on item biases (a tenth of it on the negative's, as
            public codes have it), and per batch on E and w.
    """

    modalities: tuple[str, ...] = ("image",)
    width: int = 64
    content_width: int = 64
    shared_users: bool = False
    unit_rows: bool = False
    negatives_drawn: int = 1
    rows: float = 0.01
    biases: float = 0.01
    maps: float = 0.0

    source: ClassVar[str] = "VBPR 2016"

    @property
    def negatives(self) -> Negatives:
        """Uniform draws from what the user has not met."""
        return Negatives(per_step=self.negatives_drawn)

    def build(self, dataset: Dataset) -> VBPRModel:
        """Tables for the dataset's users and items; raises ValueError when it lacks a modality."""
        return VBPRModel(self, dataset.n_users, dataset.n_items, features_of(dataset, self.modalities))


class VBPRModel(VectorModel):
    """What a VBPR value builds."""

    def __init__(self, value: VBPR, n_users: int, n_items: int, features: list[Features]) -> None:
        super().__init__()
        self.value = value
        self.latent_users = UserRows(n_users, value.width)
        self.latent_items = LearnedRows(n_items, value.width)
        self.item_biases = LearnedRows(n_items, 1)
        tables = 1 if value.shared_users else len(features)
        self.content_users = nn.ModuleList(UserRows(n_users, value.content_width) for _ in range(tables if features else 0))
        self.content = nn.ModuleList(_Content(f, value) for f in features)
        for table in (self.latent_users, self.latent_items, *self.content_users):
            nn.init.xavier_uniform_(table.table.weight)
        with torch.no_grad():
            self.latent_items.table.weight[0] = 0
        nn.init.zeros_(self.item_biases.table.weight)

    def users(self, batch: Batch) -> Tensor:
        """[B, D]: g_u and a one, then t_u and a one for each modality."""
        one = torch.ones(len(batch.users), 1, device=batch.users.device)
        parts = [self.latent_users(batch.users), one]
        for at in range(len(self.content)):
            parts += [self.content_users[at if len(self.content_users) > 1 else 0](batch.users), one]
        return torch.cat(parts, dim=-1)

    def items(self, rows: Tensor | None = None) -> Tensor:
        """[..., D]: g_i and b_i, then E f_i and <w, f_i> for each modality."""
        return torch.cat([self.latent_items(rows), self.item_biases(rows), *[c(rows) for c in self.content]], dim=-1)

    def shares(self) -> dict[str, slice]:
        """Ids with the item's bias; each modality with its own."""
        first, wide = self.value.width + 1, self.value.content_width + 1
        found = {"id": slice(0, first)}
        for at, name in enumerate(self.value.modalities):
            found[name] = slice(first + at * wide, first + (at + 1) * wide)
        return found

    def biases(self) -> list[int]:
        """b_i and <w, f_i> of each modality: the last coordinate of each slice."""
        return [at.stop - 1 for at in self.shares().values()]

    def loss(self, batch: Batch) -> Tensor:
        """BPR, mean over triples, and the penalties."""
        users, items = self.users(batch), self.items(items_of_pairs(batch))
        return bpr_of_pairs(users, items) + self._penalty(users, items, batch.share)

    def _penalty(self, users: Tensor, items: Tensor, share: float) -> Tensor:
        """That of the maps is over no triples: where several processes share the batch, each counts its share of it."""
        width, negatives = self.value.width, items.shape[1] - 1
        ones = len(self.shares())  # each slice of a user's vector ends with a one
        rows = users.square().sum(1) - ones + items[:, 0, :width].square().sum(1)
        rows = rows + items[:, 1:, :width].square().sum((1, 2)) / negatives
        biases = items[:, 0, width].square() + items[:, 1:, width].square().sum(1) / negatives / 10
        maps = sum((c.map.weight.square().sum() for c in self.content), start=users.new_zeros(()))  # type: ignore[union-attr, operator]
        penalty: Tensor = (self.value.rows * rows + self.value.biases * biases).mean() / 2
        return penalty + share * self.value.maps / 2 * maps / len(users)


class _Content(nn.Module):
    """One modality's features and the map [E; w] of them, [width + 1, f]."""

    def __init__(self, features: Features, value: VBPR) -> None:
        super().__init__()
        rows = torch.tensor(features.rows, dtype=torch.float32) * torch.tensor(features.present)[:, None]
        self.register_buffer("features", nn.functional.normalize(rows) if value.unit_rows else rows, persistent=False)
        self.features: Tensor
        self.map = nn.Linear(features.width, value.content_width + 1, bias=False)
        nn.init.xavier_uniform_(self.map.weight[:-1])
        nn.init.xavier_uniform_(self.map.weight[-1:])

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """[..., width + 1]; zero where the modality is missing."""
        mapped: Tensor = self.map(self.features if rows is None else self.features[rows])
        return mapped
