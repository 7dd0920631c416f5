"""The counts of Table 2, and what a reader of results must know of the data beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import Parts
from tmmsrec.study.gaps import DAY


@dataclass(frozen=True)
class Spread:
    """How many events fall on one user, or on one item: mean, middle and most."""

    mean: float
    middle: float
    most: int

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> Spread:
        """From counts [n], at least one."""
        return cls(float(counts.mean()), float(np.median(counts)), int(counts.max()))


@dataclass(frozen=True)
class Statistics:
    """What is counted of the whole log and catalogue.

    Attributes:
        users, items, events: how many.
        sparsity: share of user-item pairs without an event, by the number of events (Table 2 of the paper counts so).
        per_user, per_item: events.
        met_once: share of items with a single event.
        first, last: seconds since 1970 of the first and the last event.
        same_time: share of neighbouring events of a user that have the same time (NaN where there are none).
        same_day: the same, by the day (UTC).
        repeats: share of events whose item the user had before.
        again: events that repeat an earlier one's user, item and time.
        having: what -> share of items that have it.
    """

    users: int
    items: int
    events: int
    sparsity: float
    per_user: Spread
    per_item: Spread
    met_once: float
    first: int
    last: int
    same_time: float
    same_day: float
    repeats: float
    again: int
    having: Mapping[str, float]

    @property
    def days(self) -> float:
        """From the first event to the last."""
        return (self.last - self.first) / DAY


@dataclass(frozen=True)
class Targets:
    """What is counted of the test targets of a split.

    Attributes:
        users: how many are asked about.
        unseen: share of targets that occur in nobody's training part.
        before: share that their user had before.
        tied: share with the time of the event before them, so that the order decided which of the two is asked for.
    """

    users: int
    unseen: float
    before: float
    tied: float


def statistics(dataset: Dataset) -> Statistics:
    """Count a dataset of at least one event; sorts the log twice, so ten million events take seconds."""
    log = dataset.interactions
    users = log.owners
    inside = users[1:] == users[:-1]
    per_item = np.bincount(log.items, minlength=dataset.n_items + 1)[1:]
    days = log.times // DAY
    return Statistics(
        users=dataset.n_users,
        items=dataset.n_items,
        events=len(log),
        sparsity=dataset.sparsity,
        per_user=Spread.of(log.lengths),
        per_item=Spread.of(per_item),
        met_once=_share(per_item == 1),
        first=int(log.times.min()),
        last=int(log.times.max()),
        same_time=_share((np.diff(log.times) == 0)[inside]),
        same_day=_share((np.diff(days) == 0)[inside]),
        repeats=_share(log.met_before()),
        again=int(log.met_before(at_that_time=True).sum()),
        having=having(dataset),
    )


def targets(parts: Parts, n_items: int) -> Targets:
    """Count the test targets of a split."""
    test, log = parts.test, parts.test.interactions
    return Targets(
        users=len(test),
        unseen=_share(parts.train.item_counts(n_items)[test.targets] == 0),
        before=_share(log.met_before()[test.ends]),  # a target is its user's next event: all before it may be read
        tied=_share((log.times[test.ends] == log.times[test.ends - 1]) & (test.stop[test.users] > 0)),
    )


def having(dataset: Dataset) -> dict[str, float]:
    """What -> share of items: any text, a named picture, and the rows of each modality."""
    fields = dataset.catalog.fields
    texts = [_filled(fields[name]) for name in dataset.catalog.text_columns]
    none = np.zeros(dataset.n_items, dtype=bool)
    found = {
        "a text": _share(np.any([none, *texts], axis=0)),
        "a picture": _share(_filled(fields["image"]) if "image" in fields.column_names else none),
    }
    return found | {f"{name} features": one.coverage for name, one in sorted(dataset.features.items())}


def _filled(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """[I] whether a field is there and, where it is text, not empty."""
    given = pc.is_valid(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        given = pc.fill_null(pc.greater(pc.utf8_length(column), 0), False)
    return np.asarray(given.to_numpy(), dtype=bool)


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else float("nan")
