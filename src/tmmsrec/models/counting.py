"""Counting models: no training, the floors that every table shows.

Each counts the events that may be read before the part it is asked about, the validation events too when the test part is ranked:
they are part of the input there.  Every score backs off to popularity, scaled below the smallest difference that counting makes.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from tmmsrec.data.batch import Batch
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import Part
from tmmsrec.models.base import Method, Model
from tmmsrec.models.transitions import shares, transitions
from tmmsrec.nn.resizable import Resizable


@dataclass(frozen=True)
class Popularity(Method):
    """Items by how often they occur."""

    source: ClassVar[str] = "counting"
    inner_product: ClassVar[bool] = False
    learned: ClassVar[bool] = False

    def build(self, dataset: Dataset) -> Model:
        """Counts of nothing yet."""
        return _Popularity(dataset.n_items)


@dataclass(frozen=True)
class Repeat(Method):
    """The user's own items, newest first, then popularity.

    Attributes:
        newest: how many of the newest distinct items to list; 0 lists all.
    """

    newest: int = 0

    source: ClassVar[str] = "counting"
    inner_product: ClassVar[bool] = False
    learned: ClassVar[bool] = False

    @property
    def history(self) -> int:
        """The whole history."""
        return 1_000_000

    def build(self, dataset: Dataset) -> Model:
        """Counts of nothing yet."""
        return _Repeat(dataset.n_items, self.newest)


@dataclass(frozen=True)
class Markov(Method):
    """Which items followed the newest ones, then popularity.

    P(i | x) is the share of i among what followed x in all histories, each event k steps after x counting decay^(k-1).  The score
    of item i after x_1 ... x_T is sum over k = 0, 1, ... of decay^k P(i | x_{T-k}), plus ``backoff`` times popularity over the
    largest popularity.

    Attributes:
        decay: what a step further away counts, when counting and when reading; 0 reads the last event and its direct followers
            only (first order).
        span: how many steps after an event are counted as following it.
        reach: how many of the newest events are read.
        backoff: weight of popularity; tiny, it only orders what transitions leave equal.
    """

    decay: float = 0.0
    span: int = 1
    reach: int = 1
    backoff: float = 1e-6

    source: ClassVar[str] = "counting"
    inner_product: ClassVar[bool] = False
    learned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must lie between 0 and 1, got {self.decay}")
        if self.span < 1 or self.reach < 1:
            raise ValueError(f"span and reach must be at least 1, got {self.span} and {self.reach}")

    @property
    def history(self) -> int:
        """The newest events that count."""
        return self.reach

    @property
    def weights(self) -> list[float]:
        """What an event 1, 2, ... steps after another counts."""
        return [float(self.decay**k) for k in range(self.span)]

    def read(
        self, row: NDArray[np.int64], item: NDArray[np.int64], back: NDArray[np.int64], shape: tuple[int, int]
    ) -> sparse.csr_array:
        """[B, I+1] what each item counts when histories are read: ``decay`` to the power of how far back it stands.

        Args:
            row, item, back: [m] whose events these are, which items, and how many events are newer (0 for the newest).
            shape: (B, I+1).
        """
        heard = back < self.reach
        weight = np.power(self.decay, back[heard], dtype=np.float64)
        return sparse.csr_array((weight, (row[heard], item[heard])), shape=shape)

    def build(self, dataset: Dataset) -> Model:
        """Counts of nothing yet."""
        return MarkovModel(dataset.n_items, self)


def popularity(part: Part, n_items: int) -> NDArray[np.float64]:
    """[I+1] how often items occur among the events that may be read, over the largest of them."""
    counts = part.item_counts(n_items)
    found: NDArray[np.float64] = counts / max(1, counts.max(initial=0))
    return found


class _Counting(Model):
    """Shared by all: popularity over the largest, a buffer [I+1], and no loss."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.register_buffer("popularity", torch.zeros(n_items + 1, dtype=torch.float64))
        self.popularity: Tensor

    def observe(self, part: Part) -> None:
        self.popularity = torch.from_numpy(popularity(part, self.n_items))

    def loss(self, batch: Batch) -> Tensor:
        raise RuntimeError("a counting model has nothing to train; observe() a part instead")

    @abstractmethod
    def counted(self, batch: Batch) -> Tensor:
        """[B, I+1] float64 scores before the back-off."""

    @property
    def backoff(self) -> float:
        """What popularity counts: below the whole numbers that counting gives."""
        return 0.5

    def score(self, batch: Batch) -> Tensor:
        return self.counted(batch) + self.backoff * self.popularity


class _Popularity(_Counting):
    def counted(self, batch: Batch) -> Tensor:
        return torch.zeros(len(batch.users), 1, dtype=torch.float64)


class _Repeat(_Counting):
    def __init__(self, n_items: int, newest: int) -> None:
        super().__init__(n_items)
        self.newest = newest

    def counted(self, batch: Batch) -> Tensor:
        b, length = batch.items.shape
        place = torch.arange(1, length + 1, dtype=torch.float64).expand(b, length)
        recency = torch.zeros(b, self.n_items + 1, dtype=torch.float64)
        recency.scatter_reduce_(1, batch.items, place, reduce="amax")  # a repeated item counts where it was newest
        recency[:, 0] = 0
        if self.newest:
            kept = torch.zeros_like(recency)
            best = recency.topk(min(self.newest, self.n_items), dim=1)
            recency = kept.scatter(1, best.indices, best.values)
        return recency


class MarkovModel(Resizable, _Counting):
    """Counts of what follows what, read as a ``Markov`` says."""

    resizable = ("pairs", "weights")

    def __init__(self, n_items: int, value: Markov) -> None:
        super().__init__(n_items)
        self._value = value
        # What follows what, as rows (from, to) with a weight each: a bundle can hold them without a format of its own.
        self.register_buffer("pairs", torch.zeros(0, 2, dtype=torch.int64))
        self.register_buffer("weights", torch.zeros(0, dtype=torch.float64))
        self.pairs: Tensor
        self.weights: Tensor
        self._follows: sparse.csr_array | None = None

    @property
    def value(self) -> Markov:
        """How it counts and reads."""
        return self._value

    @property
    def backoff(self) -> float:
        """As the value says."""
        return self.value.backoff

    def observe(self, part: Part) -> None:
        """Count what followed what in the events that may be read."""
        super().observe(part)
        found = shares(transitions(part, self.n_items, self.value.weights)).tocoo()
        self.pairs = torch.from_numpy(np.stack([found.row, found.col], axis=1).astype(np.int64))
        self.weights = torch.from_numpy(found.data)
        self._follows = None

    def counted(self, batch: Batch) -> Tensor:
        """[B, I+1] float64, the sum over the newest events of what follows each."""
        items = batch.items.cpu().numpy()
        row, place = np.nonzero(items)
        back = np.count_nonzero(items, axis=1)[row] - 1 - place
        read = self.value.read(row, items[row, place], back, (len(items), self.n_items + 1))
        dense: NDArray[np.float64] = (read @ self.follows).toarray()
        return torch.from_numpy(dense)

    @property
    def follows(self) -> sparse.csr_array:
        """[I+1, I+1] P(column | row)."""
        if self._follows is None:
            start, end = self.pairs.cpu().numpy().T
            size = self.n_items + 1
            self._follows = sparse.csr_array((self.weights.cpu().numpy(), (start, end)), shape=(size, size))
        return self._follows

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
        self._follows = None
        super()._load_from_state_dict(state, prefix, *rest)
