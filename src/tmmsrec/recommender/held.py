"""Recommender: ask it for recommendations, similar items and reasons; give it new items; save and load it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import Part
from tmmsrec.extract.base import Fitted
from tmmsrec.models.base import Method, Model
from tmmsrec.recommender import approximate, asking, bundle
from tmmsrec.recommender.adding import Added, Encoders, with_items
from tmmsrec.recommender.answering import Recommendation, Wanted, answers, placed, similar
from tmmsrec.recommender.asking import Asked, Event, Moment
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

        Raises:
            DataProblem: the folder holds something else, or the disk refuses; what stood there before is untouched.
        """
        bundle.write(Path(folder), self._state, self.about, self._encoders)

    def with_search(self, how: Search) -> Recommender:
        """Another Recommender of the same model and items that searches in this way; ``HNSW()`` and ``IVF()`` need faiss.

        Building measures the recall against exact search: ``index.recall``.  Items that are added later are found at once.  A
        question that leaves too few candidates (a short list of allowed items, a large k) is answered exactly, and so are
        ``explain`` and ``similar``.  An index is not saved with the bundle.

        Raises:
            DataProblem: the method has no item vectors, or faiss is not installed.
        """
        other = type(self).__new__(type(self))
        other._hold(approximate.indexed(self._state, how), self.about, self._encoders)
        return other

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
        """The log and the items, added ones included."""
        return self._state.dataset

    @property
    def reads_at(self) -> bool:
        """Whether the moment of the request changes the scores; otherwise ``at`` only says which events have happened yet."""
        return self._state.method.reads_now

    def __repr__(self) -> str:
        return f"Recommender({type(self.method).__name__} over {self.dataset!r})"

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

        Raises:
            UnknownId: unknown user or item; the place is named.
            DataProblem: neither or both of user and history, a time that cannot be read, or a history event after ``at``.
        """
        moment, now = self._moment(at)
        state = self._state
        asked = _one(state, user, history, moment, now)
        return answers(state, [asked], Wanted.of(state, k, exclude_seen, allow, deny))[0]

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
    ) -> list[list[Recommendation]]:
        """``recommend`` for many known users, or many histories, in blocks of similar lengths; answers in the order asked."""
        if (users is None) == (histories is None):
            raise DataProblem("give either users= or histories=")
        moment, now = self._moment(at)
        state = self._state
        if users is not None:
            asked = [
                asking.of_user(state.dataset, user, moment, now, f"users[{n}]")
                for n, user in enumerate(asking.listed(users, "users"))
            ]
        else:
            ids = state.dataset.catalog.ids
            asked = [asking.of_history(ids, one, moment, now, f"histories[{n}]") for n, one in enumerate(histories or ())]
        return answers(state, asked, Wanted.of(state, k, exclude_seen, allow, deny))

    def explain(
        self, user: Any = None, *, items: Iterable[Any], history: Iterable[Event] | None = None, at: Moment | None = None
    ) -> list[Recommendation]:
        """Score, rank among all items, and each modality's share of the score, for the items asked about and in their order.

        The shares add up to the score.  A model with one stream, or one that counts, has one share.

        Raises:
            UnknownId, DataProblem: as ``recommend``.
        """
        moment, now = self._moment(at)
        state = self._state
        asked = _one(state, user, history, moment, now)
        rows = asking.rows_of(state.dataset.catalog.ids, items, "items")
        return placed(state, asked, torch.from_numpy(rows).to(state.device))

    def similar(self, item: Any, k: int = 10) -> list[Recommendation]:
        """The items nearest to one, best first, itself left out.

        Scores are cosines of the whole item vectors; ``shares`` says which modality brought how much of it.  For a model without
        item vectors (counting): what it recommends after this item alone.

        Raises:
            UnknownId: unknown item.
            DataProblem: nothing is known of it that the model reads.
        """
        state, k = self._state, asking.count_of(k)
        return similar(state, asking.row_of(state.dataset.catalog.ids, item, "item"), k)

    def add_items(self, items: Sequence[Mapping[str, Any]]) -> list[Added]:
        """Take items never seen, with their text and picture, so that they can be recommended at once; or update known ones.

        Each item is ``{"id": ..., "title": ..., "image": ..., ...}``: fields of the catalogue, and the picture as bytes or as a
        file's path.  Texts and pictures go through the encoders of this Recommender.  A new item has no learned row: what the
        method reads of it is its text and picture.  For an item that is known, what is given is replaced and all else stays.  A
        picture that is missing or broken is said and masked.  Nothing is trained, and nothing changes if any item is refused.

        Raises:
            DataProblem: an item without an id, twice the same id, an unknown field, or a value that does not suit the field; the
                place is named.
        """
        with self._adding:
            state, added = with_items(self._state, items, self._encoders)
            self._state = approximate.regrown(state.warm(), self._state)
        return added

    @staticmethod
    def _moment(at: Moment | None) -> tuple[int | None, int]:
        return None if at is None else asking.seconds_of(at, "at"), asking.now_seconds()


def _one(state: State, user: Any, history: Iterable[Event] | None, at: int | None, now: int) -> Asked:
    if (user is None) == (history is None):
        raise DataProblem("give either user= (a known user) or history= (a list of (item, time))")
    if history is not None:
        return asking.of_history(state.dataset.catalog.ids, history, at, now)
    return asking.of_user(state.dataset, user, at, now)
