"""Batches: right-padded, grouped by length, each padded only to its own longest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmmsrec.data.negatives import Sampler
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
        negatives: int64, [B, L, K] items that the user has not met in training; or [K] drawn once for the whole batch,
            which may be any.
        expected: [K] float64, how often each shared negative was expected in the draw; empty where each step has its own.
        asked: [T] int64, where the targets stand among the B * L steps.  It is known before the batch is moved: a GPU would have to
            be waited for to learn how many there are.
        events: how many targets the batch has; where several processes share a batch, all of theirs.
    """

    users: Tensor
    items: Tensor
    times: Tensor
    now: Tensor
    targets: Tensor
    negatives: Tensor
    expected: Tensor
    asked: Tensor
    events: int = 0

    @property
    def share(self) -> float:
        """Which part of the whole batch's targets it has: 1 where one process has all of them."""
        return len(self.asked) / self.events if self.events else 1.0

    @property
    def mask(self) -> Tensor:
        """[B, L] bool, True at events."""
        return self.items != 0

    @property
    def last(self) -> Tensor:
        """[B] int64, the column of each row's newest event (0 for an empty history)."""
        return (self.mask.sum(-1) - 1).clamp_min(0)

    def at_targets(self, x: Tensor) -> Tensor:
        """[T, ...] of [B, L, ...]: the steps that have a target."""
        return x.flatten(0, 1)[self.asked]

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def only(self, rows: Tensor) -> Batch:
        """These rows [b] of it, as wide as they need to be; ``events`` stays that of the whole."""
        width = max(1, int(self.mask[rows].sum(-1).max())) if len(rows) else 1
        own = {name: getattr(self, name)[rows, :width] for name in ("items", "times", "now", "targets")}
        negatives = self.negatives if self.negatives.dim() == 1 else self.negatives[rows, :width]
        return replace(self, users=self.users[rows], negatives=negatives, asked=_asked(own["targets"]), **own)

    def pinned(self) -> Batch:
        """The same batch in memory from which a GPU copies while others work."""
        return self._each(Tensor.pin_memory)

    def _each(self, do: Callable[[Tensor], Tensor]) -> Batch:
        tensors: dict[str, Any] = {f.name: do(getattr(self, f.name)) for f in fields(self) if f.name != "events"}
        return replace(self, **tensors)


Per = Literal["user", "window", "event"]


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

    def targets(self, per: Per) -> NDArray[np.int64]:
        """[n] how many targets each row has."""
        return np.ones_like(self.steps) if per == "event" else self.steps

    @classmethod
    def of(cls, part: Part, length: int, per: Per) -> Rows:
        """The rows of a training part.

        a user with events e0 e1 e2 e3, length 2
        per user:   e1 e2 -> targets e2 e3           one row, a target at every step
        per window: e0 -> e1;  e1 e2 -> e2 e3        as many rows as it takes to make a target of every event but the first
        per event:  e0 -> e1;  e0 e1 -> e2;  e1 e2 -> e3      a row for every target, read after its history
        per event with length 0:  -> e0;  -> e1; ...          pairs of user and item, each distinct pair once
        """
        if per != "event" and length < 1:
            raise ValueError("a method that reads no history is trained per event, not per user")
        if per == "user":
            steps = np.minimum(part.stop[part.users] - 1, length)
            return cls(part.users, part.ends - 1, steps)
        if per == "window":
            targets = part.stop[part.users] - 1
            place, number = _each(-(-targets // length))
            newer = number * length  # targets after those of the window
            return cls(part.users[place], part.ends[place] - 1 - newer, np.minimum(targets[place] - newer, length))
        log = part.interactions
        own = part.users if length else np.flatnonzero(part.stop)  # a pair needs no event before it
        place, before = _each(part.stop[own])
        users = own[place]
        at = log.offsets[users] + before
        if length == 0:
            _, kept = np.unique(users * (int(log.items.max(initial=0)) + 1) + log.items[at], return_index=True)
        else:
            kept = np.flatnonzero(before)
        return cls(users[kept], at[kept], np.minimum(before[kept], length))


def _each(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts [n] -> the place among them, and the number from 0, of each thing counted."""
    place = np.repeat(np.arange(len(counts)), counts)
    return place, np.arange(len(place)) - (np.cumsum(counts) - counts)[place]


@dataclass(frozen=True)
class Pass:
    """How one pass over a training part is cut into batches.

    Attributes:
        size: rows per batch, on average: one of short histories has more, one of long ones fewer.
        length: most events read per row (the paper's n = 50).
        per: what a row is, see ``Rows.of``; rows per event have a target at their last step only.
        most: how many rows a pass has at the most; None for all.
    """

    size: int
    length: int
    per: Per = "user"
    most: int | None = None

    def steps(self, part: Part) -> int:
        """How many batches a pass over this part has."""
        rows = len(Rows.of(part, self.length, self.per))
        return -(-(rows if self.most is None else min(rows, self.most)) // self.size)


def training_batches(
    part: Part,
    how: Pass,
    sampler: Sampler,
    *,
    seed: tuple[int, ...],
    skip: int = 0,
    share: Callable[[int], NDArray[np.int64]] | None = None,
) -> Iterator[Batch]:
    """One pass over a training part: every row once, or a random share of them, in batches of similar lengths and as many targets.

    Every random choice is a function of ``seed`` and the batch's number, so a pass can be taken up again after ``skip``
    batches and gives the very same ones.

    Args:
        part: where sequences stop.
        how: the pass is cut.
        sampler: draws the negatives.
        seed: integers that name this pass, for instance (seed, epoch).
        skip: batches to leave out at the start.
        share: which of a batch's n rows are wanted here, where several processes share each batch; None for all.  What is drawn is
            drawn for the whole batch, so that the shares laid together are the batch of a process on its own.
    """
    rng = np.random.default_rng(seed)
    rows, most = Rows.of(part, how.length, how.per), how.most
    taken = np.arange(len(rows)) if most is None or most >= len(rows) else rng.choice(len(rows), most, replace=False)
    order = taken[np.lexsort((rng.random(len(taken)), rows.steps[taken]))]  # equal lengths in random order
    chunks = _even(order, rows.targets(how.per)[order], -(-len(order) // how.size))
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
        asked = read if how.per != "event" else slots == np.maximum(count, 1)[:, None] - 1
        ahead = np.where(asked, (last - np.maximum(count, 1))[:, None] + slots + 1, 0)
        targets = np.where(asked, log.items[ahead], 0)
        drawn = sampler.draw(users, width, np.random.default_rng((*seed, number)), targets)
        whole = _batch(
            users,
            np.where(read, log.items[at], 0),
            np.where(read, log.times[at], 0),
            np.where(asked, log.times[ahead], np.where(read, log.times[np.minimum(at + 1, len(log) - 1)], 0)),
            targets,
            drawn,
            sampler.expected(drawn),
            events=int(asked.sum()),
        )
        yield whole if share is None else whole.only(torch.from_numpy(share(len(chosen))))


def _even(order: NDArray[np.int64], targets: NDArray[np.int64], parts: int) -> list[NDArray[np.int64]]:
    """Rows in their order, cut into so many parts of about as many targets each; no part is empty.

    Parts of as many rows each would let a step over short histories, which has few targets, move the weights as far as one over
    long ones.
    """
    if not parts:
        return []
    done, number = np.cumsum(targets), np.arange(1, parts)
    cuts = np.searchsorted(done * parts, done[-1] * number, side="right")
    # Where one row has the targets of several parts, the next cuts are at the rows after it, or before the last ones.
    cuts = np.maximum.accumulate(np.maximum(cuts, 1) - number) + number
    return np.split(order, np.minimum(cuts, len(order) - parts + number))


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


def _batch(*arrays: NDArray[np.generic], events: int = 0) -> Batch:
    *whole, expected = arrays
    users, items, times, now, targets, negatives = (torch.from_numpy(np.ascontiguousarray(a, dtype=np.int64)) for a in whole)
    often = torch.from_numpy(np.ascontiguousarray(expected, dtype=np.float64))
    return Batch(users, items, times, now, targets, negatives, often, _asked(targets), events)


def _asked(targets: Tensor) -> Tensor:
    return targets.flatten().nonzero()[:, 0]
