"""What a Recommender stands on and what is told of it: its State, what was said when it was trained, its encoders."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tmmsrec import values
from tmmsrec.data.catalog import Catalog
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import LeaveOneOut, Split
from tmmsrec.models.base import Method, Model
from tmmsrec.recommender import approximate
from tmmsrec.recommender.adding import Encoders
from tmmsrec.recommender.people import People
from tmmsrec.recommender.search import Index
from tmmsrec.recommender.state import State


def split_of(about: Mapping[str, Any]) -> Split:
    """How the log was cut that a bundle was trained on, by what it says of itself; raises ValueError where that is no split."""
    told = about.get("split")
    return values.from_json(Split, told) if told is not None else LeaveOneOut()  # type: ignore[type-abstract]


def leaves_out_seen(about: Mapping[str, Any]) -> bool:
    """Whether a bundle was chosen and tested with what a user has met left out, by what it says of itself."""
    return bool(about.get("exclude_seen", False))


@dataclass
class Live:
    """What is the same for Recommenders that differ only in how they search: an item or event that one takes, all of them know.

    Attributes:
        state: the newest, without an index.
        adding: held by whoever changes anything.
    """

    state: State
    adding: threading.Lock = field(default_factory=threading.Lock)


class Holder:
    """Holds what answers stand on, for reading.

    Attributes:
        about: for people to read and kept in the bundle: training value, metrics, versions; anything that goes to JSON.
    """

    about: dict[str, Any]

    def _hold(self, state: State, about: dict[str, Any], encoders: Encoders) -> None:
        self._live = Live(state.warm())
        self._searched = self._live.state  # the newest State as this one searches it
        self.about = about
        self._encoders = encoders

    @property
    def state(self) -> State:
        """What answers stand on at this moment: vectors, histories, and which items may be recommended; for reading only."""
        mine, newest = self._searched, self._live.state  # in this order the second is never the older one
        if mine.dataset is not newest.dataset:  # another one took items: the index of this one hears of them now
            self._searched = mine = approximate.regrown(newest, mine)
        return mine

    @property
    def index(self) -> Index | None:
        """What finds candidates, with the recall measured when it was built; None while search is exact."""
        return self.state.index

    @property
    def method(self) -> Method:
        """The value the model was built from."""
        return self._live.state.method

    @property
    def trained_users(self) -> int:
        """How many of the users, the first of them, the model was trained with; who came since has no row of its own."""
        return self._live.state.trained_users

    @property
    def model(self) -> Model:
        """The model, in evaluation mode."""
        return self._live.state.model

    @property
    def dataset(self) -> Dataset:
        """The log and the items, added ones included; the log is put together anew when events were added."""
        with self._live.adding:
            return self.people.merged(self._live.state.dataset)

    @property
    def catalog(self) -> Catalog:
        """The items, added ones included."""
        return self._live.state.dataset.catalog

    @property
    def people(self) -> People:
        """The known users and their histories in item rows, added events included; for reading only.

        Whoever reads a history while items are added takes the people and the catalogue from one ``state``, and asks for the
        events of that catalogue's items: ``people.history(row, len(catalog))``.
        """
        return self._live.state.people

    @property
    def seen_left_out(self) -> bool:
        """Whether it was chosen and tested with what a user has met left out: its answers leave that out too, unless asked for."""
        return leaves_out_seen(self.about)

    @property
    def split(self) -> Split:
        """How its log was cut when it was trained: leave-one-out, where nothing else is said."""
        return split_of(self.about)

    @property
    def name(self) -> str:
        """The name of the Dataset."""
        return self._live.state.dataset.name

    @property
    def report(self) -> Mapping[str, Any]:
        """What preparation said of the data: sources, counts, where the pictures are."""
        return self._live.state.dataset.report

    @property
    def trained_items(self) -> int:
        """How many items have a learned row: those that were there when the model was trained."""
        return self._live.state.trained

    def __repr__(self) -> str:
        people, state = self.people, self._live.state
        sizes = f"{len(people):,} users, {len(state.dataset.catalog):,} items, {people.events:,} events"
        return f"Recommender({type(state.method).__name__} over {self.name}: {sizes})"
