"""What a Recommender stands on at one moment.  New items make a new State; an answer under way keeps the one it began with."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from tmmsrec.data.batch import Batch
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem
from tmmsrec.models.base import Method, Model, VectorModel, with_beside
from tmmsrec.nn.beside import Beside
from tmmsrec.nn.items import LearnedRows
from tmmsrec.recommender.asking import NOBODY, Asked, now_seconds, of_known
from tmmsrec.recommender.filtering import Filters
from tmmsrec.recommender.people import People
from tmmsrec.recommender.search import Index
from tmmsrec.scoring import device_of

_BLOCK = 1 << 16  # item vectors that are made together


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of a batch.

    Attributes:
        scores: [B, I+1].
        users: [B, D] user vectors; None for a model whose score is no inner product.
        state: what scored.
        beside: what of the scores stands beside the inner product, by its name.
    """

    scores: Tensor
    users: Tensor | None
    state: State
    beside: dict[str, Beside] = field(default_factory=dict)

    basis: ClassVar[Literal["model", "popularity"]] = "model"

    def shares(self, rows: Tensor) -> dict[str, Tensor]:
        """Modality -> its part of the scores of items [B, k]; the parts add up to the scores."""
        model, vectors = self.state.model, self.state.vectors
        if self.users is None or vectors is None or not isinstance(model, VectorModel):
            return {"all": self.scores.gather(1, rows)}
        beside = {name: one.at(rows) for name, one in self.beside.items()}
        return {**model.shares_between(self.users, vectors[rows]), **beside}


@dataclass(frozen=True, eq=False)
class State:
    """A method, its trained model and the data it knows.

    Attributes:
        method: the value the model was built from.
        model: in evaluation mode; it has observed the whole log.
        dataset: the items, and the log without the events that came later.
        trained: items 1..trained were there when the model was trained; later ones have no learned row.
        trained_users: so were the users 0..trained_users-1; -1 for all of the log's.
        people: the known users and their histories, events that came later included; the log's if not given.  It is shared by the
            States that follow one another, for item rows never change: an earlier one reads of a history only what happened with
            items that it has.
        index: finds candidates where a question allows it; None where every item is scored.
    """

    method: Method
    model: Model
    dataset: Dataset
    trained: int
    trained_users: int = -1
    people: People = None  # type: ignore[assignment]
    index: Index | None = None

    def __post_init__(self) -> None:
        if self.people is None:
            object.__setattr__(self, "people", People(self.dataset.users, self.dataset.interactions))
        if self.trained_users < 0:
            object.__setattr__(self, "trained_users", self.dataset.n_users)

    @cached_property
    def device(self) -> torch.device:
        """Where the model lies."""
        return device_of(self.model)

    @cached_property
    def vectors(self) -> Tensor | None:
        """[I+1, D] item vectors, made once; None for a model whose score is no inner product.

        Raises:
            DataProblem: they hold NaN or infinity, or do not fit the catalogue.
        """
        if not isinstance(self.model, VectorModel):
            return None
        with torch.inference_mode():
            vectors = _gathered(self.model.item_blocks(_BLOCK), self.dataset.n_items + 1)
        if len(vectors) != self.dataset.n_items + 1:
            raise DataProblem(
                f"the model has {len(vectors) - 1} items and the dataset {self.dataset.n_items}: they do not belong together"
            )
        bad = ~torch.isfinite(vectors.sum(1))  # a tenth of the time that asking every number takes
        if bad.any():
            row = int(bad.int().argmax())
            where = "the padding row" if row == 0 else f"item {self.dataset.catalog.ids[row]!r}"
            raise DataProblem(f"the model's vector of {where} holds NaN or infinity ({int(bad.sum())} such): train it again")
        return vectors

    @cached_property
    def unbiased(self) -> Tensor:
        """[D] ones, and zeros for the coordinates of the vectors that do not say what an item is like (``VectorModel.biases``)."""
        if self.vectors is None or not isinstance(self.model, VectorModel):
            return torch.zeros(0)
        ones = torch.ones_like(self.vectors[0])
        ones[torch.tensor(self.model.biases(), dtype=torch.int64)] = 0
        return ones

    @cached_property
    def norms(self) -> Tensor:
        """[I+1] Euclidean lengths of the item vectors, biases left out."""
        if self.vectors is None:
            return torch.zeros(0)
        blocks = torch.split(self.vectors, _BLOCK)  # the vectors are not held twice
        return torch.cat([(block * self.unbiased).norm(dim=1) for block in blocks])

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Modality -> its coordinates of the vectors."""
        return self.model.shares() if isinstance(self.model, VectorModel) else {"all": slice(None)}

    @cached_property
    def knows(self) -> Tensor:
        """[I+1] bool: items of which the model can say anything, because one modality that it scores by is there."""
        n = self.dataset.n_items
        known = np.zeros(n + 1, dtype=np.bool_)
        for modality in self.method.scored_by:
            if modality == "id":
                known[1 : self.trained + 1] = True
            elif modality in self.dataset.features:
                known |= self.dataset.features[modality].present
        return torch.from_numpy(known).to(self.device)

    @cached_property
    def known(self) -> int:
        """How many items those are."""
        return int(self.knows.sum())

    @cached_property
    def popularity(self) -> Tensor:
        """[I+1] float64, events of each item over those of the most popular one."""
        counts = np.bincount(self.dataset.interactions.items, minlength=self.dataset.n_items + 1)
        return torch.from_numpy(counts / max(1, counts.max())).to(self.device)

    def own(self, asked: Asked) -> Asked:
        """The same question by nobody, if the model was not trained with this user."""
        return asked if asked.user < self.trained_users else replace(asked, user=NOBODY)

    def readable(self, asked: Asked) -> bool:
        """Whether the model can say anything: it knows the user's own row, or there is a history to read."""
        return asked.user != NOBODY if self.method.reads_users else len(asked.items) > 0

    def of_everybody(self, at: int | None = None, most: int | None = None) -> list[tuple[int, Asked]]:
        """User rows, and a question for each of those of whom the model can say anything.

        Args:
            at: the moment asked about; now if not given.
            most: only so many users, spread over all.
        """
        now, users, n_items = now_seconds(), len(self.people), self.dataset.n_items
        rows = range(0, users, max(1, -(-users // (most or max(1, users)))))
        each = ((row, self.own(of_known(row, self.people.history(row, n_items), at, now))) for row in rows)
        return [(row, asked) for row, asked in each if self.readable(asked)]

    def score(self, batch: Batch) -> Scored:
        """Scores of a batch with the item vectors at hand."""
        if self.vectors is None:
            return Scored(self.model.score(batch.to(self.device)), None, self)
        users, beside = self.queries(batch), self.beside(batch)
        return Scored(with_beside(users @ self.vectors.T, beside), users, self, beside)

    def queries(self, batch: Batch) -> Tensor:
        """[B, D] user vectors of a batch, for a model whose score is an inner product."""
        assert isinstance(self.model, VectorModel)
        return self.model.users(batch.to(self.device))

    def beside(self, batch: Batch) -> dict[str, Beside]:
        """What stands beside the inner product for a few items of each."""
        assert isinstance(self.model, VectorModel)
        return self.model.beside(batch.to(self.device))

    def searched_by(self, index: Index | None) -> State:
        """The same State with an index, or without one; what it has made stays made."""
        other = copy.copy(self)
        object.__setattr__(other, "index", index)
        return other

    @cached_property
    def filters(self) -> Filters:
        """Which items a filter by fields lets through."""
        return Filters(self.dataset.catalog, self.device)

    @cached_property
    def _described(self) -> dict[int, dict[str, Any]]:
        return {}

    def describe(self, row: int) -> dict[str, Any]:
        """The known fields of an item row; looked up once."""
        found = self._described.get(row)
        if found is None:
            found = self._described[row] = self.dataset.catalog.describe(row)
        return dict(found)

    def warm(self) -> State:
        """Make now what the first answer would have to wait for; raises DataProblem for a model that cannot answer."""
        _ = self.vectors, self.unbiased, self.norms, self.knows, self.popularity
        _ = None in self.dataset.users, None in self.dataset.catalog.ids  # makes their look-up tables
        return self


def _gathered(blocks: Iterator[Tensor], expected: int) -> Tensor:
    """Blocks of vectors in one table; where there are as many as expected, they are never held twice."""
    first = next(blocks)
    if len(first) == expected:
        return first.contiguous()
    whole, at = first.new_empty(expected, first.shape[1]), 0
    for block in chain([first], blocks):
        if at + len(block) > expected:
            return torch.cat([whole[:at], block, *blocks])  # the caller refuses it
        whole[at : at + len(block)], at = block, at + len(block)
    return whole[:at]


def build(method: Method, dataset: Dataset, trained: int, users: int | None = None) -> Model:
    """A model for a dataset of which only the items 1..trained have learned rows, and the first users (all if not given).

    The caller's random numbers are left as they were.

    Raises:
        ValueError: the dataset does not suit the method.
    """
    if users is not None and users < dataset.n_users:
        log, ids = dataset.interactions, dataset.users
        first = Interactions(log.offsets[: users + 1], log.items[: log.offsets[users]], log.times[: log.offsets[users]])
        dataset = replace(dataset, interactions=first, users=Ids(ids.array[:users], first=ids.first, what=ids.what))
    with torch.random.fork_rng(devices=[]):
        model = method.build(dataset)
    return only_first(model, trained)


def only_first(model: Model, trained: int) -> Model:
    """Tell every learned table which of its items were trained."""
    for part in model.modules():
        if isinstance(part, LearnedRows):
            part.only_first(trained)
    return model.eval()
