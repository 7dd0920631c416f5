"""Models over the graph of who met what: a vector depends on those around it, so all of them are made at once."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np
import torch
from torch import Tensor

from tmmsrec.data.batch import Batch
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import Part
from tmmsrec.models.base import VectorModel
from tmmsrec.nn.graph import Memory, UserItemGraph
from tmmsrec.nn.items import LearnedRows
from tmmsrec.nn.users import UserRows


class GraphModel(VectorModel):
    """Rows of users and items, the graph ``met`` of the training events, and vectors that are ``made`` of them.

    In training they are made for every batch; for an evaluation once, and anew when a parameter or a graph has changed.
    """

    def __init__(self, dataset: Dataset, width: int) -> None:
        super().__init__()
        self.user_rows = UserRows(dataset.n_users, width)
        self.item_rows = LearnedRows(dataset.n_items, width)
        self.met = UserItemGraph(dataset.n_users, dataset.n_items)
        self._evaluated: Memory[tuple[Tensor, Tensor]] = Memory()

    @abstractmethod
    def made(self) -> tuple[Tensor, Tensor]:
        """User vectors [U, D] and item vectors [I+1, D] from the rows and the graph as they stand."""

    def prepare(self, train: Part) -> None:
        """Take the training events as the graph."""
        users, items = train.read_of(np.arange(train.interactions.users))
        self.met.learn(torch.from_numpy(users), torch.from_numpy(items.astype(np.int64)))

    def after_step(self) -> None:
        """Forget the vectors of the last evaluation: a fused optimiser changes parameters without leaving a mark on them."""
        self._evaluated.drop()

    def train(self, mode: bool = True) -> Self:
        """Forget the vectors of the last evaluation when training goes on."""
        if mode:
            self._evaluated.drop()
        return super().train(mode)

    def tables(self) -> tuple[Tensor, Tensor]:
        """User vectors [U, D] and item vectors [I+1, D]: what is ``made``, or was made for this evaluation."""
        if self.training or torch.is_grad_enabled():
            return self.made()
        return self._evaluated.get([*self.parameters(), *self.buffers()], self.made)

    def users(self, batch: Batch) -> Tensor:
        """[B, D]; raises ValueError for a user that training did not know."""
        self.user_rows(batch.users)  # refuses -1
        return self.tables()[0][batch.users]

    def items(self, rows: Tensor | None = None) -> Tensor:
        """Item vectors [..., D]."""
        whole = self.tables()[1]
        return whole if rows is None else whole[rows]
