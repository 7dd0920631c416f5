"""Events that come after training: the next answer knows them, and a bundle keeps them."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import DAY
from tests.shopkeeping import START, events, held, items, learned, shopkeeper
from tmmsrec import zoo
from tmmsrec.data.problems import DataProblem, UnknownId
from tmmsrec.recommender import Question, Recommender

__all__ = ["learned", "shopkeeper"]  # fixtures
LATER = START + 400 * DAY


def test_a_new_user_begins_to_exist(shopkeeper):
    with pytest.raises(UnknownId):
        shopkeeper.recommend("me")
    done = shopkeeper.add_events([("me", "B001", LATER + DAY), ("me", "B003", LATER)])
    assert (done.accepted, done.known, done.new_users) == (2, 0, 1)
    assert shopkeeper.recommend("me") == shopkeeper.recommend(history=[("B003", LATER), ("B001", LATER + DAY)])
    assert shopkeeper.explain("me", items=["B005"])[0].shares["id"] != 0
    assert {one.fields["title"].split()[0] for one in shopkeeper.recommend("me", k=5)} == {"blue"}
    assert len(shopkeeper.people) == 61
    assert list(shopkeeper.people)[-1] == "me" == shopkeeper.people.id(60)


def test_later_events_stand_in_their_place_by_time(shopkeeper):
    row = shopkeeper.people.row("u4")
    before, times = shopkeeper.people.history(row)
    between = int(times[3]) + 1
    shopkeeper.add_events([("u4", "B001", between), ("u4", "B003", int(times[3]))])
    after, moments = shopkeeper.people.history(row)
    assert after.tolist() == [*before[:4], 4, 2, *before[4:]]  # an equal time stands after those that were there
    assert moments.tolist() == [*times[:4], times[3], between, *times[4:]]
    assert shopkeeper.recommend("u4", at=between - 1) != shopkeeper.recommend("u4", at=between)
    assert "B001" not in items(shopkeeper.recommend("u4", k=24, exclude_seen=True))


def test_the_same_event_counts_once(shopkeeper):
    log = shopkeeper.dataset.interactions
    known = ("u0", shopkeeper.catalog.ids[int(log.items[2])], int(log.times[2]))
    done = shopkeeper.add_events([known, ("u0", "B001", LATER), ("u0", "B001", LATER), ("u0", "B001", LATER + 1)])
    assert (done.accepted, done.known, done.new_users) == (2, 2, 0)
    again = shopkeeper.add_events([("u0", "B001", LATER), ("u0", "B001", float(LATER))])
    assert (again.accepted, again.known) == (0, 2)
    assert shopkeeper.people.length(0) == 9
    assert shopkeeper.people.events == 422
    assert shopkeeper.people.last(0) == LATER + 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (("u0", "zz", LATER), r"events\[1\]\.item: unknown item 'zz'"),
        (("u0", "B001", "soon"), r"events\[1\]\.at: 'soon' is no ISO date"),
        (("u0", "B001", -1), r"events\[1\]\.at: -1 lies outside"),
        ((None, "B001", LATER), r"events\[1\]\.user: None is no usable id"),
        (("u0", "B001"), r"events\[1\] must be \(user, item, time\)"),
        ("u0", r"events\[1\] must be"),
    ],
)
def test_one_bad_event_and_nothing_changes(shopkeeper, bad, said):
    with pytest.raises(DataProblem, match=said):
        shopkeeper.add_events([("me", "B001", LATER), bad])
    assert "me" not in shopkeeper.people
    assert shopkeeper.people.later == 0


def test_what_writes_first_may_refuse(shopkeeper):
    heard: list = []

    def full(new) -> None:
        heard.extend(new)
        raise OSError("no room")

    before = shopkeeper.state
    with pytest.raises(OSError, match="no room"):
        shopkeeper.add_events([("me", "B001", LATER)], first=full)
    with pytest.raises(OSError, match="no room"):
        shopkeeper.add_items([{"id": "N", "title": "red shirt"}], first=full)
    assert [getattr(one, "user", getattr(one, "item", None)) for one in heard] == ["me", "N"]
    assert "me" not in shopkeeper.people
    assert shopkeeper.state is before


def test_a_bundle_keeps_later_events_and_new_users(shopkeeper, tmp_path):
    shopkeeper.add_items([{"id": "N", "title": "red shirt"}])
    shopkeeper.add_events([("me", "N", LATER), ("u3", "B000", START - DAY), ("me", "B002", LATER + 5)])
    shopkeeper.save(tmp_path / "grown")
    again = Recommender.load(tmp_path / "grown")
    again.dataset.check()
    assert again.dataset.n_users == 61
    assert again.dataset.report["events_added"] == 3
    assert again.dataset.fingerprint == shopkeeper.dataset.fingerprint
    for user in ("me", "u3", "u4"):
        assert again.recommend(user, k=25) == shopkeeper.recommend(user, k=25)
    done = again.add_events([("me", "N", LATER), ("me", "B004", LATER + 9)])  # and goes on
    assert (done.accepted, done.known, done.new_users) == (1, 1, 0)


def test_added_items_leave_later_events_alone(shopkeeper):
    shopkeeper.add_events([("me", "B001", LATER)])
    shopkeeper.add_items([{"id": "N", "title": "blue coat"}])
    shopkeeper.add_events([("me", "N", LATER + 1)])
    assert shopkeeper.recommend("me") == shopkeeper.recommend(history=[("B001", LATER), ("N", LATER + 1)])
    assert shopkeeper.people.counts(25)[[2, 25]].tolist() == [int(np.sum(shopkeeper.dataset.interactions.items == 2)), 1]


def test_a_method_with_user_rows_gives_newcomers_what_is_popular(tmp_path):
    mine = held(replace(zoo.VBPR_ITV, width=6, content_width=6))
    known = mine.recommend(7)
    mine.add_events([(1000, 4, LATER), (7, 4, LATER)])
    assert {one.basis for one in mine.recommend(1000)} == {"popularity"}
    assert mine.recommend(7) == known  # its row knows what it knew; only what is seen has grown
    assert 4 not in items(mine.recommend(7, k=30, exclude_seen=True))
    mine.save(tmp_path / "grown")
    again = Recommender.load(tmp_path / "grown")
    assert again.recommend(7) == known
    assert {one.basis for one in again.recommend(1000)} == {"popularity"}
    assert again.dataset.n_users == mine.dataset.n_users == 41
    again.add_items([{"id": 31, "title": "red"}])
    assert items(again.recommend(7)) == items(known)


def test_user_ids_keep_the_type_of_the_log():
    mine = held()
    mine.add_events([("77", 3, LATER)])
    assert 77 in mine.people
    assert "77" in mine.people
    for wrong in ("x1", "077", 10**30, True):
        with pytest.raises(DataProblem, match=r"events\[0\]\.user: .*(whole numbers|no usable id)"):
            mine.add_events([(wrong, 3, LATER)])


def test_events_may_be_added_while_others_ask(shopkeeper):
    stop, problems = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            try:
                shopkeeper.recommend("u1", k=3)
                if "w9" in shopkeeper.people:
                    shopkeeper.recommend("w9", k=3)
            except Exception as problem:
                problems.append(problem)

    asking = threading.Thread(target=ask)
    asking.start()
    for n in range(50):
        shopkeeper.add_events([(f"w{n}", "B001", LATER + n), ("u1", "B003", LATER + n)])
    stop.set()
    asking.join()
    assert problems == []
    assert shopkeeper.people.length(1) == 57


# Questions that differ


def test_questions_that_differ_are_answered_together_as_each_alone():
    mine = held()
    history = events(mine.dataset, 3)
    questions = [
        Question(user=5, k=3),
        Question(history=history, at=history[-1][1] + 5, k=12, exclude_seen=True),
        Question(history=[], k=2),
        Question(user=7, k=30, allow=[1, 2, 3], deny=[2]),
        Question(user=7, k=1),
    ]
    found = mine.ask(questions)
    alone = [mine.ask([question])[0] for question in questions]
    assert [items(one.items) for one in found] == [items(one.items) for one in alone]
    assert [len(one.items) for one in found] == [3, 12, 2, 2, 1]
    assert [one.basis for one in found] == ["model", "model", "popularity", "model", "model"]
    assert [one.read for one in found][1:3] == [len(history), 0]
    assert found[1].at == history[-1][1] + 5
    assert items(found[0].items) == items(mine.recommend(5, k=3))


def test_a_bad_question_does_not_touch_the_others():
    mine = held()
    found = mine.ask([Question(user=5, k=3), Question(user="nobody"), Question(user=5, k=0), Question(), Question(user=6, k=2)])
    assert [type(one).__name__ for one in found] == ["Answer", "UnknownId", "DataProblem", "DataProblem", "Answer"]
    assert items(found[4].items) == items(mine.recommend(6, k=2))
    assert mine.ask([]) == []


def test_what_was_added_is_among_what_it_says_it_holds():
    mine = held()
    users, events = len(mine.people), mine.people.events
    mine.add_events([(999, mine.catalog.ids[1], START)])
    assert f"{users + 1:,} users, {len(mine.catalog):,} items, {events + 1:,} events" in repr(mine)
