"""What S3-Rec's attribute tasks predict of an item: its texts and pictures, as marks or as vectors.

S3-Rec's attributes are discrete (brand, categories).  The TMMSRec paper gives it "text features" and, as S3-Rec_ITV, pictures "in
the same way", and does not say how; ``Discrete`` makes attributes of them, ``Continuous`` predicts the features themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.stored import feature_rows
from tmmsrec.models.base import features_of
from tmmsrec.nn.items import FrozenRows

Task = Literal["aap", "map"]
Marks = NDArray[np.bool_]


class Attributes(ABC):
    """How contents become what is predicted: a value."""

    @abstractmethod
    def build(self, dataset: Dataset, modalities: Sequence[str], width: int) -> AttributeHeads:
        """The heads for a dataset's items; raises ValueError when it lacks a modality."""


class AttributeHeads(nn.Module, ABC):
    """From states to losses of attributes; a W for AAP and another for MAP, which nothing reads once pretraining is over."""

    @abstractmethod
    def loss(self, task: Task, states: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the losses of states [T, d] whose true items are [T], and the number of its terms; both scalars."""

    @abstractmethod
    def describe(self) -> dict[str, dict[str, float]]:
        """Modality -> how many attributes there are, how many items have some, and how sparse they are."""


@dataclass(frozen=True)
class Discrete(Attributes):
    """Marks: the words of an item's texts, and the centroids nearest to its picture.

    They depend on what an item is, not on its number.  An item without any attribute of a modality (no text, no picture) is no
    example of it: it is masked there, since "has none" is not known.

    Attributes:
        tokens: at most so many words, the most frequent ones.
        min_items: a word counts when it stands in so many items, and there are so many items for each centroid.
        centroids: K of k-means over the rows of image features, fewer where there are few items.
        nearest: how many of the nearest centroids an item is marked with, 1 to 3.
    """

    tokens: int = 512
    min_items: int = 5
    centroids: int = 64
    nearest: int = 1

    def __post_init__(self) -> None:
        if min(self.tokens, self.min_items, self.centroids, self.nearest) < 1:
            raise ValueError("Discrete: tokens, min_items, centroids and nearest must be at least 1")

    def build(self, dataset: Dataset, modalities: Sequence[str], width: int) -> AttributeHeads:
        """One block of marks per modality; "text" reads the item table, others their features."""
        blocks = {}
        for modality in modalities:
            if modality == "text":
                blocks[modality] = words(dataset, self.tokens, self.min_items)
            else:
                blocks[modality] = clusters(features_of(dataset, [modality])[0], self.centroids, self.nearest, self.min_items)
        return Marked(blocks, width)


@dataclass(frozen=True)
class Continuous(Attributes):
    """InfoNCE: the state's vector must find the item's own features among those of all items in the batch.

    A pair of heads (AAP, MAP) per modality, a linear map of its features where they are not d wide, cosines over the temperature;
    items without the modality are left out on both sides.

    Attributes:
        temperature: cosines are divided by it.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"Continuous.temperature must be above 0, got {self.temperature}")

    def build(self, dataset: Dataset, modalities: Sequence[str], width: int) -> AttributeHeads:
        """One map and two heads per modality; every modality reads its features."""
        tables = dict(zip(modalities, features_of(dataset, modalities), strict=True))
        return Projected(tables, width, self.temperature)


def words(dataset: Dataset, most: int, min_items: int) -> Marks:
    """[I+1, A] which words stand in the texts of each item: those of at least ``min_items`` items, the ``most`` frequent of them.

    Raises:
        ValueError: no item has a text, or no word stands in so many.
    """
    # Here, as they take longer to import than all else that a model needs.
    from sklearn.feature_extraction.text import CountVectorizer

    from tmmsrec.extract.templates import flatten

    try:
        texts = flatten(dataset.catalog.fields)
    except DataProblem:
        texts = []
    if not any(texts):
        raise ValueError(
            f"{dataset.name} has no item texts, which 'text' reads: run 'tmmsrec prepare' with text columns or leave 'text' out"
        )
    try:
        marks = CountVectorizer(binary=True, dtype=np.int32).fit_transform(texts).tocsr()
    except ValueError:  # its word for texts without one word of two letters
        marks = sparse.csr_array((len(texts), 0), dtype=np.int32)
    items_of = np.bincount(marks.indices, minlength=marks.shape[1])
    often = np.argsort(-items_of, kind="stable")  # words come in alphabetical order, which settles ties
    kept = np.sort(often[items_of[often] >= min_items][:most])
    if not len(kept):
        raise ValueError(f"no word of the item texts of {dataset.name} stands in {min_items} items: lower Discrete.min_items")
    whole = np.zeros((dataset.n_items + 1, len(kept)), dtype=np.bool_)
    whole[1:] = marks[:, kept].toarray() > 0
    return whole


def clusters(features: Features, centroids: int, nearest: int, min_items: int) -> Marks:
    """[I+1, K] the nearest centroids of each item that has the modality; K is at most one for ``min_items`` items."""
    from sklearn.cluster import MiniBatchKMeans

    at = np.flatnonzero(features.present)
    rows = np.ascontiguousarray(features.rows[at], dtype=np.float32)
    # In an order of their own, so that neither the centroids nor the rounding of distances know how items are numbered.
    order = np.argsort(rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0], kind="stable") if len(at) else at
    at, rows = at[order], rows[order]
    k = max(1, min(centroids, len(rows) // min_items))
    whole = np.zeros((len(features.rows), k), dtype=np.bool_)
    if len(rows):
        means = MiniBatchKMeans(n_clusters=k, random_state=0, n_init=3, batch_size=1024).fit(rows)
        close = np.argsort(means.transform(rows), axis=1, kind="stable")[:, :nearest]
        whole[at[:, None], close] = True
    return whole


class Marked(AttributeHeads):
    """Binary cross-entropy of s((W F) A^T) with every mark; A [A, d] is a learned row per attribute."""

    def __init__(self, blocks: dict[str, Marks], width: int) -> None:
        super().__init__()
        sizes = [block.shape[1] for block in blocks.values()]
        self.names, self.sizes = list(blocks), sizes
        marks = np.concatenate(list(blocks.values()), axis=1)
        known = np.stack([block.any(1) for block in blocks.values()], axis=1)
        # Not persistent: made of the catalogue whenever the model is built.
        self.register_buffer("marks", torch.from_numpy(marks), persistent=False)
        self.register_buffer("known", torch.from_numpy(known), persistent=False)
        self.register_buffer("block", torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)), persistent=False)
        self.marks: Tensor
        self.known: Tensor
        self.block: Tensor
        self.rows = nn.Embedding(marks.shape[1], width)
        self.heads = nn.ModuleDict({task: nn.Linear(width, width) for task in ("aap", "map")})

    def loss(self, task: Task, states: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Summed over states and attributes; an attribute of a modality that the item lacks is left out."""
        scores = self.heads[task](states) @ self.rows.weight.T
        asked = self.known[items][:, self.block]
        each = functional.binary_cross_entropy_with_logits(scores, self.marks[items].to(scores), reduction="none")
        return (each * asked).sum(), asked.sum()

    def describe(self) -> dict[str, dict[str, float]]:
        """See ``AttributeHeads.describe``; sparsity is the share of empty places among the items that have some."""
        told = {}
        for n, (name, size) in enumerate(zip(self.names, self.sizes, strict=True)):
            has = self.known[1:, n]
            marked = float(self.marks[1:][:, self.block == n].sum())
            items = int(has.sum())
            each = marked / max(1, items)
            told[name] = {"attributes": size, "items": items, "per_item": each, "sparsity": 1 - each / max(1, size)}
        return told

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        # New items may bring new words; the rows that were learned are kept as they are: only pretraining reads them.
        held = state.get(prefix + "rows.weight")
        if held is not None and held.shape[0] != self.rows.num_embeddings:
            self.rows = nn.Embedding(held.shape[0], held.shape[1]).to(self.rows.weight.device)
        super()._load_from_state_dict(state, prefix, *rest)


class Projected(AttributeHeads):
    """InfoNCE between W F and the mapped features, one pair of heads for each modality."""

    def __init__(self, tables: dict[str, Features], width: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        rows = {m: FrozenRows(feature_rows(f), torch.tensor(f.present), width) for m, f in tables.items()}
        self.tables = nn.ModuleDict(rows)
        self.heads = nn.ModuleDict({f"{t}_{m}": nn.Linear(width, width) for m in tables for t in ("aap", "map")})

    def loss(self, task: Task, states: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Summed over states and modalities."""
        total, count = states.sum() * 0, torch.zeros((), dtype=torch.int64, device=items.device)
        for modality, table in self._named():
            has = table.has(items)
            candidates, own = torch.unique(items[has], return_inverse=True)
            if not len(candidates):
                continue
            keys = functional.normalize(table(candidates), dim=-1)
            asked = functional.normalize(self.heads[f"{task}_{modality}"](states[has]), dim=-1)
            total = total + functional.cross_entropy(asked @ keys.T / self.temperature, own, reduction="sum")
            count = count + len(own)
        return total, count

    def describe(self) -> dict[str, dict[str, float]]:
        """See ``AttributeHeads.describe``."""
        told = {}
        for name, table in self._named():
            told[name] = {"attributes": table.features.shape[1], "items": int(table.present.sum()), "sparsity": 0.0}
        return told

    def _named(self) -> list[tuple[str, FrozenRows]]:
        return [(name, table) for name, table in self.tables.items() if isinstance(table, FrozenRows)]
