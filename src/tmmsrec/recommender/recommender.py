"""Recommender: the trained thing that a person holds; how it begins, is saved and opened, and takes what is new."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import Part
from tmmsrec.extract.base import Fitted
from tmmsrec.models.base import Method, Model
from tmmsrec.recommender import approximate, asking, bundle
from tmmsrec.recommender.adding import Added, checked, with_items
from tmmsrec.recommender.asking import Moment
from tmmsrec.recommender.people import AddedEvents, NewEvent
from tmmsrec.recommender.questions import Questions
from tmmsrec.recommender.search import Search
from tmmsrec.recommender.state import State, only_first


class Recommender(Questions):
    """The trained thing a person holds.

    Ids are outside ids everywhere.  Answers may be asked for from several threads while items are added.

    Args:
        method: what the model was built from.
        model: trained; the Recommender owns it from now on, puts it into evaluation mode and shows it the events that it may count.
        dataset: its log gives the known users' histories, all events.
        about: for people to read and kept in the bundle: training value, metrics, versions; anything that goes to JSON.
        encoders: modality -> fitted encoder, for items that come later.
        counted: the events that it may count; the whole log if not given.  Who asks what it would have said before an event must
            not let it count that event.

    Raises:
        DataProblem: the model does not fit the dataset, or its item vectors hold NaN.
    """

    def __init__(
        self,
        method: Method,
        model: Model,
        dataset: Dataset,
        about: Mapping[str, Any] | None = None,
        encoders: Mapping[str, Fitted] | None = None,
        counted: Part | None = None,
    ) -> None:
        model.observe(counted or Part.whole(dataset.interactions))
        state = State(method, only_first(model, dataset.n_items), dataset, dataset.n_items)
        self._hold(state, dict(about or {}), dict(encoders or {}))

    @classmethod
    def load(cls, folder: Path | str) -> Recommender:
        """Open a bundle; its scores equal those of the Recommender that was saved, bit for bit on the same machine.

        Raises:
            DataProblem: no bundle there, or a damaged one (the file is named).
            NewerFormat: written by a later version.
        """
        self = cls.__new__(cls)
        self._hold(*bundle.read(Path(folder)))
        return self

    def save(self, folder: Path | str) -> None:
        """Write a bundle: a folder with the model, the items, the users' histories and the encoders, replaced as a whole.

        Items and events that were added are in it.  What is popular is then counted with them.

        Raises:
            DataProblem: the folder holds something else, or the disk refuses; what stood there before is untouched.
        """
        with self._live.adding:
            bundle.write(Path(folder), self._live.state, self.about, self._encoders)

    def with_search(self, how: Search) -> Recommender:
        """A Recommender to take in the place of this one, which searches in this way; ``HNSW()`` and ``IVF()`` need faiss.

        Building measures the recall against exact search: ``index.recall``.  Items that are added later are found at once.  A
        question that leaves too few candidates (a short list of allowed items, a large k) is answered exactly, and so are
        ``explain`` and ``similar``.  An index is not saved with the bundle.  Both know the items and events that either is given.

        Raises:
            DataProblem: the method has no item vectors, or faiss is not installed.
        """
        other = copy.copy(self)
        with self._live.adding:
            other._searched = approximate.indexed(self._live.state, how)
        return other

    def add_items(self, items: Sequence[Mapping[str, Any]], *, first: Callable[[list[Added]], object] | None = None) -> list[Added]:
        """Take items never seen, with their text and picture, so that they can be recommended at once; or update known ones.

        Each item is ``{"id": ..., "title": ..., "image": ..., ...}``: fields of the catalogue, and the picture as bytes or as a
        file's path.  Texts and pictures go through the encoders of this Recommender.  A new item has no learned row: what the
        method reads of it is its text and picture.  For an item that is known, what is given is replaced and all else stays.  A
        picture that is missing or broken is said and masked.  Nothing is trained, and nothing changes if any item is refused.

        Args:
            items: the records.
            first: called with what will be returned when all is checked and nothing is changed yet, to write it down somewhere; if
                it raises, nothing changes.

        Raises:
            DataProblem: an item without an id, twice the same id, an unknown field, or a value that does not suit the field; the
                place is named.
        """
        with self._live.adding:
            state, added = with_items(self._live.state, items, self._encoders)
            searched = approximate.regrown(state.warm(), self._searched)
            if first is not None:
                first(added)
            self._live.state, self._searched = state, searched
        return added

    def check_items(self, items: Sequence[Mapping[str, Any]], *, picture: str = "image") -> None:
        """Raise the DataProblem that ``add_items`` would raise for these records; nothing is encoded and nothing changes.

        ``picture`` is what the problem calls the field of a picture.
        """
        checked(self.catalog, items, picture=picture)

    def add_events(
        self, events: Iterable[tuple[Any, Any, Moment]], *, first: Callable[[list[NewEvent]], object] | None = None
    ) -> AddedEvents:
        """Take (user, item, time) events, so that the next answer knows them; all or nothing.

        A user who is new begins to exist.  The same user, item and time again counts once.  An event earlier than the newest one is
        put in its place by time.  Nothing is trained: what a model counted or learned stays, the popularity that stands in for an
        empty history too; what changes is the history that it reads.  A method that knows users by rows of their own has none for
        a new user, and gives them what is popular.

        Args:
            events: in any order.
            first: called with the events that no history holds yet, when all is checked and nothing is changed yet; if it raises,
                nothing changes.

        Raises:
            UnknownId: an unknown item; its place is named.
            DataProblem: an event that is no (user, item, time), a user id of another kind than those that are known, or a time that
                cannot be read.
        """
        with self._live.adding:
            state = self._live.state
            given = list(asking.listed(events, "events"))
            new = asking.of_events(state.people, state.dataset.users, state.dataset.catalog.ids, given)
            if first is not None:
                first(new)
            return AddedEvents(len(new), len(given) - len(new), state.people.add(new))
