"""Items that arrive together: one making of the item vectors for all, and to each request its own answer."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import DAY
from tests.serve.conftest import problem
from tests.shopkeeping import START, picture
from tmmsrec.data.problems import DataProblem
from tmmsrec.recommender import recommender
from tmmsrec.serve.errors import Refused
from tmmsrec.serve.journal import Journal
from tmmsrec.serve.keeping import TakeEvents, TakeItems

LATER = START + 400 * DAY


@pytest.fixture
def rebuilds(client, monkeypatch) -> list[int]:
    """For each time that a catalogue and its vectors were made anew: how many items came or changed."""
    real, found = recommender.with_items, []

    def counted(state, records, encoders):
        if any(record["id"] == "cursed" for record in records):
            raise ZeroDivisionError
        found.append(len(records))
        return real(state, records, encoders)

    monkeypatch.setattr(recommender, "with_items", counted)
    return found


def shirt(name: str, **fields) -> dict:
    return {"id": name, "title": "red shirt", **fields}


def test_requests_that_wait_cost_one_rebuild_and_are_answered_when_on_disk(client, opened, rebuilds, monkeypatch):
    """The first stands still before the disk; seven more come meanwhile, one of them with an item that cannot be used."""
    begun, go, real = threading.Event(), threading.Event(), Journal.sync

    def held(self):
        begun.set()
        assert go.wait(60)
        real(self)

    monkeypatch.setattr(Journal, "sync", held)
    waiting = client.app.state.service._written._waiting
    bodies = [[shirt(f"N{n}"), shirt(f"M{n}")] for n in range(1, 7)] + [[shirt("good"), {"id": "bad", "titel": "red shirt"}]]
    with ThreadPoolExecutor(8) as pool:

        def send(items):
            return pool.submit(client.post, "/v1/items", json={"items": items})

        first = send([shirt("N0")])
        assert begun.wait(60)
        rest = [send(items) for items in bodies]
        ends = time.monotonic() + 60
        while waiting.qsize() < len(bodies):
            assert time.monotonic() < ends
        assert not any(one.done() for one in (first, *rest))
        go.set()
        answers = [one.result(60) for one in (first, *rest)]
    assert rebuilds == [1, 12]
    where, said = problem(answers.pop(), 422)
    assert where == "items[1]"
    assert "unknown field 'titel'" in said
    assert [answer.status_code for answer in answers] == [200] * 7
    assert [[one["item"] for one in answer.json()["items"]] for answer in answers[1:]] == [[f"N{n}", f"M{n}"] for n in range(1, 7)]
    assert client.get("/v1/items").json()["total"] == 37
    client.__exit__(None, None, None)
    again = opened()
    assert again.get("/v1/items").json()["total"] == 37
    assert again.get("/v1/items/good").status_code == 404


def test_an_item_that_comes_twice_is_added_and_then_updated_and_an_event_of_it_comes_after(client, opened, bundle, rebuilds):
    client.__exit__(None, None, None)
    client = opened(beside=bundle)
    jobs = [
        TakeEvents([("me", "N2", LATER)]),
        TakeItems([shirt("N1")]),
        TakeItems([shirt("N2")], {0: picture("red", 91)}),
        TakeItems([shirt("N1", title="blue coat")]),
        TakeItems([shirt("N3")]),
    ]
    done = client.app.state.service._keeper.do(jobs)
    assert rebuilds == [2, 2, 2, 2]  # of the main bundle and of the other one, twice
    assert done[0].accepted == 1
    assert [(one.item, one.new) for taken in done[1:] for one in taken] == [("N1", True), ("N2", True), ("N1", False), ("N3", True)]
    assert client.get("/v1/items/N1").json()["fields"]["title"] == "blue coat"
    assert client.get("/v1/items/N2/picture").content == picture("red", 91)
    told = client.post("/v1/score", json={"user": "me", "items": ["N1", "N2", "N3"]}).json()
    assert client.post("/v1/score", json={"user": "me", "items": ["N1", "N2", "N3"], "bundle": "beside"}).json() == told


def test_together_is_the_same_as_one_after_the_other(client, opened, baked, tmp_path):
    items = [shirt("N1"), shirt("N2", title="blue coat"), shirt("B003", title="blue red"), {"id": "N3", "brand": "x"}]
    pictures = [{0: picture("blue", 7)}, {}, {0: picture("red", 3)}, {0: b"none"}]
    jobs = [TakeItems([item], own) for item, own in zip(items, pictures, strict=True)]
    keeper = client.app.state.service._keeper
    alone = [keeper.do([job])[0] for job in jobs]
    asked = {"user": "u3", "items": ["N1", "N2", "B003", "B004"]}
    scores = client.post("/v1/score", json=asked).json()
    client.__exit__(None, None, None)
    other = opened(bundle=baked / "bundle", data=tmp_path / "other")
    assert other.app.state.service._keeper.do(jobs) == alone
    for one, same in zip(other.post("/v1/score", json=asked).json()["items"], scores["items"], strict=True):
        assert one == {**same, "score": pytest.approx(same["score"], abs=1e-5), "shares": pytest.approx(same["shares"], abs=1e-5)}


def test_what_breaks_one_request_does_not_touch_the_others(client, rebuilds):
    jobs = [TakeItems([shirt(name)]) for name in ("N1", "cursed", "N2")]
    done = client.app.state.service._keeper.do([*jobs, TakeItems([{"id": ""}])])
    assert isinstance(done[1], ZeroDivisionError)
    assert [one.item for one in (*done[0], *done[2])] == ["N1", "N2"]
    assert isinstance(done[3], DataProblem)
    assert client.get("/v1/items/cursed").status_code == 404


def test_a_full_disk_takes_none_of_them_and_a_bad_item_is_said_all_the_same(client, monkeypatch):
    service = client.app.state.service
    before = (service.journal.folder / "journal.jsonl").read_bytes()

    def full(file, data):
        monkeypatch.undo()  # what is cut off afterwards needs no room
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tmmsrec.serve.journal.os.write", full)
    jobs = [TakeItems([shirt("N1")]), TakeItems([{"id": "N2", "titel": "x"}]), TakeItems([shirt("N3")])]
    done = service._keeper.do(jobs)
    assert [type(one) for one in done] == [Refused, DataProblem, Refused]
    assert {one.status for one in (done[0], done[2])} == {503}
    assert (service.journal.folder / "journal.jsonl").read_bytes() == before
    assert client.get("/v1/items").json()["total"] == 24
    assert [type(one) for one in service._keeper.do(jobs)] == [list, DataProblem, list]


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "lost"])
def test_a_disk_that_fails_after_it_was_written_to_says_that_nobody_knows(client, opened, monkeypatch, kept):
    """Neither "taken" nor "nothing was taken": sent again after a new start it counts once, whatever reached the disk."""
    journal = client.app.state.service.journal
    path, whole = journal.folder / "journal.jsonl", journal.size
    bodies = {"items": {"items": [shirt("N1")]}, "events": {"events": [{"user": "me", "item": "B001", "at": "2018-01-01"}]}}

    def broken(self):
        raise OSError(5, "Input/output error")

    for route, body in bodies.items():
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "sync", broken)
            said = problem(client.post(f"/v1/{route}", json=body), 503)[1]
        assert "Input/output error" in said
        assert "not known whether it is kept" in said
        assert "nothing was taken" not in said
        assert "make room" not in said
        assert "nothing is taken until the service is started anew" in problem(client.post(f"/v1/{route}", json=body), 503)[1]
        client.__exit__(None, None, None)
        if not kept:
            path.write_bytes(path.read_bytes()[:whole])
        client = opened()
        assert client.get("/v1/about").json()["writable"]
        answers = [client.post(f"/v1/{route}", json=body).json() for _ in range(2)]
        if route == "events":
            assert [(one["accepted"], one["known"]) for one in answers] == [(0, 1) if kept else (1, 0), (0, 1)]
        else:
            assert [one["items"][0]["new"] for one in answers] == [not kept, False]
            whole = client.app.state.service.journal.size
    assert client.get("/v1/users/me").json()["events"] == 1
    assert client.get("/v1/items").json()["total"] == 25


def test_a_torn_line_that_cannot_be_cut_off_is_not_written_after(client, opened, monkeypatch):
    """What came before it in the same turn is on disk, and told so."""
    service = client.app.state.service
    real, writes = os.write, []

    def full(file, data):
        writes.append(len(data))
        if len(writes) == 1:
            return real(file, data)
        if len(writes) == 2:
            return real(file, data[:20])
        raise OSError(28, "No space left on device")

    def stuck(file, size):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("tmmsrec.serve.journal.os.write", full)
        patched.setattr("tmmsrec.serve.journal.os.ftruncate", stuck)
        events = [TakeEvents([("me", item, LATER)]) for item in ("N1", "B001")]
        done = service._keeper.do([TakeItems([shirt("N1")]), *events])
    assert [one.item for one in done[0]] == ["N1"]
    assert "not known whether it is kept" in done[1].message
    assert "started anew" in done[2].message
    assert not service.writable
    client.__exit__(None, None, None)
    again = opened()  # no line stands after the torn one
    assert again.get("/v1/items/N1").status_code == 200
    assert again.get("/v1/users/me").status_code == 404
