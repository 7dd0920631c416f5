"""MAML (Liu et al. 2019): a distance of user and item in which attention to text and picture weighs every coordinate anew."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tmmsrec.data.batch import Batch, Negatives, Per
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.models.base import Method, Model, features_of
from tmmsrec.nn.dropout import Dropout
from tmmsrec.nn.items import LearnedRows
from tmmsrec.nn.users import UserRows

_PAIRS = 1 << 14  # scored at a time: 5 d numbers each for the hidden layer, 41 MB at d = 126


@dataclass(frozen=True)
class MAML(Method):
    """Multimodal attentive metric learning, arXiv 1908.07738.

        D(u, i) = |a * p_u - a * q_i|^2,   a = d softmax(relu(W' tanh(W [p_u; q_i; f_i] + b) + b'))

    with f_i = f(text and picture of i), and a loss of three parts: a margin between the pair and the nearest of some negatives,
    weighed by how many are too near; f_i near q_i for every item; little covariance between coordinates.  The parts keep the
    weights that the authors' code sums them with; their sum is divided by the number of pairs, which leaves its minimum in place.

    The authors' code trains nothing but the tables of users and items and never switches dropout on; here everything is trained
    and dropout is on, as the paper means it, unless ``freeze_networks``.

    Attributes:
        modalities: features, laid side by side.
        width: d.
        hidden: h of the projector f -> h -> h/2 -> h/2 -> d.
        margin: by which a positive must be nearer than the nearest negative.
        negatives_drawn: W, for each pair.
        feature_weight: of the part that pulls q_i to f_i.
        covariance_weight: of the covariance part.
        covariance: "squared" off-diagonal entries, as published for metric learning; "signed" sums them as the code does.
        dropout: in the projector.
        attention_dropout: before the second attention layer.
        unit_modalities: each modality scaled to length one before all are scaled together, so that the longer does not rule.
        freeze_networks: only the tables are trained.
    """

    modalities: tuple[str, ...] = ("text", "image")
    width: int = 128
    hidden: int = 256
    margin: float = 1.6
    negatives_drawn: int = 4
    feature_weight: float = 5.0
    covariance_weight: float = 5.0
    covariance: Literal["squared", "signed"] = "squared"
    dropout: float = 0.2
    attention_dropout: float = 0.05
    unit_modalities: bool = False
    freeze_networks: bool = False

    source: ClassVar[str] = "Liu et al. 2019 (MAML)"
    inner_product: ClassVar[bool] = False
    reads_users: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.modalities or "id" in self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"MAML.modalities names distinct features, at least one, got {self.modalities}")

    @property
    def reads(self) -> tuple[str, ...]:
        """Ids and the named features."""
        return ("id", *self.modalities)

    @property
    def history(self) -> int:
        """None: users are known by their rows."""
        return 0

    @property
    def per(self) -> Per:
        """Pairs of user and item."""
        return "event"

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
        """Rows longer than one are cut to one."""
        for table in (self.user_rows.table, self.item_rows.table):
            table.weight.copy_(_within_ball(table.weight))

    def loss(self, batch: Batch) -> Tensor:
        """The margin, feature and covariance parts of a batch of pairs."""
        value, pairs = self.value, len(batch.users)
        rows = torch.cat([batch.targets, batch.negatives[:, 0]], dim=1)
        content = self.projector()
        users = self.user_rows(batch.users)
        away = self.attention(users[:, None], self.item_rows(rows), content[rows])
        total = ranked_hinge(away[:, 0], away[:, 1:], value.margin, self.n_items).sum()
        apart = (self.item_rows() - content).square().sum(1)
        total = total + value.feature_weight * (apart * self.projector.present).sum()
        stacked = torch.cat([self.item_rows()[1:], self.user_rows()])
        total = total + value.covariance_weight * covariance(stacked, squared=value.covariance == "squared")
        mean: Tensor = total / pairs
        return mean

    def score(self, batch: Batch) -> Tensor:
        """[B, I+1] distances with the sign turned, made for some thousand pairs at a time."""
        users, content = self.user_rows(batch.users), self.projector()
        # An item that came after training has no row of its own: it stands where its features put it, as training pulls all rows.
        late = torch.arange(self.n_items + 1, device=users.device) > self.item_rows.known
        items = torch.where(late[:, None], content, self.item_rows())
        scores: Tensor = users.new_empty(len(users), len(items))
        step = max(1, _PAIRS // max(1, len(users)))
        for start in range(0, len(items), step):
            block = slice(start, start + step)
            scores[:, block] = -self.attention(users[:, None], items[None, block], content[None, block])
        return scores


class _Projector(nn.Module):
    """f: four layers from the joint features to d; each of the first three reads rows of length one."""

    def __init__(self, value: MAML, features: list[Features]) -> None:
        super().__init__()
        rows = [torch.tensor(f.rows) for f in features]
        if value.unit_modalities:
            rows = [normalize(one) for one in rows]
        self.register_buffer("features", normalize(torch.cat(rows, dim=1)), persistent=False)
        self.register_buffer("present", torch.stack([torch.tensor(f.present) for f in features]).any(0), persistent=False)
        self.features: Tensor
        self.present: Tensor
        h = value.hidden
        sizes = (self.features.shape[1], h, h // 2, h // 2, value.width)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.dropout = Dropout(value.dropout)
        _glorot(self)

    def forward(self) -> Tensor:
        """[I+1, d] of all items, no longer than one."""
        first, second, third, last = self.layers
        x = self.dropout(torch.relu(first(self.features)))
        x = self.dropout(torch.relu(second(normalize(x))))
        x = self.dropout(torch.relu(third(normalize(x))))
        return _within_ball(last(x))


class _Attention(nn.Module):
    """Distances of pairs, each coordinate weighed by attention to user, item and content."""

    def __init__(self, value: MAML) -> None:
        super().__init__()
        d = value.width
        self.first = nn.Linear(3 * d, 5 * d)
        self.second = nn.Linear(5 * d, d)
        self.dropout = Dropout(value.attention_dropout)
        _glorot(self)

    def weights(self, users: Tensor, items: Tensor, content: Tensor) -> Tensor:
        """[B, K, d], mean 1 over d, of users [B, 1, d] with items and content [B or 1, K, d]."""
        # [p; q; f] has length one, so the first layer is (W_p p + W_q q + W_f f) / |[p; q; f]| + b: a product for each user and
        # each item, not for each pair.
        of_user, of_item, of_content = self.first.weight.chunk(3, dim=1)
        length = (users.square().sum(-1) + items.square().sum(-1) + content.square().sum(-1)).sqrt().clamp_min(1e-12)
        mixed = users @ of_user.T + (items @ of_item.T + content @ of_content.T)
        hidden = self.dropout(torch.tanh(mixed / length[..., None] + self.first.bias))
        logits = torch.relu(self.second(normalize(hidden, dim=-1)))
        weights: Tensor = logits.shape[-1] * logits.softmax(-1)
        return weights

    def forward(self, users: Tensor, items: Tensor, content: Tensor) -> Tensor:
        """[B, K] squared distances."""
        distances: Tensor = (self.weights(users, items, content) * (users - items)).square().sum(-1)
        return distances


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
