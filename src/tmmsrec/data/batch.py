"""Batches: right-padded, grouped by length, each padded only to its own longest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import Part


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's tensors; the newest event of each row stands at its own end, padding to the right.

        items    3 7 7 2 0 0      targets  7 7 2 9 0 0      (training: the next item at every step)
        times    t0 .. t3 0 0     now      t1 .. t4 0 0     (when the next event happens, or the moment of the request)

    A row trained per event has a target at its newest step only; a method that reads no history has one empty column of items and
    its target there.

    Attributes:
        users: [B] int64 user rows.
        items: [B, L] int64 item rows, 0 where padded.
        times: [B, L] int64 seconds UTC, 0 where padded.
        now: [B, L] int64, the moment at which each step's next item is asked for.
        targets: [B, L] int64 next items, 0 where there is none; empty [B, 0] when ranking.
        negatives: int64 items never met by the user, [B, L, K], or [K] drawn once for the whole batch.
        expected: [K] float64, how often each shared negative was expected in the draw; empty where each step has its own.
    """

    users: Tensor
    items: Tensor
    times: Tensor
    now: Tensor
    targets: Tensor
    negatives: Tensor
    expected: Tensor

    @property
    def mask(self) -> Tensor:
        """[B, L] bool, True at events."""
        return self.items != 0

    @property
    def last(self) -> Tensor:
        """[B] int64, the column of each row's newest event (0 for an empty history)."""
        return (self.mask.sum(-1) - 1).clamp_min(0)

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))


Per = Literal["user", "event"]


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
    """Draws negatives for one training part; what a kind of draw does not need is not made."""

    def __init__(self, part: Part, n_items: int, how: Negatives) -> None:
        self.part, self.n_items, self.how = part, n_items, how
        if not how.per_step:
            return
        met = self._met
        distinct = np.bincount(met // (n_items + 1), minlength=part.interactions.users)
        if len(part.users) and distinct[part.users].max() >= n_items:
            full = part.users[int(np.argmax(distinct[part.users] >= n_items))]
            raise DataProblem(f"user row {full} has met all {n_items} items: no negative is left to draw")

    @cached_property
    def _met(self) -> NDArray[np.int64]:
        """Sorted: user row * (I+1) + item row of everything that was met."""
        log = self.part.interactions
        user = np.repeat(np.arange(log.users, dtype=np.int64), log.lengths)
        readable = self.part.readable
        return np.unique(user[readable] * (self.n_items + 1) + log.items[readable])

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
        return (counts / max(1, counts.sum())).astype(np.float32)

    def draw(
        self, users: NDArray[np.int64], length: int, rng: np.random.Generator, targets: NDArray[np.integer] | None = None
    ) -> NDArray[np.int64]:
        """Negatives for a batch of users: [B, length, per_step], or [shared] (fewer where the batch has too few targets [B, length])."""
        if self.how.shared and self.how.by in ("batch", "mixed"):
            if targets is None:
                raise ValueError(f"draws by '{self.how.by}' are made of the batch's targets: hand them in")
            own = targets[targets != 0].astype(np.int64)
            chosen = rng.choice(own, min(self._from_targets, len(own)), replace=False)
            return np.concatenate([chosen, rng.integers(1, self.n_items + 1, self.how.shared - self._from_targets)])
        if self.how.shared:
            at: NDArray[np.int64] = np.searchsorted(self._cumulative, rng.random(self.how.shared) * self._cumulative[-1], "right")
            return at
        owner = np.broadcast_to(users[:, None, None], (len(users), length, self.how.per_step))
        drawn = rng.integers(1, self.n_items + 1, owner.shape)
        while self.how.per_step:
            keys = owner * (self.n_items + 1) + drawn
            at = np.searchsorted(self._met, keys)
            again = self._met[np.minimum(at, len(self._met) - 1)] == keys
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


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one training pass: whose, and which events of the log.

    Attributes:
        users: [n] user rows.
        last: [n] position in the log of each row's newest target.
        steps: [n] how many events are read before it; 0 where the target stands alone.
    """

    users: NDArray[np.int64]
    last: NDArray[np.int64]
    steps: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def of(cls, part: Part, length: int, per: Per) -> Rows:
        """The rows of a training part.

        a user with events e0 e1 e2 e3, length 2
        per user:   e1 e2 -> targets e2 e3           one row, a target at every step
        per event:  e0 -> e1;  e0 e1 -> e2;  e1 e2 -> e3      a row for every target, read after its history
        per event with length 0:  -> e0;  -> e1; ...          pairs of user and item, each distinct pair once
        """
        if per == "user":
            if length < 1:
                raise ValueError("a method that reads no history is trained per event, not per user")
            steps = np.minimum(part.stop[part.users] - 1, length)
            return cls(part.users, part.ends - 1, steps)
        log = part.interactions
        count = part.stop[part.users]
        users = np.repeat(part.users, count)
        before = np.arange(len(users)) - np.repeat(np.cumsum(count) - count, count)
        at = log.offsets[users] + before
        if length == 0:
            _, kept = np.unique(users * (int(log.items.max(initial=0)) + 1) + log.items[at], return_index=True)
        else:
            kept = np.flatnonzero(before)
        return cls(users[kept], at[kept], np.minimum(before[kept], length))


def training_batches(
    part: Part,
    *,
    size: int,
    length: int,
    sampler: Sampler,
    seed: tuple[int, ...],
    skip: int = 0,
    per: Per = "user",
    most: int | None = None,
) -> Iterator[Batch]:
    """One pass over a training part: every row once, or a random share of them, in batches of similar lengths.

    Every random choice is a function of ``seed`` and the batch's number, so a pass can be taken up again after ``skip``
    batches and gives the very same ones.

    Args:
        part: where sequences stop.
        size: rows per batch.
        length: most events read per row (the paper's n = 50).
        sampler: draws the negatives.
        seed: integers that name this pass, for instance (seed, epoch).
        skip: batches to leave out at the start.
        per: what a row is, see ``Rows.of``; rows per event have a target at their last step only.
        most: how many rows a pass has at the most.
    """
    rng = np.random.default_rng(seed)
    rows = Rows.of(part, length, per)
    taken = np.arange(len(rows)) if most is None or most >= len(rows) else rng.choice(len(rows), most, replace=False)
    order = taken[np.lexsort((rng.random(len(taken)), rows.steps[taken]))]  # equal lengths in random order
    chunks = [order[i : i + size] for i in range(0, len(order), size)]
    for number, which in enumerate(rng.permutation(len(chunks))):
        if number < skip:
            continue
        chosen = chunks[which]
        users, last, count = rows.users[chosen], rows.last[chosen], rows.steps[chosen]
        log, width = part.interactions, max(1, int(count.max()))
        slots = np.arange(width)
        read = slots < count[:, None]
        at = np.where(read, (last - count)[:, None] + slots, 0)
        # A target stands at the step before it: at every step, or at the newest one (the first column of an empty history).
        asked = read if per == "user" else slots == np.maximum(count, 1)[:, None] - 1
        ahead = np.where(asked, (last - np.maximum(count, 1))[:, None] + slots + 1, 0)
        targets = np.where(asked, log.items[ahead], 0)
        drawn = sampler.draw(users, width, np.random.default_rng((*seed, number)), targets)
        yield _batch(
            users,
            np.where(read, log.items[at], 0),
            np.where(read, log.times[at], 0),
            np.where(asked, log.times[ahead], np.where(read, log.times[np.minimum(at + 1, len(log) - 1)], 0)),
            targets,
            drawn,
            sampler.expected(drawn),
        )


def ranking_batches(part: Part, *, size: int, length: int) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Histories of a validation or test part with their places among ``part.users``, shortest first.

    The moment of the request is the target's own time; the target's item is not in the batch.
    """
    log = part.interactions
    count = np.minimum(part.stop[part.users], length)
    order = np.argsort(count, kind="stable")
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        n = count[chosen]
        slots = np.arange(max(1, int(n.max())))
        mask = slots < n[:, None]
        ends = part.ends[chosen]
        at = np.where(mask, (ends - n)[:, None] + slots, 0)
        items, times = np.where(mask, log.items[at], 0), np.where(mask, log.times[at], 0)
        yield chosen, history_batch(part.users[chosen], items, times, log.times[ends])


def history_batch(
    users: NDArray[np.int64], items: NDArray[np.integer], times: NDArray[np.integer], at: NDArray[np.integer]
) -> Batch:
    """A batch of histories to recommend for.

    Users [B], items and times [B, L] right-padded with 0, and ``at`` [B], the moments asked about.
    """
    mask = items != 0
    last = mask.sum(1) - 1
    now = np.zeros_like(times)
    now[:, :-1] = np.where(mask[:, 1:], times[:, 1:], 0)
    now[np.arange(len(last)), np.maximum(last, 0)] = at
    return _batch(users, items, times, now, np.zeros((len(users), 0), np.int64), np.zeros(0, np.int64), np.zeros(0))


def _batch(*arrays: NDArray[np.generic]) -> Batch:
    *whole, expected = arrays
    tensors = [torch.from_numpy(np.ascontiguousarray(a, dtype=np.int64)) for a in whole]
    tensors.append(torch.from_numpy(np.ascontiguousarray(expected, dtype=np.float64)))
    return Batch(*tensors)
