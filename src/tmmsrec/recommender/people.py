"""Who is known and what each has met: the log of the Dataset, and over it the events that came later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions

History = tuple[NDArray[np.int64], NDArray[np.int64]]  # item rows and seconds, in time order


@dataclass(frozen=True)
class NewEvent:
    """An event that is not in the log yet.

    Attributes:
        place: its place in what was given.
        user: outside id, in the type of the log's user ids.
        item: item row.
        at: seconds UTC.
    """

    place: int
    user: Any
    item: int
    at: int


@dataclass(frozen=True)
class AddedEvents:
    """How events were taken.

    Attributes:
        accepted: events that were new.
        known: events that were there already, or given twice.
        new_users: users who were not known before.
    """

    accepted: int
    known: int
    new_users: int


class People:
    """Users by row and their histories.  Rows 0..U-1 are the Dataset's; users who came later stand after them.

    The log is never copied: whoever did something later has a whole history of their own here, which stands in the place of the
    log's.  A history is replaced as a whole, so a reader in another thread sees the old one or the new one.  Writers take turns;
    that is the caller's matter.
    """

    def __init__(self, users: Ids, log: Interactions) -> None:
        self._users, self._log = users, log
        self._later: dict[int, History] = {}
        self._new: dict[Any, int] = {}
        self._counts: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._users) + len(self._new)

    def __iter__(self) -> Iterator[Any]:
        """Outside ids, in the order of their rows."""
        yield from self._users
        yield from list(self._new)

    def __contains__(self, user: Any) -> bool:
        return user in self._users or self._users.same_type(user) in self._new

    @property
    def later(self) -> int:
        """How many events came later."""
        return self._counts.total()

    def id(self, row: int) -> Any:
        """The outside id of a row."""
        return self._users[row] if row < len(self._users) else list(self._new)[row - len(self._users)]

    def row(self, user: Any) -> int:
        """The row of a user; raises UnknownId."""
        found = self._new.get(self._users.same_type(user))
        return self._users.row(user) if found is None else found

    def history(self, row: int, n_items: int | None = None) -> History:
        """A user's history, in time order; only its events of item rows 1..n_items where the caller's catalogue may be older."""
        found = self._later.get(row)
        if found is None:
            own = slice(int(self._log.offsets[row]), int(self._log.offsets[row + 1])) if row < len(self._users) else slice(0, 0)
            return np.asarray(self._log.items[own], np.int64), np.asarray(self._log.times[own], np.int64)
        items, times = found
        if n_items is None or items.max() <= n_items:
            return found
        known = items <= n_items
        return items[known], times[known]

    def length(self, row: int) -> int:
        """How many events a user has."""
        found = self._later.get(row)
        return len(found[0]) if found is not None else int(self._log.offsets[row + 1] - self._log.offsets[row])

    def last(self, row: int) -> int | None:
        """Seconds of a user's newest event; None for one without any."""
        found = self._later.get(row)
        if found is not None:
            return int(found[1][-1])
        end = int(self._log.offsets[row + 1])
        return int(self._log.times[end - 1]) if end > self._log.offsets[row] else None

    @cached_property
    def span(self) -> tuple[int, int] | None:
        """Seconds of the first and the last event of the log, later ones left out; None for an empty log."""
        times = self._log.times
        return (int(times.min()), int(times.max())) if len(times) else None

    @cached_property
    def _logged(self) -> NDArray[np.int64]:
        return np.bincount(self._log.items).astype(np.int64)

    def counts(self, n_items: int) -> NDArray[np.int64]:
        """[I+1] events of each item row, later ones included."""
        found = np.zeros(n_items + 1, np.int64)
        found[: len(self._logged)] = self._logged
        for item, more in list(self._counts.items()):
            if item <= n_items:  # the caller's catalogue may be older
                found[item] += more
        return found

    @property
    def events(self) -> int:
        """How many events there are, later ones included."""
        return len(self._log) + self.later

    def unseen(self, events: Sequence[NewEvent]) -> list[NewEvent]:
        """Those that no history holds yet, each once."""
        given: set[tuple[Any, int, int]] = set()
        found = []
        for event in events:
            key = event.user, event.item, event.at
            if key not in given and not self._holds(event):
                found.append(event)
            given.add(key)
        return found

    def _holds(self, event: NewEvent) -> bool:
        if event.user not in self:
            return False
        items, times = self.history(self.row(event.user))
        same = slice(*np.searchsorted(times, [event.at, event.at + 1]))
        return bool((items[same] == event.item).any())

    def add(self, events: Sequence[NewEvent]) -> int:
        """Take events that ``unseen`` gave, each to its place by time (after those of the same time); how many users are new."""
        before = len(self)
        of_user: dict[Any, list[NewEvent]] = {}
        for event in events:
            of_user.setdefault(event.user, []).append(event)
        for user, own in of_user.items():
            row = self.row(user) if user in self else len(self)
            items, times = self.history(row)
            items = np.concatenate([items, np.array([e.item for e in own], np.int64)])
            times = np.concatenate([times, np.array([e.at for e in own], np.int64)])
            order = np.argsort(times, kind="stable")
            self._later[row] = items[order], times[order]
            if user not in self:
                self._new[user] = row  # a reader who finds the user finds the history too
        self._counts.update(event.item for event in events)
        return len(self) - before

    def merged(self, dataset: Dataset) -> Dataset:
        """A Dataset (with the log that these people began with) whose log holds the later events too, in memory only."""
        if not self._later:
            return dataset
        log, rows = self._log, np.array(sorted(self._later), np.int64)
        owner = np.repeat(np.arange(log.users, dtype=np.int64), log.lengths)
        kept = ~np.isin(owner, rows)
        users = np.concatenate([owner[kept], np.repeat(rows, [self.length(int(row)) for row in rows])])
        items = np.concatenate([log.items[kept], *[self._later[int(row)][0] for row in rows]])
        times = np.concatenate([log.times[kept], *[self._later[int(row)][1] for row in rows]])
        ids = Ids(
            pa.concat_arrays([self._users.array, pa.array(list(self._new), type=self._users.array.type)]),
            first=self._users.first,
            what=self._users.what,
        )
        report = {**dataset.report, "events_added": dataset.report.get("events_added", 0) + self.later}
        whole = Interactions.of(users, items, times, len(self))
        return replace(dataset, interactions=whole, users=ids, report=report, folder=None)
