"""Splits only say where each user's sequence stops; nothing is copied."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem


@dataclass(frozen=True, eq=False)
class Part:
    """What may be read of each user, and whose next event is asked for.

        user u:   e0  e1  e2  e3 | e4         stop[u] = 4: e0..e3 may be read;
                                   ^ target   e4 is asked for when u is in ``users`` of a validation or test part

    Attributes:
        name: "train", "valid" or "test".
        interactions: the log.
        stop: [U] int64, how many of each user's events may be read.
        users: [n] int64, rows of the users that take part: to learn from (train) or to ask about (valid, test).
    """

    name: str
    interactions: Interactions
    stop: NDArray[np.int64]
    users: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)

    @property
    def ends(self) -> NDArray[np.int64]:
        """[n] position in the log just after the last event that may be read; the target's position in valid and test."""
        return self.interactions.offsets[self.users] + self.stop[self.users]

    @property
    def targets(self) -> NDArray[np.int32]:
        """[n] item rows asked for.  Raises ValueError in the training part, which asks for none."""
        if self.name == "train":
            raise ValueError("the training part has no held-out targets")
        return self.interactions.items[self.ends]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """[N] which events of the log may be read."""
        log = self.interactions
        within = np.arange(len(log)) - np.repeat(log.offsets[:-1], log.lengths)
        return within < np.repeat(self.stop, log.lengths)

    def item_counts(self, n_items: int) -> NDArray[np.int64]:
        """[I+1] how often each item occurs among the events that may be read."""
        return np.bincount(self.interactions.items[self.readable], minlength=n_items + 1)


@dataclass(frozen=True, eq=False)
class Parts:
    """The three parts of a split."""

    train: Part
    valid: Part
    test: Part


class Split(ABC):
    """A way to cut a log: a value."""

    @abstractmethod
    def cut(self, log: Interactions) -> Parts:
        """Say where each user's training, validation and test histories stop."""


@dataclass(frozen=True)
class LeaveOneOut(Split):
    """Each user's last event is the test target and the one before it the validation target (paper section 3.1).

    Validation reads the training events; test reads the validation event too.  Users with fewer than 3 events are only
    learned from.
    """

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

    @staticmethod
    def _seconds(date: str) -> int:
        try:
            moment = datetime.fromisoformat(date)
        except ValueError:
            raise DataProblem(f"'{date}' is not an ISO date such as 2020-09-01") from None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())

    def cut(self, log: Interactions) -> Parts:
        """Stops at the two dates; raises DataProblem when a part would be empty (the log's own dates are named)."""
        user = np.repeat(np.arange(log.users), log.lengths)
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
