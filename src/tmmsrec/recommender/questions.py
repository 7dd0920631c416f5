"""What a person can ask: recommendations for one or for many, reasons, similar items."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from tmmsrec.data.problems import DataProblem
from tmmsrec.recommender import asking
from tmmsrec.recommender.answering import Answer, Recommendation, Wanted, answers, placed, similar
from tmmsrec.recommender.asking import Asked, Event, Moment, Question, Where
from tmmsrec.recommender.holder import Holder
from tmmsrec.recommender.state import State


class Questions(Holder):
    """The questions.  Each is answered from the State that there was when it was asked, in whatever thread."""

    def recommend(
        self,
        user: Any = None,
        *,
        history: Iterable[Event] | None = None,
        at: Moment | None = None,
        k: int = 10,
        exclude_seen: bool | None = None,
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
            exclude_seen: leave out every item of the whole history; as it was chosen and tested (``seen_left_out``) if not given.
            allow: only these items; ids that are not known are passed over, unless none is known.
            deny: none of these; ids that are not known are passed over.
            where: only items whose fields are so: ``{"brand": ["Nordlys", "Fjell"], "price": {"min": 10, "max": 50}}``.

        Raises:
            UnknownId: unknown user or item; the place is named.
            DataProblem: neither or both of user and history, a time that cannot be read, a history event after ``at``, or an
                unknown field.
        """
        question = Question(user, history, at, k, exclude_seen, allow, deny, where)
        state, now = self.state, asking.now_seconds()
        asked = asking.of_question(state.people, state.dataset.catalog.ids, question, now)
        return answers(state, [state.own(asked)], [self._wanted(state, question)])[0].items

    def recommend_many(
        self,
        users: Iterable[Any] | None = None,
        *,
        histories: Iterable[Iterable[Event]] | None = None,
        at: Moment | None = None,
        k: int = 10,
        exclude_seen: bool | None = None,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] | None = None,
        where: Where | None = None,
    ) -> list[list[Recommendation]]:
        """``recommend`` for many known users, or many histories, in blocks of similar lengths; answers in the order asked."""
        if (users is None) == (histories is None):
            raise DataProblem("give either users= or histories=")
        state, now, each = self.state, asking.now_seconds(), Question(None, None, at, k, exclude_seen, allow, deny, where)
        if users is not None:
            named = [(f"users[{n}]", replace(each, user=one)) for n, one in enumerate(asking.listed(users, "users"))]
        else:
            named = [(f"histories[{n}]", replace(each, history=one)) for n, one in enumerate(histories or ())]
        people, ids, wanted = state.people, state.dataset.catalog.ids, self._wanted(state, each)
        asked = [state.own(asking.of_question(people, ids, one, now, place)) for place, one in named]
        return [answer.items for answer in answers(state, asked, [wanted] * len(asked))]

    def ask(self, questions: Iterable[Question]) -> list[Answer | DataProblem]:
        """``recommend`` for questions that differ in all they want, answered together: what a service collects.

        Answers come in the order asked.  A question that cannot be answered has the problem in the place of its answer, and the
        others are not touched by it.
        """
        state, now = self.state, asking.now_seconds()
        found: list[Answer | DataProblem | None] = []
        good: list[tuple[Asked, Wanted]] = []
        for question in questions:
            try:
                asked = asking.of_question(state.people, state.dataset.catalog.ids, question, now)
                good.append((state.own(asked), self._wanted(state, question)))
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
        state, now = self.state, asking.now_seconds()
        asked = state.own(asking.of_question(state.people, state.dataset.catalog.ids, Question(user, history, at), now))
        rows = asking.rows_of(state.dataset.catalog.ids, items, "items")
        return placed(state, asked, torch.from_numpy(rows).to(state.device))

    def similar(self, item: Any, k: int = 10, where: Where | None = None) -> list[Recommendation]:
        """The items nearest to one, best first, itself left out; ``where`` as in ``recommend``.

        Scores are cosines of the item vectors, without the coordinates that say how much an item is wanted by whoever asks;
        ``shares`` says which modality brought how much of it.  For a model without item vectors (counting): what it recommends
        after this item alone.

        Raises:
            UnknownId: unknown item.
            DataProblem: nothing is known of it that the model reads.
        """
        state = self.state
        return similar(
            state, asking.row_of(state.dataset.catalog.ids, item, "item"), Wanted.of(state, Question(k=k, where=where), False)
        )

    def _wanted(self, state: State, question: Question) -> Wanted:
        return Wanted.of(state, question, self.seen_left_out)
