"""The logs that contenders are measured on, and how one is cut and laid out for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.neighbours.desk import Events
from bench.neighbours.setting import Setting
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.split import LeaveOneOut, Part, Parts

#: Users, items and events of the log that other SASRecs are commonly timed on, Amazon's Luxury_Beauty with five events a user.
LUXURY = (3_819, 1_581, 34_278)
DAY = 86_400


def luxury_like(users: int = LUXURY[0], items: int = LUXURY[1], events: int = LUXURY[2], seed: int = 0) -> Dataset:
    """A made log of exactly these sizes in which there is something to learn: what comes next depends on what came before.

    Everybody has five events or more, lengths have a geometric tail.  A next event is, with chance .45, one of the three items
    that follow the present one, with .15 one that the user had, else drawn by popularity, which falls as 1 / (rank + 10).
    """
    rng = np.random.default_rng(seed)
    weights = rng.exponential(size=users)
    lengths = 5 + rng.multinomial(events - 5 * users, weights / weights.sum())
    popularity = 1.0 / (np.arange(items) + 10.0)
    popularity = rng.permutation(popularity / popularity.sum())
    follows = rng.choice(items, (items, 3), p=popularity)
    drawn = rng.choice(items, events, p=popularity)
    chance, which = rng.random(events), rng.integers(1 << 30, size=events)
    at = 0
    for length in lengths:
        for n in range(at + 1, at + length):
            if chance[n] < 0.45:
                drawn[n] = follows[drawn[n - 1], which[n] % 3]
            elif chance[n] < 0.60:
                drawn[n] = drawn[at + which[n] % (n - at)]
        at += length
    owner = np.repeat(np.arange(users), lengths)
    times = np.sort(rng.integers(12_000 * DAY, 17_500 * DAY, events))  # sorted within each user, as they are among all
    return Dataset.in_memory("luxury-like", Interactions.of(owner, drawn + 1, times, users), items)


@dataclass(frozen=True, eq=False)
class Cut:
    """A log cut by leave-one-out.

    Attributes:
        dataset: the whole.
        parts: training, validation and test.
        length: newest events that are read.
    """

    dataset: Dataset
    parts: Parts
    length: int

    @classmethod
    def of(cls, dataset: Dataset, length: int) -> Cut:
        """Each user's last event is the test target, the one before it the validation target."""
        return cls(dataset, LeaveOneOut().cut(dataset.interactions), length)

    @property
    def events(self) -> int:
        """Steps with a target in one epoch: for each user the training events after the first, the newest ``length`` of them."""
        counts = self.parts.train.stop[self.parts.train.users]
        return int(np.minimum(counts - 1, self.length).sum())

    @property
    def valid_targets(self) -> NDArray[np.int32]:
        """[asked]."""
        return self.parts.valid.targets

    @property
    def test_targets(self) -> NDArray[np.int32]:
        """[asked], which no contender sees."""
        return self.parts.test.targets

    def lay_out(self, folder: Path, setting: Setting) -> Path:
        """Write what a contender is given (see ``desk``)."""
        folder.mkdir(parents=True, exist_ok=True)
        setting.write(folder / "setting.json")
        (folder / "sizes.json").write_text(json.dumps({"users": self.dataset.n_users, "items": self.dataset.n_items}))
        self._training().write(folder / "train.csv")
        valid, log = self.parts.valid, self.dataset.interactions
        Events(valid.users, log.items[valid.ends].astype(np.int64), log.times[valid.ends]).write(folder / "valid.csv")
        return folder

    def _training(self) -> Events:
        train: Part = self.parts.train
        log, readable = self.dataset.interactions, train.readable
        owner = log.owners
        return Events(owner[readable], log.items[readable].astype(np.int64), log.times[readable])
