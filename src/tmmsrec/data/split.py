"""Splits only say where each user's sequence stops; nothing is copied."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem

_USERS = 1 << 18  # users whose events are counted together


@dataclass(frozen=True, eq=False)
class Part:
    """What may be read of each user, and whose next event is asked for.

        user u:   e0  e1  e2  e3 | e4         stop[u] = 4: e0..e3 may be read;
                                   ^ target   e4 is asked for when u is in ``users`` of a validation or test part

    Attributes:
        name: "train", "valid", "test", or "all" (``whole``).
        interactions: the log.
        stop: [U] int64, how many of each user's events may be read.
        users: [n] int64, rows of the users that take part: to learn from (train) or to ask about (valid, test).
    """

    name: str
    interactions: Interactions
    stop: NDArray[np.int64]
    users: NDArray[np.int64]

    @classmethod
    def whole(cls, log: Interactions) -> Part:
        """All of a log may be read."""
        return cls("all", log, log.lengths, np.arange(log.users))

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        return f"Part({self.name}: {len(self):,} users, {int(self.stop.sum()):,} of {len(self.interactions):,} events may be read)"

    @property
    def ends(self) -> NDArray[np.int64]:
        """[n] position in the log just after the last event that may be read; the target's position in valid and test."""
        return self.interactions.offsets[self.users] + self.stop[self.users]

    @property
    def targets(self) -> NDArray[np.int32]:
        """[n] item rows asked for.  Raises ValueError in a part to learn from, or where all of a user's events may be read."""
        ends = self.ends
        if self.name == "train" or (ends >= self.interactions.offsets[self.users + 1]).any():
            raise ValueError(f"the part '{self.name}' has no held-out targets")
        return self.interactions.items[ends]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """[N] which events of the log may be read."""
        log = self.interactions
        within = np.arange(len(log)) - np.repeat(log.offsets[:-1], log.lengths)
        return within < np.repeat(self.stop, log.lengths)

    def reads_as(self, other: Part) -> bool:
        """Whether the same events of the same log may be read."""
        return self.interactions is other.interactions and np.array_equal(self.stop, other.stop)

    def read_of(self, users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """[m] places in ``users`` [B] and item rows of all events that may be read of them, user by user."""
        stop = self.stop[users]
        place = np.repeat(np.arange(len(users)), stop)
        at = np.arange(len(place)) + np.repeat(self.interactions.offsets[users] - (np.cumsum(stop) - stop), stop)
        return place, self.interactions.items[at]

    def item_counts(self, n_items: int) -> NDArray[np.int64]:
        """[I+1] how often each item occurs among the events that may be read."""
        log, counts = self.interactions, np.zeros(n_items + 1, np.int64)
        for start in range(0, log.users, _USERS):  # the log may be larger than memory
            own = slice(start, start + _USERS)
            stop, lengths = self.stop[own], log.lengths[own]
            first = log.offsets[start]
            within = np.arange(int(lengths.sum())) - np.repeat(log.offsets[own][: len(lengths)] - first, lengths)
            items = log.items[first : first + len(within)][within < np.repeat(stop, lengths)]
            counts += np.bincount(items, minlength=n_items + 1)
        return counts


@dataclass(frozen=True, eq=False)
class Parts:
    """The three parts of a split; ValueError where a target could be read before it is asked for."""

    train: Part
    valid: Part
    test: Part

    def __post_init__(self) -> None:
        for earlier, later in ((self.train, self.valid), (self.train, self.test), (self.valid, self.test)):
            read = later.users[earlier.stop[later.users] > later.stop[later.users]]
            if len(read):
                raise ValueError(
                    f"the part '{earlier.name}' may read the {later.name} target of user row {read[0]} ({len(read):,} such); "
                    "a split holds it back"
                )


class Split(ABC):
    """A way to cut a log: a value."""

    @property
    @abstractmethod
    def said(self) -> str:
        """How it cuts, in a sentence that stands beside results."""

    @abstractmethod
    def cut(self, log: Interactions) -> Parts:
        """Say where each user's training, validation and test histories stop."""


@dataclass(frozen=True)
class LeaveOneOut(Split):
    """Each user's last event is the test target and the one before it the validation target (paper section 3.1).

    Validation reads the training events; test reads the validation event too.  Users with fewer than 3 events are only
    learned from.
    """

    @property
    def said(self) -> str:
        """Which events."""
        return "Leave-one-out: each user's last event is the test target; the one before it chose the epoch"

    def cut(self, log: Interactions) -> Parts:
        """Stops at n-2, n-2 and n-1; raises DataProblem when no user has 3 events."""
        n = log.lengths
        asked = np.flatnonzero(n >= 3)
        if len(asked) == 0:
            raise DataProblem("no user has 3 events: nothing is left to validate and test on")
        stop = np.where(n >= 3, n - 2, n)
        return Parts(
            train=Part("train", log, stop, np.flatnonzero(stop >= 2)),
            valid=Part("valid", log, stop, asked),
            test=Part("test", log, np.where(n >= 3, n - 1, n), asked),
        )


@dataclass(frozen=True)
class ByTime(Split):
    """One calendar cut for everybody: nothing from the future in training.

    Each user's first event at or after ``valid_from`` (before ``test_from``) is a validation target, the first at or after
    ``test_from`` a test target; users without earlier events are not asked about.  Dates are ISO (UTC).
    """

    valid_from: str
    test_from: str

    def __post_init__(self) -> None:
        if not self._seconds(self.valid_from) < self._seconds(self.test_from):
            raise DataProblem(f"valid_from {self.valid_from} must lie before test_from {self.test_from}")

    @property
    def said(self) -> str:
        """The dates."""
        return (
            f"By time: trained on what came before {self.valid_from}; the test target is each user's first event from "
            f"{self.test_from} on, and the first one from {self.valid_from} on chose the epoch"
        )

    @staticmethod
    def _seconds(date: str) -> int:
        try:
            moment = datetime.fromisoformat(date)
        except ValueError:
            raise DataProblem(f"'{date}' is not an ISO date such as 2020-09-01") from None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())

    def cut(self, log: Interactions) -> Parts:
        """Stops at the two dates; raises DataProblem when a part would be empty (the log's own dates are named)."""
        user = log.owners
        first, second = self._seconds(self.valid_from), self._seconds(self.test_from)
        before_valid = np.bincount(user[log.times < first], minlength=log.users)
        before_test = np.bincount(user[log.times < second], minlength=log.users)
        valid = np.flatnonzero((before_valid > 0) & (before_test > before_valid))
        test = np.flatnonzero((before_test > 0) & (log.lengths > before_test))
        train = np.flatnonzero(before_valid >= 2)
        for name, users in (("training", train), ("validation", valid), ("test", test)):
            if len(users) == 0:
                span = [datetime.fromtimestamp(int(t), UTC).date().isoformat() for t in (log.times.min(), log.times.max())]
                raise DataProblem(f"no user is left for {name}; the log runs from {span[0]} to {span[1]}: move the dates")
        return Parts(
            train=Part("train", log, before_valid, train),
            valid=Part("valid", log, before_valid, valid),
            test=Part("test", log, before_test, test),
        )


@dataclass(frozen=True)
class ColdItems(Split):
    """Targets that are in nobody's training part, whatever the method: the newest items of the log.

        items by first appearance   1 2 3 4 5 6 7 8 | 9 | 10        share .1: 9 is for validation, 10 for the test
        user u                      3 1 9 4 10 2                    learned from: 3 1; valid: 3 1 -> 9; test: 3 1 9 4 -> 10

    Every user's training events end before the first new item.  The validation target is the first item of the validation kind,
    where no test item came before it; the test target is the first test item, and all before it may be read.  A target that no
    event goes before is not asked for.

    Attributes:
        share: of the items with events that are held out for each of validation and test.
    """

    share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.share < 0.5:
            hint = f"; {self.share:g} % are {self.share / 100:g}" if 1 <= self.share < 50 else ""
            raise DataProblem(f"ColdItems.share lies between 0 and .5, got {self.share:g}{hint}")

    @property
    def said(self) -> str:
        """The share."""
        return (
            f"Cold items, which no training event holds: the newest {100 * self.share:g} % of the items are the test targets, each "
            f"user's first one asked for, and the {100 * self.share:g} % before them chose the epoch"
        )

    def cut(self, log: Interactions) -> Parts:
        """Stops before the first new item; raises DataProblem when nobody is left to ask about."""
        kind = self._kinds(log)[log.items]
        before_any, before_test = _first(log, kind > 0), _first(log, kind > 1)
        valid = np.flatnonzero((before_any > 0) & (before_any < before_test))
        test = np.flatnonzero((before_test > 0) & (before_test < log.lengths))
        train = np.flatnonzero(before_any >= 2)
        for name, users in (("training", train), ("validation", valid), ("test", test)):
            if len(users) == 0:
                raise DataProblem(f"no user is left for {name} with {self.share:.0%} of the items new: change the share")
        return Parts(
            train=Part("train", log, before_any, train),
            valid=Part("valid", log, before_any, valid),
            test=Part("test", log, before_test, test),
        )

    def _kinds(self, log: Interactions) -> NDArray[np.int64]:
        """[I+1] 0 for items to learn from, 1 for validation, 2 for the test; by first appearance, then by row."""
        order = np.argsort(log.times, kind="stable")
        rows, first = np.unique(log.items[order], return_index=True)
        newest = rows[np.lexsort((rows, log.times[order][first]))]
        held = max(1, round(len(newest) * self.share))
        kinds = np.zeros(int(log.items.max(initial=0)) + 1, dtype=np.int64)
        kinds[newest[-2 * held : -held]], kinds[newest[-held:]] = 1, 2
        return kinds


def _first(log: Interactions, flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[U] how many events of each user come before the first flagged one; all, where none is."""
    user = log.owners
    place = np.where(flags, np.arange(len(log)) - log.offsets[user], log.lengths[user])
    found = log.lengths.copy()
    np.minimum.at(found, user, place)
    return found


@dataclass(frozen=True)
class PaperLeak(Split):
    """Leave-one-out as the authors' code runs it: the epoch is chosen by the test items.

    Not a way to measure a method; a way to measure what that choice is worth.
    """

    @property
    def said(self) -> str:
        """The warning."""
        return "LEAK, as the authors' code: leave-one-out, and the epoch was chosen by the very test items that are reported"

    def cut(self, log: Interactions) -> Parts:
        """The parts of LeaveOneOut, with the test targets in the place of the validation targets."""
        clean = LeaveOneOut().cut(log)
        return Parts(clean.train, Part("valid", log, clean.test.stop, clean.test.users), clean.test)


PROTOCOLS = ("leave-one-out", "by-time=VALID_FROM,TEST_FROM", "cold-items", "cold-items=SHARE", "paper-leak")


def protocol(text: str) -> Split:
    """The split that a command line names, one of PROTOCOLS; raises DataProblem for anything else."""
    name, given, rest = text.partition("=")
    if name == "by-time" and rest.count(",") == 1:
        return ByTime(*rest.split(","))
    if name == "cold-items" and not given:
        return ColdItems()
    if name == "cold-items" and re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", rest):
        return ColdItems(float(rest))
    if not given and name in ("leave-one-out", "paper-leak"):
        return LeaveOneOut() if name == "leave-one-out" else PaperLeak()
    raise DataProblem(f"'{text}' is no protocol; known: {', '.join(PROTOCOLS)}")
