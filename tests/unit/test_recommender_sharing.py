"""Recommenders that share what they stand on, and questions that are under way while items come."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pytest

from tests.conftest import DAY
from tests.shopkeeping import START, held, items, learned, picture, shopkeeper
from tmmsrec.recommender import Exact, Question, Recommender, Search, asking

__all__ = ["learned", "shopkeeper"]  # fixtures
LATER = START + 400 * DAY


@dataclass(frozen=True)
class Everywhere(Search):
    """An index that looks at all it was built over, without faiss."""

    def build(self, vectors):
        return lambda queries, k: np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("how", [Exact(), Everywhere()], ids=["exact", "index"])
def test_what_one_takes_the_other_knows_whoever_it_is(shopkeeper, how, tmp_path):
    other = shopkeeper.with_search(how)
    shopkeeper.add_items([{"id": "N1", "title": "red shirt", "image": picture("red", 90)}])
    shopkeeper.add_events([("u0", "N1", LATER), ("me", "N1", LATER)])
    assert (other.index is None) == (how == Exact())
    assert items(other.recommend("u0", k=25)) == items(shopkeeper.recommend("u0", k=25))
    assert "N1" in items(other.recommend("me", k=25))
    other.add_items([{"id": "N2", "title": "blue coat", "image": picture("blue", 91)}])
    other.add_events([("me", "N2", LATER + 1)])
    assert items(shopkeeper.recommend("me", k=26)) == items(other.recommend("me", k=26))
    for one in (shopkeeper, other):
        told = [one.catalog.ids[row] for row in one.people.history(one.people.row("me"))[0].tolist()]
        assert told == ["N1", "N2"]
        assert one.dataset.fingerprint == shopkeeper.dataset.fingerprint
    other.save(tmp_path / "grown")
    again = Recommender.load(tmp_path / "grown")
    assert list(again.catalog.ids)[-2:] == ["N1", "N2"]
    assert items(again.recommend("me", k=26)) == items(shopkeeper.recommend("me", k=26))


def test_an_index_hears_of_the_items_that_another_one_took_or_changed(shopkeeper):
    near = shopkeeper.with_search(Everywhere())
    further = near.with_search(Everywhere())
    new = {"id": "N1", "title": "red shirt", "image": picture("red", 90)}
    changed = {"id": "B001", "title": "red shirt number 1", "image": picture("red", 77)}
    shopkeeper.add_items([new, changed])
    for one in (near, further):
        assert one.index.beside.tolist() == [2, 25]
        assert one.state is one.state  # once, not for every question
        assert items(one.recommend("u0", k=12)) == items(shopkeeper.recommend("u0", k=12))
    further.add_items([{**new, "id": "N2"}])
    assert near.index.beside.tolist() == further.index.beside.tolist() == [2, 25, 26]
    assert shopkeeper.index is None


@pytest.fixture
def meanwhile(monkeypatch):
    """Lets another thread take an item and events of it after a question was asked and before its history is read."""

    def of(mine: Recommender, user: object) -> None:
        real = asking.of_question

        def grow() -> None:
            mine.add_items([{"id": 31, "title": "red coat"}])
            mine.add_events([(user, 31, LATER), (user, 4, LATER + 1), (1000, 31, LATER)])

        def late(*arguments):
            monkeypatch.setattr(asking, "of_question", real)
            other = threading.Thread(target=grow)
            other.start()
            other.join()
            return real(*arguments)

        monkeypatch.setattr(asking, "of_question", late)

    return of


ASKED = {
    "recommend": lambda mine, user: mine.recommend(user, k=31, exclude_seen=True),
    "recommend_many": lambda mine, user: mine.recommend_many([user], k=31, exclude_seen=True)[0],
    "ask": lambda mine, user: mine.ask([Question(user=user, k=31, exclude_seen=True)])[0].items,
    "explain": lambda mine, user: mine.explain(user, items=range(1, 31)),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_question_is_answered_from_the_items_that_there_were_when_it_was_asked(meanwhile, name):
    mine, other = held(), held()
    other.add_events([(5, 4, LATER + 1)])  # of all that comes meanwhile this alone is of an item that was there
    meanwhile(mine, 5)
    found = ASKED[name](mine, 5)
    assert len(mine.catalog) == 31
    assert found == ASKED[name](other, 5)


def test_somebody_whose_every_item_is_newer_than_the_question_has_no_history_yet(meanwhile):
    mine = held()
    meanwhile(mine, 5)
    [answer] = mine.ask([Question(user=1000, k=3)])
    assert (answer.basis, answer.read) == ("popularity", 0)
    assert mine.ask([Question(user=1000, k=3)])[0].read == 1


def test_people_of_one_moment_are_all_told_while_items_come():
    mine = held()
    state = mine.state
    mine.add_items([{"id": 31, "title": "red coat"}])
    mine.add_events([(5, 31, LATER), (1000, 31, LATER)])
    told = dict(state.of_everybody())
    assert max(int(asked.items.max()) for asked in told.values()) <= 30
    assert 40 not in told  # the new user has nothing in this catalogue
    assert dict(mine.state.of_everybody())[40].items.tolist() == [31]
