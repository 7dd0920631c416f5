"""The contracts: Method (a value), Model (a module), VectorModel (a module whose score is one inner product)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from tmmsrec.data.batch import Batch, Negatives
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import Part


class Method(ABC):
    """A value that describes a recommender.

    Class attributes say what a table that compares methods must say too: the source, and whether the method needs training,
    reads the events' times, and reads the moment of the request.
    """

    source: ClassVar[str]
    reads_now: ClassVar[bool] = False

    @property
    def reads(self) -> tuple[str, ...]:
        """Modalities that the method reads: "id" and names of features."""
        return ("id",)

    @property
    def reads_time(self) -> bool:
        """Whether the times of past events change the scores."""
        return False

    @property
    def history(self) -> int:
        """How many of a user's newest events it reads."""
        return 50

    @property
    def negatives(self) -> Negatives:
        """The negatives its loss needs."""
        return Negatives()

    @abstractmethod
    def build(self, dataset: Dataset) -> Model:
        """The module for a dataset's items and users, with fresh parameters.

        Raises:
            ValueError: the dataset lacks a modality that the method reads, or a width does not fit; the message says which.
        """


class Model(nn.Module, ABC):
    """A recommender with parameters, or with counts."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """The training loss of a batch, a scalar."""

    @abstractmethod
    def score(self, batch: Batch) -> Tensor:
        """[B, I+1] scores of every item as the next one; column 0 (padding) means nothing.

        A user row of -1 stands for somebody whom training did not know: a model that reads user rows must say so or refuse.
        """

    def observe(self, part: Part) -> None:
        """Told of the events that may be read before a part is ranked; counting models count them, others do nothing."""

    def begin_epoch(self, seed: int) -> None:
        """Called before each epoch with a number that stands for it."""

    @property
    def trainable(self) -> bool:
        """Whether there is anything to train."""
        return any(p.requires_grad for p in self.parameters())


class VectorModel(Model):
    """A model whose score is one inner product, so that ranking, search and export are the same for all of them."""

    @abstractmethod
    def users(self, batch: Batch) -> Tensor:
        """[B, D] user vectors after each history."""

    @abstractmethod
    def items(self, rows: Tensor | None = None) -> Tensor:
        """Item vectors [..., D] of the rows [...], or of all, [I+1, D]."""

    def shares(self) -> dict[str, slice]:
        """Which coordinates of the vectors belong to which modality; the scores over them add up to the score."""
        return {"all": slice(None)}

    @final
    def score(self, batch: Batch) -> Tensor:
        """[B, I+1] inner products of user and item vectors."""
        return self.users(batch) @ self.items().T

    @final
    def shares_of_score(self, batch: Batch, rows: Tensor) -> dict[str, Tensor]:
        """Modality -> its part of the scores of items [B, k], each [B, k]; they add up to the scores."""
        users, items = self.users(batch), self.items(rows)
        return {name: torch.einsum("bd,bkd->bk", users[:, at], items[..., at]) for name, at in self.shares().items()}
