"""Negatives: items that were not taken, drawn for what was."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import Part


@dataclass(frozen=True)
class Negatives:
    """How negatives are drawn: ``per_step`` for every step, or ``shared`` ones for the whole batch.

    Attributes:
        per_step: uniform draws per step from the items that the user has not met in training (paper section 2.7).
        shared: draws for the whole batch.
        by: how shared ones are drawn: "uniform" or by "popularity" (training counts plus one), with replacement; "batch", of the
            batch's own targets; or "mixed", half of them targets and half uniform.
    """

    per_step: int = 0
    shared: int = 0
    by: str = "uniform"


class Sampler:
    """Draws negatives for one training part; what a kind of draw does not need is not made, and nothing grows with the log.

    Raises:
        DataProblem: a user has met all items, so that nothing is left to draw.
    """

    def __init__(self, part: Part, n_items: int, how: Negatives) -> None:
        self.part, self.n_items, self.how = part, n_items, how
        if not how.per_step:
            return
        for user in part.users[part.stop[part.users] >= n_items]:
            if len(np.unique(self._met(np.array([user])))) >= n_items:
                raise DataProblem(f"user row {user} has met all {n_items} items: no negative is left to draw")

    def _met(self, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sorted: place in ``users`` * (I+1) + item row of each event that may be read of these users [B]."""
        place, items = self.part.read_of(users)
        return np.sort(place * (self.n_items + 1) + items)

    @cached_property
    def _probability(self) -> NDArray[np.float64]:
        """[I+1] of each item in a draw from the catalogue."""
        by_count = self.how.by == "popularity"
        weights = self.part.item_counts(self.n_items)[1:] + 1.0 if by_count else np.ones(self.n_items)
        return np.concatenate([[0.0], weights / weights.sum()])

    @cached_property
    def _cumulative(self) -> NDArray[np.float64]:
        return np.cumsum(self._probability)

    @cached_property
    def _share(self) -> NDArray[np.float32]:
        """[I+1] of each item among the training events: how often a target is it."""
        counts = self.part.item_counts(self.n_items)
        share: NDArray[np.float32] = (counts / max(1, counts.sum())).astype(np.float32)
        return share

    def draw(
        self, users: NDArray[np.int64], length: int, rng: np.random.Generator, targets: NDArray[np.integer] | None = None
    ) -> NDArray[np.int64]:
        """Negatives for a batch of users: [B, length, per_step], or [shared]; fewer where its targets [B, length] are too few."""
        if self.how.shared and self.how.by in ("batch", "mixed"):
            if targets is None:
                raise ValueError(f"draws by '{self.how.by}' are made of the batch's targets: hand them in")
            own = targets[targets != 0].astype(np.int64)
            chosen = rng.choice(own, min(self._from_targets, len(own)), replace=False)
            return np.concatenate([chosen, rng.integers(1, self.n_items + 1, self.how.shared - self._from_targets)])
        if self.how.shared:
            at: NDArray[np.int64] = np.searchsorted(self._cumulative, rng.random(self.how.shared) * self._cumulative[-1], "right")
            return at
        drawn = rng.integers(1, self.n_items + 1, (len(users), length, self.how.per_step))
        if not self.how.per_step:
            return drawn
        distinct, place = np.unique(users, return_inverse=True)
        met, owner = self._met(distinct), place[:, None, None] * (self.n_items + 1)
        while True:
            keys = owner + drawn
            again = met[np.minimum(np.searchsorted(met, keys), len(met) - 1)] == keys
            if not again.any():
                break
            drawn[again] = rng.integers(1, self.n_items + 1, int(again.sum()))
        return drawn

    @property
    def _from_targets(self) -> int:
        """How many shared negatives are to be targets of the batch."""
        return {"batch": self.how.shared, "mixed": self.how.shared // 2}.get(self.how.by, 0)

    def expected(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """How often each shared negative was expected in a draw, [shared]; empty for draws per step."""
        if not self.how.shared:
            return np.zeros(0)
        if not self._from_targets:
            return self.how.shared * self._probability[drawn]
        uniform = self.how.shared - self._from_targets
        return (len(drawn) - uniform) * self._share[drawn].astype(np.float64) + uniform / self.n_items
