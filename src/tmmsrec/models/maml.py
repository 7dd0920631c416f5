"""MAML (Liu et al. 2019): a distance of user and item in which attention to text and picture weighs every coordinate anew."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from tmmsrec.data.batch import Batch
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.negatives import Negatives
from tmmsrec.models.base import Model, features_of
from tmmsrec.models.pairs import PairMethod, items_of_pairs
from tmmsrec.nn.dropout import Dropout
from tmmsrec.nn.graph import Memory
from tmmsrec.nn.items import LearnedRows
from tmmsrec.nn.users import UserRows

# Pairs scored at a time, each with 5 d numbers of a hidden layer: what a core's cache holds, and what keeps a device busy.
_PAIRS, _PAIRS_ON_DEVICE = 1 << 10, 1 << 16
_USERS = 16  # most users at a time; a taller block would write its scores in shorter pieces


@dataclass(frozen=True)
class MAML(PairMethod):
    """Multimodal attentive metric learning, arXiv 1908.07738.

        D(u, i) = |a * p_u - a * q_i|^2,   a = d softmax(relu(W' tanh(W [p_u; q_i; f_i] + b) + b'))

    with f_i = f(text and picture of i), and a loss of three parts: a margin between the pair and the nearest of some negatives,
    weighed by how many are too near; f_i near q_i for every item; little covariance between coordinates.  The parts keep the
    weights that the authors' code sums them with; their sum is divided by the number of pairs, which leaves its minimum in place.

    The authors' code trains nothing but the tables of users and items and never switches dropout on; here everything is trained
    and dropout is on, as the paper means it, unless ``freeze_networks``.  An item without a modality has zeros in its part of x_i;
    one without any is left out of the part that pulls.  A new item, added after training, has f_i for q_i, where training would
    have pulled it; a row of zeros is no place for an item.

    Attributes:
        modalities: features, laid side by side.
        width: d.
        hidden: h of the projector f -> h -> h/2 -> h/2 -> d.
        margin: by which a positive must be nearer than the nearest negative.
        negatives_drawn: W, for each pair.
        feature_weight: of the part that pulls q_i to f_i.
        covariance_weight: of the covariance part.
        covariance: "squared" off-diagonal entries, as published for metric learning; "signed" sums them as the code does.
        pulled: the items of the feature part: "all" of them at every step, as published, or those of the "batch", whose mean stands
            for all; the former is most of a step where items are many and pairs few.
        dropout: in the projector.
        attention_dropout: before the second attention layer.
        unit_modalities: each modality scaled to length one before all are scaled together, so that the longer does not rule.
        freeze_networks: only the tables are trained, and nothing is dropped, as in the authors' code.
    """

    modalities: tuple[str, ...] = ("text", "image")
    width: int = 128
    hidden: int = 256
    margin: float = 1.6
    negatives_drawn: int = 4
    feature_weight: float = 5.0
    covariance_weight: float = 5.0
    covariance: Literal["squared", "signed"] = "squared"
    pulled: Literal["all", "batch"] = "all"
    dropout: float = 0.2
    attention_dropout: float = 0.05
    unit_modalities: bool = False
    freeze_networks: bool = False

    source: ClassVar[str] = "MAML 2019"
    inner_product: ClassVar[bool] = False
    only_with_features: ClassVar[bool] = True

    @property
    def negatives(self) -> Negatives:
        """Uniform draws from what the user has not met."""
        return Negatives(per_step=self.negatives_drawn)

    def build(self, dataset: Dataset) -> MAMLModel:
        """Tables for the dataset's users and items; raises ValueError when it lacks a modality."""
        return MAMLModel(self, dataset.n_users, dataset.n_items, features_of(dataset, self.modalities))


class MAMLModel(Model):
    """What a MAML value builds."""

    def __init__(self, value: MAML, n_users: int, n_items: int, features: list[Features]) -> None:
        super().__init__()
        self.value, self.n_items = value, n_items
        self.user_rows = UserRows(n_users, value.width)
        self.item_rows = LearnedRows(n_items, value.width)
        self.projector = _Projector(value, features)
        self.attention = _Attention(value)
        self._scored: Memory[_Side] = Memory()
        self._known = n_items
        self._start()
        for network in (self.projector, self.attention):
            network.requires_grad_(not value.freeze_networks)

    def _start(self) -> None:
        """Items stand where the untrained projector puts them, those without features and users at random; all within the ball."""
        width = self.value.width
        for table in (self.user_rows.table, self.item_rows.table):
            nn.init.normal_(table.weight, std=1 / math.sqrt(width))
        with torch.no_grad():
            has = self.projector.present[:, None]
            self.item_rows.table.weight.copy_(torch.where(has, self.projector.eval()(), self.item_rows.table.weight))
            self.item_rows.table.weight[0] = 0
        self.projector.train()
        self.after_step()

    @torch.no_grad()
    def after_step(self) -> None:
        """Rows longer than one are cut to one; what was kept of the items is forgotten, as a fused optimiser counts no versions."""
        self._scored.drop()
        for table in (self.user_rows.table, self.item_rows.table):
            table.weight.copy_(_within_ball(table.weight))

    def train(self, mode: bool = True) -> MAMLModel:
        """Forget what the last evaluation kept of the items."""
        self._scored.drop()
        super().train(mode)
        return self

    def loss(self, batch: Batch) -> Tensor:
        """The margin, feature and covariance parts of a batch of pairs; of the last two, which are over items, its share."""
        value = self.value
        rows = items_of_pairs(batch)
        pulled, at = (None, rows) if value.pulled == "all" else torch.unique(rows, return_inverse=True)
        items, content, present = self.item_rows(pulled), self.projector(pulled), self.projector.present
        users = self.attention.of_users(self.user_rows(batch.users)[:, None])
        away: Tensor = self.attention(users, self.attention.of_items(items[at], content[at]))
        pairs: Tensor = ranked_hinge(away[:, 0], away[:, 1:], value.margin, self.n_items).sum()
        held = present if pulled is None else present[pulled]
        stand_for = present.sum() / held.sum().clamp_min(1)  # one, where all are pulled
        whole = value.feature_weight * stand_for * ((items - content).square().sum(1) * held).sum()
        stacked = torch.cat([self.item_rows()[1:], self.user_rows()])
        whole = whole + value.covariance_weight * covariance(stacked, squared=value.covariance == "squared")
        total: Tensor = pairs + batch.share * whole
        return total / len(batch.users)

    @torch.no_grad()
    def score(self, batch: Batch) -> Tensor:
        """[B, I+1] distances with the sign turned, a block of users and items at a time; no gradient passes."""
        users, items = self.attention.of_users(self.user_rows(batch.users)[:, None]), self._items()
        scores = items.rows.new_empty(len(users.rows), items.rows.shape[1])
        high = min(_USERS, max(1, len(scores)))
        wide = max(1, (_PAIRS if scores.device.type == "cpu" else _PAIRS_ON_DEVICE) // high)
        for top in range(0, scores.shape[0], high):
            some = users.at(slice(top, top + high))
            for left in range(0, scores.shape[1], wide):
                block = slice(left, left + wide)
                scores[top : top + high, block] = -self.attention(some, items.at((slice(None), block)))
        return scores

    def _items(self) -> _Side:
        """All items [1, I+1]; in evaluation kept until training goes on, a parameter changes, or items are added."""
        if self.training:
            return self._items_made()
        if self._known != self.item_rows.known:
            self._scored.drop()
            self._known = self.item_rows.known
        return self._scored.get([*self.parameters(), *self.buffers()], self._items_made)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _items_made(self) -> _Side:
        content, rows = self.projector(), self.item_rows()
        # An item that came after training has no row of its own: it stands where its features put it, as training pulls all rows.
        late = torch.arange(len(rows), device=rows.device) > self.item_rows.known
        return self.attention.of_items(torch.where(late[:, None], content, rows)[None], content[None])


class _Projector(nn.Module):
    """f: four layers from the joint features to d; each of the first three reads rows of length one."""

    def __init__(self, value: MAML, features: list[Features]) -> None:
        super().__init__()
        rows = [torch.tensor(f.rows, dtype=torch.float32) * torch.tensor(f.present)[:, None] for f in features]
        if value.unit_modalities:
            rows = [normalize(one) for one in rows]
        self.register_buffer("features", normalize(torch.cat(rows, dim=1)), persistent=False)
        self.register_buffer("present", torch.stack([torch.tensor(f.present) for f in features]).any(0), persistent=False)
        self.features: Tensor
        self.present: Tensor
        h = value.hidden
        sizes = (self.features.shape[1], h, h // 2, h // 2, value.width)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.dropout = Dropout(0.0 if value.freeze_networks else value.dropout)
        _glorot(self)

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """[n, d] of the rows [n], or [I+1, d] of all items; no longer than one."""
        first, second, third, last = self.layers
        x = self.dropout(torch.relu(first(self.features if rows is None else self.features[rows])))
        x = self.dropout(torch.relu(second(normalize(x))))
        x = self.dropout(torch.relu(third(normalize(x))))
        return _within_ball(last(x))


@dataclass(frozen=True, eq=False)
class _Side:
    """Users or items as the attention of a pair needs them, so that a pair costs no product with the first layer.

    Attributes:
        rows: [..., d] p or q.
        mixed: [..., 5d] W_p p, or W_q q + W_f f.
        square: [...] |p|^2, or |q|^2 + |f|^2.
    """

    rows: Tensor
    mixed: Tensor
    square: Tensor

    def at(self, which: slice | tuple[slice, slice]) -> _Side:
        """Some of them."""
        return _Side(self.rows[which], self.mixed[which], self.square[which])


class _Attention(nn.Module):
    """Distances of pairs, each coordinate weighed by attention to user, item and content.

    The first layer reads [p; q; f] scaled to length one, which is (W_p p + W_q q + W_f f) / |[p; q; f]|: products for each user
    and each item alone.  What is left for a pair are 5 d^2 multiplications in the second.
    """

    def __init__(self, value: MAML) -> None:
        super().__init__()
        d = value.width
        self.first = nn.Linear(3 * d, 5 * d)
        self.second = nn.Linear(5 * d, d)
        self.dropout = Dropout(0.0 if value.freeze_networks else value.attention_dropout)
        _glorot(self)

    def of_users(self, rows: Tensor) -> _Side:
        """Of p [..., d]."""
        d = rows.shape[-1]
        return _Side(rows, linear(rows, self.first.weight[:, :d]), rows.square().sum(-1))

    def of_items(self, rows: Tensor, content: Tensor) -> _Side:
        """Of q and f, both [..., d]."""
        joined = torch.cat([rows, content], dim=-1)
        return _Side(rows, linear(joined, self.first.weight[:, rows.shape[-1] :]), joined.square().sum(-1))

    def weights(self, users: _Side, items: _Side) -> Tensor:
        """[B, K, d], mean 1 over d, of users [B, 1] with items [B or 1, K]."""
        shrink = (users.square + items.square).clamp_min(1e-24).rsqrt()
        hidden: Tensor = self.dropout(torch.addcmul(self.first.bias, users.mixed + items.mixed, shrink[..., None]).tanh_())
        # Scaled to length one after the product, not before it: d numbers for a pair instead of 5 d.
        length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True).clamp_min(1e-12)
        logits = torch.relu(linear(hidden, self.second.weight) / length + self.second.bias)
        return logits.shape[-1] * logits.softmax(-1)

    def forward(self, users: _Side, items: _Side) -> Tensor:
        """[B, K] squared distances."""
        return (self.weights(users, items) * (users.rows - items.rows)).square().sum(-1)


def ranked_hinge(positive: Tensor, negative: Tensor, margin: float, n_items: int) -> Tensor:
    """[B] hinge on the nearest negative, times log(1 + the rank that the share of too near negatives stands for).

    Distances positive [B] and negative [B, W]; no gradient passes through the rank.
    """
    over = margin + positive[:, None] - negative
    rank = n_items * (over > 0).to(over).mean(1)
    return torch.log1p(rank) * over.amax(1).clamp_min(0)


def covariance(rows: Tensor, *, squared: bool) -> Tensor:
    """The off-diagonal entries of the covariance of rows [n, d]: their squares over n, or their signed sum."""
    centred = rows - rows.mean(0)
    table = centred.T @ centred / len(rows)
    if squared:
        table = table.square() / len(rows)
    off: Tensor = table.sum() - table.diagonal().sum()
    return off


def _within_ball(rows: Tensor) -> Tensor:
    within: Tensor = rows / rows.norm(dim=-1, keepdim=True).clamp_min(1.0)
    return within


def _glorot(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
