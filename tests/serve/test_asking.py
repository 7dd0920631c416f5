"""Questions over HTTP have the library's answers."""

from __future__ import annotations

import pytest

from tests.conftest import DAY
from tests.serve.conftest import problem
from tests.shopkeeping import START
from tmmsrec.recommender import Recommender

HISTORY = [("B001", START), ("B003", START + 3 * DAY), ("B005", START + 9 * DAY)]
EVENTS = [{"item": item, "at": at} for item, at in HISTORY]


@pytest.fixture
def library(bundle) -> Recommender:
    return Recommender.load(bundle)


def ask(client, **question):
    answer = client.post("/v1/recommend", json=question)
    assert answer.status_code == 200, answer.text
    return answer.json()


def same(told, expected) -> None:
    assert [one["item"] for one in told] == [one.item for one in expected]
    assert [one["rank"] for one in told] == [one.rank for one in expected]
    assert [one["score"] for one in told] == pytest.approx([one.score for one in expected], abs=1e-4)
    for one, other in zip(told, expected, strict=True):
        assert one["shares"] == pytest.approx(other.shares, abs=1e-4)
        assert one["fields"] == {k: v for k, v in other.fields.items() if k != "image"}


def test_answers_are_the_librarys(client, library):
    same(ask(client, user="u3", k=24)["items"], library.recommend("u3", k=24))
    same(ask(client, history=EVENTS, k=5)["items"], library.recommend(history=HISTORY, k=5))
    same(
        ask(client, history=EVENTS[::-1], k=5, exclude_seen=True)["items"],
        library.recommend(history=HISTORY, k=5, exclude_seen=True),
    )
    at = "2017-07-20T00:00:00Z"
    same(ask(client, user="u3", at=at)["items"], library.recommend("u3", at=at))
    same(ask(client, user="u3", allow=["B001", "B002"])["items"], library.recommend("u3", allow=["B001", "B002"]))
    same(ask(client, user="u3", deny=["B001"])["items"], library.recommend("u3", deny=["B001"]))
    assert ask(client, user="u3", where={"brand": ["other"]})["items"] == []
    assert len(ask(client, user="u3", where={"brand": ["plain"]}, k=24)["items"]) == 24


def test_what_was_tested_without_seen_items_answers_without_them(bundle, opened):
    held = Recommender.load(bundle)
    held.about["exclude_seen"] = True
    held.save(bundle)
    client = opened()
    same(ask(client, user="u3", k=24)["items"], held.recommend("u3", k=24, exclude_seen=True))
    same(ask(client, user="u3", k=24, exclude_seen=False)["items"], held.recommend("u3", k=24, exclude_seen=False))
    assert len(ask(client, user="u3", k=24)["items"]) < len(ask(client, user="u3", k=24, exclude_seen=False)["items"])


def test_an_answer_says_what_it_stands_on(client):
    told = ask(client, history=EVENTS, at=START + 20 * DAY, k=2)
    assert {k: v for k, v in told.items() if k != "items"} == {
        "basis": "model", "why": None, "bundle": "main", "at": "2017-08-03T02:40:00Z", "read": 3, "known_user": False,
    }  # fmt: skip
    assert told["items"][0]["picture"] == f"/v1/items/{told['items'][0]['item']}/picture"
    assert sum(told["items"][0]["shares"].values()) == pytest.approx(told["items"][0]["score"], abs=1e-5)
    assert ask(client, user="u3")["known_user"] is True
    assert ask(client, user="u3")["read"] == 7
    assert {str(one["shares"]) for one in ask(client, user="u3", reasons=False)["items"]} == {"{}"}


def test_an_unknown_user_is_no_error(client, library):
    told = ask(client, user="nobody", k=3)
    assert (told["basis"], told["known_user"], told["read"]) == ("popularity", False, 0)
    assert told["why"] == "this user is unknown: the most popular items"
    same(told["items"], library.recommend(history=[], k=3))
    nobodys = ask(client, history=[], k=3)
    assert nobodys["items"] == told["items"]
    assert nobodys["why"].startswith("there is no history to read")


def test_many_questions_at_once(client):
    asked = [
        {"user": "u3", "k": 2},
        {"history": EVENTS, "k": 7},
        {"user": "nobody", "k": 1},
        {"user": "u3", "k": 2, "reasons": False},
    ]
    told = client.post("/v1/recommend/batch", json={"requests": asked}).json()["answers"]
    assert [len(one["items"]) for one in told] == [2, 7, 1, 2]
    for one, question in zip(told, asked, strict=True):
        assert [i["item"] for i in one["items"]] == [i["item"] for i in ask(client, **question)["items"]]
    assert client.post("/v1/recommend/batch", json={"requests": []}).json() == {"answers": []}
    bad = client.post("/v1/recommend/batch", json={"requests": [*asked, {"history": [{"item": "zz", "at": 5}]}]})
    assert problem(bad, 422)[0] == "requests[4].history[0]"
    assert problem(client.post("/v1/recommend/batch", json={"requests": [{"user": "u1"}] * 257}), 422)[0] == "requests"


def test_similar_and_score(client, library):
    same(client.post("/v1/similar", json={"item": "B004", "k": 6}).json()["items"], library.similar("B004", k=6))
    assert client.post("/v1/similar", json={"item": "B004", "where": {"brand": ["other"]}}).json() == {"items": []}
    told = client.post("/v1/score", json={"user": "u3", "items": ["B004", "B001"]}).json()["items"]
    same(told, library.explain("u3", items=["B004", "B001"]))
    told = client.post("/v1/score", json={"history": EVENTS, "items": ["B007"]}).json()["items"]
    same(told, library.explain(history=HISTORY, items=["B007"]))
    assert client.post("/v1/score", json={"user": "nobody", "items": ["B007"]}).json()["items"][0]["shares"].keys() == {
        "popularity"
    }


def test_a_path_or_a_method_that_is_none_says_where_those_that_are_stand(opened):
    client = opened()
    assert "/openapi.json" in problem(client.get("/nowhere"), 404)[1]
    assert "this path takes POST" in problem(client.get("/v1/recommend"), 405)[1]
    assert "user 'nobody'" in problem(client.get("/v1/users/nobody"), 404)[1].replace('"', "'")


def test_two_bundles_side_by_side(opened, bundle):
    client = opened(beside=bundle)
    assert [one["name"] for one in client.get("/v1/about").json()["bundles"]] == ["main", "beside"]
    assert ask(client, user="u3", bundle="beside")["bundle"] == "beside"
    assert ask(client, user="u3", bundle="beside")["items"] == ask(client, user="u3")["items"]
    for path, question in (("recommend", {"user": "u3"}), ("similar", {"item": "B001"}), ("score", {"user": "u3", "items": []})):
        where, said = problem(client.post(f"/v1/{path}", json={**question, "bundle": "third"}), 404)
        assert (where, said) == ("bundle", "there is no bundle 'third'; there are: main, beside")


WRONG = [
    ({}, "", "either a user or a history"),
    ({"user": "u1", "history": []}, "", "either a user or a history"),
    ({"user": True}, "user", "must be an id"),
    ({"user": 1.5}, "user", "must be an id"),
    ({"user": "u1", "k": 0}, "k", "must be at least 1, got 0"),
    ({"user": "u1", "k": 1001}, "k", "must be at most 1000, got 1001"),
    ({"user": "u1", "k": "10"}, "k", 'must be a whole number, got "10"'),
    ({"user": "u1", "K": 10}, "K", "no such field"),
    ({"user": "u1", "at": "soon"}, "at", "no ISO date"),
    ({"user": "u1", "at": -1}, "at", "outside 1970 to 2100"),
    ({"user": "u1", "at": 10**400}, "at", "outside 1970 to 2100"),
    ({"user": "u1", "at": START * 1000}, "at", "milliseconds"),
    ({"history": [{"item": "B001", "at": START}, {"item": "B001"}]}, "history[1].at", "is missing"),
    ({"history": [{"item": "B001", "at": START}, {"item": "B001", "at": 5e9}]}, "history[1].at", "outside 1970 to 2100"),
    ({"history": [{"item": "zz", "at": START}]}, "history[0]", "unknown item 'zz'"),
    ({"history": [{"item": "B001", "at": START}], "at": START - 1}, "history[0]", "lies after the moment"),
    ({"history": "B001"}, "history", 'must be a list, got "B001"'),
    ({"history": [{"item": "B001", "at": START}] * 10_001}, "history", "may have 10,000 entries, and has more"),
    ({"user": "u1", "allow": ["zz", "yy"]}, "allow[0]", "unknown item 'zz'"),
    ({"user": "u1", "where": {"colour": ["red"]}}, "where.colour", "no such field"),
    ({"user": "u1", "where": {"brand": {"min": 1}}}, "where.brand", "no numbers"),
]


@pytest.mark.parametrize(("question", "where", "said"), WRONG)
def test_what_cannot_be_meant_is_said_with_its_place(client, question, where, said):
    place, message = problem(client.post("/v1/recommend", json=question), 422)
    assert place == where
    assert said in message


def test_a_long_history_is_read(client):
    history = [{"item": f"B{n % 24:03d}", "at": START + n} for n in range(10_000)]
    assert ask(client, history=history, k=1)["read"] == 20  # the method's own length
