"""Items, events and bundles that come while the service runs."""

from __future__ import annotations

import base64
import time

import pytest

from tests.conftest import DAY
from tests.serve.conftest import problem
from tests.shopkeeping import START, picture
from tmmsrec.recommender import Recommender

LATER = START + 400 * DAY
RED = base64.b64encode(picture("red", 91)).decode()


def post(client, path, **body):
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def best(client, **question) -> list:
    return [one["item"] for one in post(client, "/v1/recommend", **{"k": 25, **question})["items"]]


def test_a_new_item_is_live_at_once_and_after_a_restart(client, opened):
    told = post(client, "/v1/items", items=[{"id": "N1", "title": "red shirt", "brand": "new", "picture": RED}])
    assert told["items"] == [{"item": "N1", "new": True, "modalities": ["image", "text"], "reasons": {}, "recommendable": True}]
    red, blue = best(client, user="u0"), best(client, user="u1")
    assert red.index("N1") < 14 < blue.index("N1") + 1
    assert best(client, user="u0", where={"brand": ["new"]}) == ["N1"]
    shown = client.get("/v1/items/N1/picture")
    assert shown.content == picture("red", 91)
    client.__exit__(None, None, None)
    again = opened()
    assert best(again, user="u0") == red
    assert again.get("/v1/items/N1/picture").content == picture("red", 91)
    assert again.get("/v1/items/N1").json() == {
        "item": "N1", "fields": {"title": "red shirt", "brand": "new"}, "picture": "/v1/items/N1/picture",
        "modalities": ["image", "text"], "events": 0,
    }  # fmt: skip


def test_a_known_item_is_updated(client, opened):
    told = post(client, "/v1/items", items=[{"id": "B000", "title": "green hat"}, {"id": "B001", "brand": 7}])
    assert [one["new"] for one in told["items"]] == [False, False]
    post(client, "/v1/items", items=[{"id": "B000", "brand": "fine"}])
    client.__exit__(None, None, None)
    fields = opened().get("/v1/items/B000").json()["fields"]
    assert fields == {"title": "green hat", "brand": "fine"}  # both updates, one after the other


def test_a_picture_that_is_none_is_said_and_not_kept(client, bundle):
    broken = base64.b64encode(b"no picture at all").decode()
    told = post(client, "/v1/items", items=[{"id": "N1", "title": "red shirt", "picture": broken}])["items"][0]
    assert told["modalities"] == ["text"]
    assert "not a picture" in told["reasons"]["image"]
    assert client.get("/v1/items/N1").json()["picture"] is None
    assert list((bundle.parent / "bundle.live" / "pictures").iterdir()) == []


@pytest.mark.parametrize(
    ("item", "where", "said"),
    [
        ({"title": "x"}, "items[1].id", "is missing"),
        ({"id": "", "title": "x"}, "items[1].id", "no usable id"),
        ({"id": "N", "titel": "x"}, "items[1]", "unknown field 'titel'; the catalogue has: brand, id, picture, title"),
        ({"id": "good"}, "items[1]", "give each item once"),
        ({"id": "N", "title": ["a"]}, "items[1]", "must be string"),
        ({"id": "N", "image": "/etc/passwd"}, "items[1].image", "base64"),
        ({"id": "N", "picture": "%%%"}, "items[1].picture", "base64"),
        ({"id": "N", "picture": 5}, "items[1].picture", "must be text, got 5"),
    ],
)
def test_one_bad_item_and_none_is_taken(client, item, where, said):
    place, message = problem(client.post("/v1/items", json={"items": [{"id": "good", "title": "x"}, item]}), 422)
    assert place == where
    assert said in message
    assert client.get("/v1/items/good").status_code == 404


def test_events_are_known_to_the_next_answer_and_after_a_restart(client, opened):
    assert post(client, "/v1/recommend", user="me")["known_user"] is False
    told = post(
        client, "/v1/events", events=[{"user": "me", "item": "B001", "at": LATER}, {"user": "me", "item": "B003", "at": LATER}]
    )
    assert told == {"accepted": 2, "known": 0, "new_users": 1}
    assert post(client, "/v1/events", events=[{"user": "me", "item": "B001", "at": LATER}]) == {
        "accepted": 0,
        "known": 1,
        "new_users": 0,
    }
    answer = post(client, "/v1/recommend", user="me")
    assert (answer["basis"], answer["read"], answer["known_user"]) == ("model", 2, True)
    client.__exit__(None, None, None)
    again = opened()
    assert post(again, "/v1/recommend", user="me")["items"] == answer["items"]
    told = again.get("/v1/users/me").json()
    assert [(one["item"], one["at"]) for one in told["history"]] == [
        ("B001", "2018-08-18T02:40:00Z"),
        ("B003", "2018-08-18T02:40:00Z"),
    ]
    assert again.get("/v1/users?query=ME").json() == {
        "total": 1,
        "users": [{"user": "me", "events": 2, "last": "2018-08-18T02:40:00Z"}],
    }


@pytest.mark.parametrize(
    ("event", "where"),
    [
        ({"user": "me", "item": "zz", "at": LATER}, "events[1].item"),
        ({"user": "me", "item": "B001", "at": int(time.time()) + 10 * DAY}, "events[1].at"),
        ({"user": "me", "item": "B001", "at": -5}, "events[1].at"),
        ({"user": "", "item": "B001", "at": LATER}, "events[1].user"),
        ({"user": "me", "item": "B001"}, "events[1].at"),
    ],
)
def test_one_bad_event_and_none_is_taken(client, event, where):
    good = {"user": "me", "item": "B001", "at": LATER}
    assert problem(client.post("/v1/events", json={"events": [good, event]}), 422)[0] == where
    assert client.get("/v1/users/me").status_code == 404


def test_a_bundle_is_swapped_in_with_what_was_sent(client, bundle):
    post(client, "/v1/items", items=[{"id": "N1", "title": "red shirt"}])
    post(client, "/v1/events", events=[{"user": "me", "item": "N1", "at": LATER}, {"user": "u0", "item": "B002", "at": LATER}])
    newer = Recommender.load(bundle)
    newer.add_events([("u0", "B002", LATER), ("new", "B000", LATER)])  # what the new bundle knows already is not doubled
    newer.about["name"] = "newer"
    newer.save(bundle)
    assert client.get("/v1/about").json()["bundles"][0]["method"] == "TMMSRec"
    assert post(client, "/v1/reload")["reloaded"] == ["main"]
    about = client.get("/v1/about").json()["bundles"][0]
    assert (about["method"], about["users"], about["items"], about["trained_items"]) == ("newer", 62, 25, 24)
    assert client.get("/v1/users/u0").json()["events"] == 8
    assert [one["item"] for one in client.get("/v1/users/me").json()["history"]] == ["N1"]
    assert client.get("/v1/users/new").json()["events"] == 1


def test_a_damaged_bundle_is_not_swapped_in(client, bundle):
    before = best(client, user="u0")
    (bundle / "weights.safetensors").write_bytes(b"nothing")
    where, said = problem(client.post("/v1/reload", json={"bundle": "main"}), 409)
    assert where == "bundle"
    assert "weights.safetensors" in said
    assert "still answers" in said
    assert best(client, user="u0") == before
    assert problem(client.post("/v1/reload", json={"bundle": "third"}), 404)[0] == "bundle"


def test_what_a_bundle_cannot_take_is_left_out(client, bundle, opened, caplog):
    post(client, "/v1/items", items=[{"id": "N1", "title": "red shirt"}])
    post(client, "/v1/events", events=[{"user": "me", "item": "N1", "at": LATER}, {"user": "me", "item": "B001", "at": LATER}])
    client.__exit__(None, None, None)
    journal = bundle.parent / "bundle.live" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[2])  # as if the item's line were of another shop
    again = opened()
    assert [one["item"] for one in again.get("/v1/users/me").json()["history"]] == ["B001"]
    assert "1 events of items that the bundle does not know" in caplog.text


def test_a_service_that_only_reads(opened, bundle):
    client = opened(read_only=True)
    assert client.get("/v1/about").json()["writable"] is False
    assert "--read-only" in problem(client.post("/v1/items", json={"items": [{"id": "N"}]}), 403)[1]
    assert "--read-only" in problem(client.post("/v1/events", json={"events": []}), 403)[1]
    assert post(client, "/v1/reload", bundle="main")["reloaded"] == ["main"]
    assert not (bundle.parent / "bundle.live").exists()


def test_a_full_disk_takes_nothing_and_says_so(client, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tmmsrec.serve.journal.os.write", full)
    event = {"user": "me", "item": "B001", "at": LATER}
    assert "No space left" in problem(client.post("/v1/events", json={"events": [event]}), 503)[1]
    assert client.get("/v1/users/me").status_code == 404
    monkeypatch.undo()
    assert post(client, "/v1/events", events=[event])["accepted"] == 1


def test_a_disk_that_fails_to_keep_ends_the_taking(client, monkeypatch):
    def failing(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("tmmsrec.serve.journal.os.fsync", failing)
    event = {"user": "me", "item": "B001", "at": LATER}
    problem(client.post("/v1/events", json={"events": [event]}), 503)
    monkeypatch.undo()
    assert "started anew" in problem(client.post("/v1/events", json={"events": [event]}), 503)[1]
    assert client.get("/v1/about").json()["writable"] is False
    assert len(best(client, user="u0")) == 24  # and questions are answered
