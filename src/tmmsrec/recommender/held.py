"""Recommender: ask it for recommendations, similar items and reasons; give it new items; save and load it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tmmsrec.data.catalog import Catalog
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import Part
from tmmsrec.extract.base import Fitted
from tmmsrec.models.base import Method, Model
from tmmsrec.recommender import approximate, asking, bundle
from tmmsrec.recommender.adding import Added, Encoders, with_items
from tmmsrec.recommender.answering import Answer, Recommendation, Wanted, answers, placed, similar
from tmmsrec.recommender.asking import Asked, Event, Moment, Question, Where
from tmmsrec.recommender.people import AddedEvents, NewEvent, People
from tmmsrec.recommender.search import Index, Search
from tmmsrec.recommender.state import State, only_first


class Recommender:
    """The trained thing a person holds.

    Ids are outside ids everywhere.  Answers may be asked for from several threads while items are added.

    Args:
        method: what the model was built from.
        model: trained; the Recommender owns it from now on, puts it into evaluation mode and shows it the whole log.
        dataset: its log gives the known users' histories, all events.
        about: for people to read and kept in the bundle: training value, metrics, versions; anything that goes to JSON.
        encoders: modality -> fitted encoder, for items that come later.

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
    ) -> None:
        log = dataset.interactions
        model.observe(Part("all", log, log.lengths, np.arange(log.users)))
        state = State(method, only_first(model, dataset.n_items), dataset, dataset.n_items)
        self._hold(state, dict(about or {}), dict(encoders or {}))

    def _hold(self, state: State, about: dict[str, Any], encoders: Encoders) -> None:
        self._state = state.warm()
        self.about = about
        self._encoders = encoders
        self._adding = threading.Lock()

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
        with self._adding:
            bundle.write(Path(folder), self._state, self.about, self._encoders)

    def with_search(self, how: Search) -> Recommender:
        """A Recommender to take in the place of this one, which searches in this way; ``HNSW()`` and ``IVF()`` need faiss.

        Building measures the recall against exact search: ``index.recall``.  Items that are added later are found at once.  A
        question that leaves too few candidates (a short list of allowed items, a large k) is answered exactly, and so are
        ``explain`` and ``similar``.  An index is not saved with the bundle.  Both know the events that either is given.

        Raises:
            DataProblem: the method has no item vectors, or faiss is not installed.
        """
        other = copy.copy(self)
        with self._adding:
            other._state = approximate.indexed(self._state, how)
        return other

    @property
    def state(self) -> State:
        """What answers stand on at this moment: vectors, histories, and which items may be recommended; for reading only."""
        return self._state

    @property
    def index(self) -> Index | None:
        """What finds candidates, with the recall measured when it was built; None while search is exact."""
        return self._state.index

    @property
    def method(self) -> Method:
        """The value the model was built from."""
        return self._state.method

    @property
    def model(self) -> Model:
        """The model, in evaluation mode."""
        return self._state.model

    @property
    def dataset(self) -> Dataset:
        """The log and the items, added ones included; the log is put together anew when events were added."""
        with self._adding:
            return self._state.people.merged(self._state.dataset)

    @property
    def catalog(self) -> Catalog:
        """The items, added ones included."""
        return self._state.dataset.catalog

    @property
    def people(self) -> People:
        """The known users and their histories in item rows, added events included; for reading only."""
        return self._state.people

    @property
    def name(self) -> str:
        """The name of the Dataset."""
        return self._state.dataset.name

    @property
    def report(self) -> Mapping[str, Any]:
        """What preparation said of the data: sources, counts, where the pictures are."""
        return self._state.dataset.report

    @property
    def trained_items(self) -> int:
        """How many items have a learned row: those that were there when the model was trained."""
        return self._state.trained

    @property
    def reads_at(self) -> bool:
        """Whether the moment of the request changes the scores; otherwise ``at`` only says which events have happened yet."""
        return self._state.method.reads_now

    def __repr__(self) -> str:
        return f"Recommender({type(self.method).__name__} over {self._state.dataset!r})"

    def recommend(
        self,
        user: Any = None,
        *,
        history: Iterable[Event] | None = None,
        at: Moment | None = None,
        k: int = 10,
        exclude_seen: bool = False,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] | None = None,
        where: Where | None = None,
    ) -> list[Recommendation]:
        """The k best items for a known user, or for a history given by hand.

        Args:
            user: id of a known user; or
            history: (item, time) pairs in any order.  When it is empty, or the method knows users only by rows of their own
                (``Method.reads_users``), the most popular items are given, and ``basis`` says so.
            at: the moment of the request; now if not given (the newest event's time should that lie ahead).  A known user's
                events after it are not read.  Times are seconds, datetimes or ISO texts; without a zone, UTC.
            k: how many.  Fewer come back when fewer are allowed, or known to the model.
            exclude_seen: leave out every item of the whole history.
            allow: only these items.
            deny: none of these.
            where: only items whose fields are so: ``{"brand": ["Nordlys", "Fjell"], "price": {"min": 10, "max": 50}}``.

        Raises:
            UnknownId: unknown user or item; the place is named.
            DataProblem: neither or both of user and history, a time that cannot be read, a history event after ``at``, or an
                unknown field.
        """
        question = Question(user, history, at, k, exclude_seen, allow, deny, where)
        state, now = self._state, asking.now_seconds()
        asked = asking.of_question(state.people, state.dataset.catalog.ids, question, now)
        return answers(state, [state.own(asked)], [Wanted.of(state, question)])[0].items

    def recommend_many(
        self,
        users: Iterable[Any] | None = None,
        *,
        histories: Iterable[Iterable[Event]] | None = None,
        at: Moment | None = None,
        k: int = 10,
        exclude_seen: bool = False,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] | None = None,
        where: Where | None = None,
    ) -> list[list[Recommendation]]:
        """``recommend`` for many known users, or many histories, in blocks of similar lengths; answers in the order asked."""
        if (users is None) == (histories is None):
            raise DataProblem("give either users= or histories=")
        state, now, each = self._state, asking.now_seconds(), Question(None, None, at, k, exclude_seen, allow, deny, where)
        if users is not None:
            named = [(f"users[{n}]", replace(each, user=one)) for n, one in enumerate(asking.listed(users, "users"))]
        else:
            named = [(f"histories[{n}]", replace(each, history=one)) for n, one in enumerate(histories or ())]
        people, ids, wanted = state.people, state.dataset.catalog.ids, Wanted.of(state, each)
        asked = [state.own(asking.of_question(people, ids, one, now, place)) for place, one in named]
        return [answer.items for answer in answers(state, asked, [wanted] * len(asked))]

    def ask(self, questions: Iterable[Question]) -> list[Answer | DataProblem]:
        """``recommend`` for questions that differ in all they want, answered together: what a service collects.

        Answers come in the order asked.  A question that cannot be answered has the problem in the place of its answer, and the
        others are not touched by it.
        """
        state, now = self._state, asking.now_seconds()
        found: list[Answer | DataProblem | None] = []
        good: list[tuple[Asked, Wanted]] = []
        for question in questions:
            try:
                asked = asking.of_question(state.people, state.dataset.catalog.ids, question, now)
                good.append((state.own(asked), Wanted.of(state, question)))
                found.append(None)
            except DataProblem as problem:
                found.append(problem)
        told = iter(answers(state, [asked for asked, _ in good], [wanted for _, wanted in good]))
        return [next(told) if one is None else one for one in found]

    def explain(
        self, user: Any = None, *, items: Iterable[Any], history: Iterable[Event] | None = None, at: Moment | None = None
    ) -> list[Recommendation]:
        """Score, rank among all items, and each modality's share of the score, for the items asked about and in their order.

        The shares add up to the score.  A model with one stream, or one that counts, has one share.

        Raises:
            UnknownId, DataProblem: as ``recommend``.
        """
        state, now = self._state, asking.now_seconds()
        asked = state.own(asking.of_question(state.people, state.dataset.catalog.ids, Question(user, history, at), now))
        rows = asking.rows_of(state.dataset.catalog.ids, items, "items")
        return placed(state, asked, torch.from_numpy(rows).to(state.device))

    def similar(self, item: Any, k: int = 10, where: Where | None = None) -> list[Recommendation]:
        """The items nearest to one, best first, itself left out; ``where`` as in ``recommend``.

        Scores are cosines of the whole item vectors; ``shares`` says which modality brought how much of it.  For a model without
        item vectors (counting): what it recommends after this item alone.

        Raises:
            UnknownId: unknown item.
            DataProblem: nothing is known of it that the model reads.
        """
        state = self._state
        return similar(state, asking.row_of(state.dataset.catalog.ids, item, "item"), Wanted.of(state, Question(k=k, where=where)))

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
        with self._adding:
            state, added = with_items(self._state, items, self._encoders)
            state = approximate.regrown(state.warm(), self._state)
            if first is not None:
                first(added)
            self._state = state
        return added

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
        with self._adding:
            state = self._state
            given = list(asking.listed(events, "events"))
            new = asking.of_events(state.people, state.dataset.users, state.dataset.catalog.ids, given)
            if first is not None:
                first(new)
            return AddedEvents(len(new), len(given) - len(new), state.people.add(new))
