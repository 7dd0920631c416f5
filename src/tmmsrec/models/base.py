"""The contracts: Method (a value), Model (a module), VectorModel (a module whose score is one inner product)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self, final

import torch
from torch import Tensor, nn

from tmmsrec.data.batch import Batch, Per
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.negatives import Negatives
from tmmsrec.data.split import Part
from tmmsrec.nn.beside import Beside
from tmmsrec.nn.losses import Loss
from tmmsrec.training import Training


@dataclass(frozen=True)
class Pretraining:
    """What goes before training, on ``Model.pretraining_loss``: always all epochs, since no validation watches it.

    Attributes:
        epochs: passes over the rows.
        per: what a row is.
        rows: most rows of a pass, drawn anew for each; None for all.
    """

    epochs: int
    per: Per = "user"
    rows: int | None = None


@dataclass(frozen=True)
class Within:
    """A recommender inside another one that is trained before it, on its own, and left as it is then.

    Attributes:
        name: of the module that is to take its weights.
        method: what it is.
        training: how it is trained; None as the other one.
    """

    name: str
    method: Method
    training: Training | None


class Method(ABC):
    """A value that describes a recommender.

    Class attributes say what a table that compares methods must say too.

    Attributes:
        inner_product: whether the score is an inner product of a user's and an item's vector, or one with something ``beside`` it;
            ``build`` then gives a VectorModel.
        reads_users: whether it knows users by rows of their own; then it knows only users of its training, and nothing of what
            they did after it.
        learned: whether it has anything to train; what only counts has no luck, and one seed is all there is.
        only_with_features: whether it is nothing without features.
    """

    inner_product: ClassVar[bool] = True
    reads_users: ClassVar[bool] = False
    learned: ClassVar[bool] = True
    only_with_features: ClassVar[bool] = False

    def check_sizes(self) -> None:
        """Raises ValueError for a width or a length that is not positive; every value that has one calls it when it is made."""
        for name in ("width", "content_width", "length"):
            if getattr(self, name, 1) < 1:
                raise ValueError(f"{type(self).__name__}.{name} must be at least 1, got {getattr(self, name)}")

    @property
    @abstractmethod
    def source(self) -> str:
        """Where it comes from."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Modalities that the method reads: "id" and names of features."""
        return ("id",)

    def reading(self, features: Collection[str]) -> Self:
        """The same with those of its ``modalities`` that are ids or among the features; with ids where none is left.

        One that has no such field, or reads ids in any case, stays without.
        """
        named: tuple[str, ...] = getattr(self, "modalities", ())
        kept = tuple(m for m in named if m == "id" or m in features)
        if kept == named:
            return self
        return replace(self, modalities=kept or (() if "id" in self.reads else ("id",)))  # type: ignore[type-var]

    def can_read(self, features: Collection[str]) -> bool:
        """Whether ``reading`` leaves it anything."""
        return not self.only_with_features or any(m in features for m in getattr(self, "modalities", ()))

    @property
    def scored_by(self) -> tuple[str, ...]:
        """Modalities by which a candidate is scored: an item that has none of them cannot be recommended."""
        return self.reads

    @property
    def reads_time(self) -> bool:
        """Whether the times of past events change the scores."""
        return False

    @property
    def reads_now(self) -> bool:
        """Whether the moment of the request changes the scores."""
        return False

    @property
    def beside(self) -> bool:
        """Whether its score is an inner product and, for a few items of each user, something beside it."""
        return False

    @property
    def history(self) -> int:
        """How many of a user's newest events it reads; 0 for a method that knows users only by their rows."""
        return 50

    @property
    def per(self) -> Per:
        """What a row of a training batch is: a user with a target at every step, or an event with its history."""
        return "user"

    def row(self, windows: bool) -> Per:
        """The same where a training goes through all of a user's events in windows, if the method can."""
        return "window" if windows and self.per == "user" else self.per

    @property
    def pretraining(self) -> Pretraining | None:
        """What goes before training."""
        return None

    @property
    def within(self) -> Within | None:
        """What is trained before it and is part of it."""
        return None

    @property
    def negatives(self) -> Negatives:
        """The negatives its loss needs."""
        return Negatives()

    def under(self, exclude_seen: bool) -> Self:
        """The same method for rankings that keep what a user has met or leave it out, where it chooses by rankings of its own."""
        return self

    def sized(self, n_items: int) -> Self:
        """The same method for a catalogue of so many items: a loss that chooses by size has chosen."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Loss)}  # type: ignore[arg-type]
        chosen = {name: loss.for_items(n_items) for name, loss in parts.items()}
        return replace(self, **chosen) if chosen != parts else self  # type: ignore[type-var]

    @abstractmethod
    def build(self, dataset: Dataset) -> Model:
        """The module for a dataset's items and users, with fresh parameters; its log is not looked at (see ``prepare``).

        Raises:
            ValueError: the dataset lacks a modality that the method reads, or a width does not fit; the message says which.
        """


def with_beside(scores: Tensor, beside: dict[str, Beside]) -> Tensor:
    """Scores [B, I+1] with what stands beside them."""
    return Beside.of(list(beside.values())).added(scores) if beside else scores


def features_of(dataset: Dataset, modalities: Iterable[str]) -> list[Features]:
    """The features of the named modalities, ids left out; raises ValueError that says which the dataset lacks."""
    found = []
    for name in modalities:
        if name != "id" and name not in dataset.features:
            have = ", ".join(sorted(dataset.features)) or "none"
            made = "run 'tmmsrec extract'" if name in ("text", "image") else f"give them (Dataset.with_features({name}=...))"
            raise ValueError(f"{dataset.name} has no '{name}' features (it has: {have}); {made} or leave the modality out")
        found += [dataset.features[name]] if name != "id" else []
    return found


class Model(nn.Module, ABC):
    """A recommender with parameters, or with counts.

    Attributes:
        taught: in training only items 1..taught stand against the targets, None for all.  The others are in no training event: all
            that could be learned of them is that they are never taken.
    """

    taught: int | None = None

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """The training loss of a batch, a scalar."""

    @abstractmethod
    def score(self, batch: Batch) -> Tensor:
        """[B, I+1] scores of every item as the next one; column 0 (padding) means nothing.

        A user row of -1 stands for somebody whom training did not know: a model that reads user rows must say so or refuse.
        """

    def pretraining_loss(self, batch: Batch) -> Tensor:
        """The loss of ``Method.pretraining``, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} has no pretraining")

    def prepare(self, train: Part) -> None:
        """Told of the training events once, before training: graphs of them are built here and kept with the weights."""

    def observe(self, part: Part) -> None:
        """Told of the events that may be read before a part is ranked; counting models count them, others do nothing."""

    def moved(self, place: Tensor) -> None:
        """Told that items which training did not know stand in other rows now: item i in ``place[i]``, [I+1].

        What holds numbers of items and is neither trained nor counted by ``observe`` follows them here.
        """

    def begin_epoch(self, seed: int) -> None:
        """Called before each epoch with a number that stands for it."""

    def after_step(self) -> None:
        """Called after each step of the optimiser: bounds on parameters are kept here."""

    def settle(self, reached: Callable[[], float]) -> float:
        """Choose once, after training, by ``reached``, which ranks for the validation value as the model stands; the value then."""
        return reached()

    @property
    def trainable(self) -> bool:
        """Whether there is anything to train."""
        return any(p.requires_grad for p in self.parameters())


def learned_numbers(method: Method, model: Model) -> int:
    """How many numbers are learned, those of what is within it too, which stand still while the rest learns."""
    inner = [] if method.within is None else model.get_submodule(method.within.name).parameters()
    return sum(p.numel() for p in {*inner, *(p for p in model.parameters() if p.requires_grad)})


class VectorModel(Model):
    """A model whose score is one inner product, so that ranking, search and export are the same for all of them.

    What stands beside the product for a few items of each user (``Method.beside``), if anything, is asked for by ``beside``.
    """

    @abstractmethod
    def users(self, batch: Batch) -> Tensor:
        """[B, D] user vectors after each history."""

    @abstractmethod
    def items(self, rows: Tensor | None = None) -> Tensor:
        """Item vectors [..., D] of the rows [...], or of all, [I+1, D]."""

    def candidates(self, rows: Tensor | None = None) -> Tensor:
        """Item vectors as a loss reads them: of the rows [...], or of all that are taught, [taught+1, D]."""
        return self.items(rows) if rows is not None or self.taught is None else self.items()[: self.taught + 1]

    def item_blocks(self, most: int) -> Iterator[Tensor]:
        """Item vectors [m, D] of all items in turn, ``most`` of them in each block but the last.

        Cut from all vectors; a model that makes each item's vector from that item alone can make them block by block.
        """
        yield from torch.split(self.items(), most)

    def shares(self) -> dict[str, slice]:
        """Which coordinates of the vectors belong to which modality; the scores over them add up to the score."""
        return {"all": slice(None)}

    def biases(self) -> list[int]:
        """The coordinates that say how much an item is wanted by whoever asks, not what it is like: items are compared without."""
        return []

    def beside(self, batch: Batch) -> dict[str, Beside]:
        """What is added to the scores of single items after each history, by the name under which it is told."""
        return {}

    @final
    def score(self, batch: Batch) -> Tensor:
        """[B, I+1] inner products of user and item vectors, and what stands beside them."""
        return with_beside(self.users(batch) @ self.items().T, self.beside(batch))

    @final
    def shares_of_score(self, batch: Batch, rows: Tensor) -> dict[str, Tensor]:
        """Modality -> its part of the scores of items [B, k], each [B, k]; they add up to the scores."""
        beside = {name: one.at(rows) for name, one in self.beside(batch).items()}
        return {**self.shares_between(self.users(batch), self.items(rows)), **beside}

    @final
    def shares_between(self, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        """The inner product's parts, [B, k] each, for user vectors [B, D] and item vectors [B, k, D] that are at hand."""
        return {name: torch.einsum("bd,bkd->bk", users[:, at], items[..., at]) for name, at in self.shares().items()}
