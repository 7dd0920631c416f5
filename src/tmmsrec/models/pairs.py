"""Methods that are trained on pairs of user and item: what they have in common, and the loss that most of them share."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tmmsrec.data.batch import Batch, Per
from tmmsrec.data.negatives import Negatives
from tmmsrec.models.base import Method
from tmmsrec.nn.dots import dots
from tmmsrec.nn.losses import bpr


class PairMethod(Method):
    """A method that knows users by rows of their own, reads no history, and is trained on pairs of user and item."""

    reads_users: ClassVar[bool] = True
    modalities: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for sizes or modalities that cannot be; a value that checks more begins with this."""
        self.check_sizes()
        named = self.modalities
        if "id" in named or len(set(named)) != len(named) or (self.only_with_features and not named):
            few = ", one at least" if self.only_with_features else ""
            raise ValueError(f"{type(self).__name__}.modalities names distinct features{few}, beside ids; got {named}")

    @property
    def reads(self) -> tuple[str, ...]:
        """Ids and the named features."""
        return ("id", *self.modalities)

    @property
    def history(self) -> int:
        """None."""
        return 0

    @property
    def per(self) -> Per:
        """Pairs of user and item."""
        return "event"

    @property
    def negatives(self) -> Negatives:
        """One item that the user has not met, for each pair."""
        return Negatives(per_step=1)


def items_of_pairs(batch: Batch) -> Tensor:
    """[B, 1 + K] item rows of a batch of pairs: the one that was met, then those drawn against it."""
    return torch.cat([batch.targets, batch.negatives[:, 0]], dim=1)


def bpr_of_pairs(users: Tensor, items: Tensor) -> Tensor:
    """BPR of user vectors [B, D] with item vectors [B, 1 + K, D] in the order of ``items_of_pairs``."""
    scores = dots(users, items)
    return bpr(scores[:, 0], scores[:, 1:])
