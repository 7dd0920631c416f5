"""The log: who met what, when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmmsrec.data.problems import DataProblem


@dataclass(frozen=True, eq=False)
class Interactions:
    """Events, ragged by user and in time order within each user.

        user 0: items[offsets[0]:offsets[1]], times[offsets[0]:offsets[1]]
        user 1: items[offsets[1]:offsets[2]], ...

    Attributes:
        offsets: [U+1] int64, where each user's events begin and end.
        items: [N] int32, item rows 1..I (0 is padding and never occurs).
        times: [N] int64, seconds since 1970 UTC, never decreasing within a user.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.int64]

    @property
    def users(self) -> int:
        """How many users."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Events of each user, [U]."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> NDArray[np.int64]:
        """Whose each event is, [N] user rows; made anew at every call."""
        return np.repeat(np.arange(self.users), self.lengths)

    def met_before(self, *, at_that_time: bool = False) -> NDArray[np.bool_]:
        """[N] whether the user has an earlier event, in the log's order, with the same item (and the same time)."""
        owners = self.owners
        if at_that_time:
            new = (np.diff(owners) != 0) | (np.diff(self.times) != 0)
            owners = np.concatenate([[0], np.cumsum(new)])[: len(self)].astype(np.int64)
        keys = owners * (int(self.items.max(initial=0)) + 1) + self.items
        found = np.ones(len(self), dtype=bool)
        found[np.unique(keys, return_index=True)[1]] = False
        return found

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"Interactions({self.users:,} users, {len(self):,} events)"

    @classmethod
    def of(
        cls,
        users: NDArray[np.integer],
        items: NDArray[np.integer],
        times: NDArray[np.integer],
        n_users: int | None = None,
    ) -> Interactions:
        """Sort events (three columns of equal length, user rows from 0) by user and time; equal times keep their order."""
        if not len(users) == len(items) == len(times):
            raise DataProblem(f"columns differ in length: {len(users)} users, {len(items)} items, {len(times)} times")
        order = np.lexsort((np.asarray(times), np.asarray(users)))  # lexsort is stable
        counts = np.bincount(np.asarray(users), minlength=n_users or 0)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(offsets, np.asarray(items)[order].astype(np.int32), np.asarray(times)[order].astype(np.int64))

    def check(self, n_items: int) -> None:
        """Refuse a log whose arrays contradict each other.

        Raises:
            DataProblem: offsets out of order or not covering the events, an item row outside 1..n_items, or time going
                backwards within a user (the user and event are named).
        """
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.items) or len(self.items) != len(self.times):
            raise DataProblem(
                f"offsets run from {self.offsets[0]} to {self.offsets[-1]} over {len(self.items)} items and {len(self.times)} times"
            )
        if np.any(self.lengths < 0):
            raise DataProblem(f"offsets decrease at user row {int(np.argmax(self.lengths < 0))}")
        if len(self.items) and (self.items.min() < 1 or self.items.max() > n_items):
            raise DataProblem(f"item rows span {self.items.min()}..{self.items.max()}, the catalogue holds 1..{n_items}")
        for events, gaps in self.gaps():
            if (gaps < 0).any():
                event = int(events[np.argmax(gaps < 0)])
                user = int(np.searchsorted(self.offsets, event, side="right")) - 1
                raise DataProblem(f"time goes backwards at event {event} (user row {user}): sort the log by user and time")

    def gaps(self, block: int = 1 << 20) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Seconds from one event of a user to the next, ``block`` events at a time: the later events' places, and the gaps."""
        begins = self.offsets[:-1]  # the first event of a user, which no gap leads to; of users without events it repeats
        for start in range(1, len(self), block):
            stop = min(start + block, len(self))
            later = np.ones(stop - start, dtype=bool)
            low, high = np.searchsorted(begins, [start, stop])
            later[begins[low:high] - start] = False
            yield start + np.flatnonzero(later), np.diff(self.times[start - 1 : stop])[later]

    def repeats(self, block: int = 1 << 20) -> tuple[int, int]:
        """How many events repeat an earlier one's user and item, and how many its time too; some ``block`` events at a time."""
        items = moments = start = 0
        while start < self.users:
            reach = int(np.searchsorted(self.offsets, self.offsets[start] + block, side="right"))
            stop = max(start + 1, reach - 1)  # whole users
            here = slice(self.offsets[start], self.offsets[stop])
            owner = np.repeat(np.arange(stop - start, dtype=np.int64), np.diff(self.offsets[start : stop + 1]))
            pairs = (owner << 32) + self.items[here]
            order = np.argsort(pairs, kind="stable")  # events of a pair stay in the order of their times
            same = pairs[order][1:] == pairs[order][:-1]
            times = self.times[here][order]
            items, moments, start = items + int(same.sum()), moments + int((same & (times[1:] == times[:-1])).sum()), stop
        return items, moments
