"""A journal that is rewritten shorter: it says the same before and after, wherever it is cut short."""

from __future__ import annotations

import itertools
import os
import shutil

import pytest

from tests.conftest import DAY
from tests.shopkeeping import START, picture
from tmmsrec.data.problems import DataProblem
from tmmsrec.serve import journal as module
from tmmsrec.serve.journal import Journal
from tmmsrec.serve.keeping import TakeEvents, TakeItems
from tmmsrec.serve.replaying import Settled, compact

LATER = START + 400 * DAY
NAME = "journal.jsonl"


class Killed(BaseException):
    """What kill -9 leaves behind: nothing after it is done."""


@pytest.fixture
def written(tmp_path):
    """A journal in which two of seven items and events are live, with a picture that is shown and one that no longer is."""
    journal = Journal(tmp_path / "live")
    old, new = journal.keep_picture(b"old"), journal.keep_picture(b"new")
    journal.append({"items": [{"id": "N1", "title": "red", "brand": None, "picture": old}]})
    journal.append({"events": [["me", "N1", 5]]})
    journal.append({"items": [{"id": "N1", "title": "blue", "brand": "fine"}]}, {"items": [{"id": "N1", "picture": new}]})
    journal.append({"events": [["me", "N1", 5], ["me", "N1", 5]]}, {"items": [{"id": "N1", "title": "green"}]})
    journal.sync()
    journal.close()
    return tmp_path / "live"


def said(folder) -> tuple:
    """What a journal comes to, and the bytes of every picture that it names."""
    journal = Journal(folder)
    try:
        found = Settled.of(journal.read())
        return found.items, found.events, [journal.picture(record["picture"]) for record in found.items.values()]
    finally:
        journal.close()


def compacted(folder) -> None:
    journal = Journal(folder)
    try:
        compact(journal)
    finally:
        journal.close()


def test_what_is_idle_is_left_out_and_what_is_live_stays(written):
    before = said(written)
    size = (written / NAME).stat().st_size
    (written / NAME).chmod(0o600)
    compacted(written)
    item = {"id": "N1", "title": "green", "brand": "fine", "picture": before[0]["N1"]["picture"]}
    assert said(written) == before == ({"N1": item}, [("me", "N1", 5)], [b"new"])
    assert (written / NAME).stat().st_size < size / 2
    assert (written / NAME).stat().st_mode & 0o777 == 0o600
    assert len((written / NAME).read_text().splitlines()) == 3  # the head, the items, the events
    assert [path.read_bytes() for path in (written / "pictures").iterdir()] == [b"new"]
    assert {path.name for path in written.iterdir()} == {NAME, "pictures", "lock"}


def test_a_journal_that_is_mostly_live_is_left_alone(written):
    journal = Journal(written)
    journal.append({"events": [["me", "N1", n] for n in range(6, 10)]})  # six are live now, five idle
    journal.sync()
    journal.close()
    before = (written / NAME).read_bytes()
    compacted(written)
    assert (written / NAME).read_bytes() == before
    assert len(list((written / "pictures").iterdir())) == 2


def test_it_is_appended_to_afterwards_and_read_by_position(written):
    journal = Journal(written)
    compact(journal)
    position = journal.size
    assert position == (written / NAME).stat().st_size
    journal.append({"events": [["me", "N1", 9]]})
    journal.sync()
    assert list(journal.read(position)) == [{"events": [["me", "N1", 9]]}]
    journal.close()
    assert said(written)[1] == [("me", "N1", 5), ("me", "N1", 9)]


def test_many_records_become_lines_of_a_thousand(tmp_path):
    journal = Journal(tmp_path / "live")
    for _ in range(3):
        journal.append({"items": [{"id": n, "title": str(n)} for n in range(2500)]}, {"events": [[n, n, n] for n in range(1001)]})
    before = Settled.of(journal.read())
    compact(journal)
    after = Settled.of(journal.read())
    assert (after.items, after.events, after.told) == (before.items, before.events, 3501)
    assert [len(one.get("items", one.get("events"))) for one in journal.read()] == [1000, 1000, 500, 1000, 1]
    journal.close()


def steps(monkeypatch, stop: int, half: bool) -> list[str]:
    """From now on every step on the disk is noted; the one with this number is not done, or a write by half, and all ends there."""
    done: list[str] = []

    def watched(name):
        real = getattr(os, name)

        def step(*given, **named):
            if len(done) == stop:
                if half and name == "write":
                    real(given[0], given[1][: len(given[1]) // 2])
                raise Killed
            path = os.readlink(f"/proc/self/fd/{given[0]}") if isinstance(given[0], int) else str(given[0])
            done.append(f"{name} {path.rsplit('/', 1)[-1]}")
            return real(*given, **named)

        return step

    for name in ("open", "write", "fsync", "replace", "fchmod", "close", "unlink"):
        monkeypatch.setattr(module.os, name, watched(name))
    return done


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="steps are named by /proc")
@pytest.mark.parametrize("half", [False, True])
def test_kill_9_at_any_step_leaves_the_old_journal_or_the_new_one(written, tmp_path, half):
    """The folder as it lies when the process is gone is opened by the next one, which shortens it all the same."""
    before, old = said(written), (written / NAME).read_bytes()
    whole = tmp_path / "whole"
    shutil.copytree(written, whole)
    compacted(whole)
    new = (whole / NAME).read_bytes()
    seen = set()
    for stop in itertools.count():
        folder, left = tmp_path / f"stopped-{half}-{stop}", tmp_path / f"left-{half}-{stop}"
        shutil.copytree(written, folder)
        journal = Journal(folder)
        with pytest.MonkeyPatch.context() as patch:
            done = steps(patch, stop, half)
            try:
                compact(journal)
                killed = False
            except Killed:
                killed = True
        shutil.copytree(folder, left)
        lies = (left / NAME).read_bytes()
        assert lies in (old, new)
        seen.add(lies)
        assert said(left) == before
        compacted(left)
        assert (left / NAME).read_bytes() == new
        assert said(left) == before
        assert {path.name for path in left.iterdir()} == {NAME, "pictures", "lock"}
        if not killed:
            break
    assert seen == {old, new}
    order = [done.index(step) for step in ("fsync journal.jsonl.new", "replace journal.jsonl.new", f"fsync {folder.name}")]
    assert order == sorted(order)  # on disk before it has the name, and the name on disk before anything else is done
    assert len(done) > 8


@pytest.mark.parametrize("name", ["write", "fsync", "open"])
def test_without_room_the_old_journal_stays_and_goes_on(written, monkeypatch, caplog, name):
    journal, old = Journal(written), (written / NAME).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, name, full)
    compact(journal)
    monkeypatch.undo()
    assert "stays as long as it is" in caplog.text
    assert (written / NAME).read_bytes() == old
    assert not (written / "journal.jsonl.new").exists()
    journal.append({"events": [["me", "N1", 9]]})
    journal.sync()
    journal.close()
    assert said(written)[1] == [("me", "N1", 5), ("me", "N1", 9)]


def test_a_picture_that_cannot_be_removed_harms_nothing(written, monkeypatch, caplog):
    before, journal = said(written), Journal(written)

    def failing(*_, **__):
        raise OSError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.unlink", failing)
    compact(journal)
    monkeypatch.undo()
    journal.close()
    assert "pictures that no item shows any more stay" in caplog.text
    assert said(written) == before
    assert len((written / NAME).read_text().splitlines()) == 3


def test_a_disk_that_fails_when_it_is_put_in_place_is_said(written, monkeypatch):
    before, journal = said(written), Journal(written)

    def failing(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module.os, "replace", failing)
    with pytest.raises(DataProblem, match=r"Input/output error.*start again"):
        compact(journal)
    monkeypatch.undo()
    journal.close()
    assert said(written) == before


def test_a_service_answers_the_same_before_and_after(client, opened, bundle, monkeypatch):
    """It shortens its journal when it stops, and one that was killed when it starts."""
    keeper, folder, killed = client.app.state.service._keeper, bundle.parent / "bundle.live", bundle.parent / "killed"
    for title in ("blue coat", "red coat", "coat", "red shirt"):
        for name in ("N1", "N2", "B003"):
            keeper.do([TakeItems([{"id": name, "title": title}], {0: picture("red", len(title))})])
    keeper.do([TakeEvents([("me", "N1", LATER), ("u1", "B003", LATER), ("u1", "N2", LATER - DAY)])])
    shutil.copytree(folder, killed)
    size = (folder / NAME).stat().st_size

    def told(one) -> list:
        asked = [{"user": "me"}, {"user": "u1"}, {"user": "u2", "exclude_seen": True}]
        lists = [one.post("/v1/recommend", json={**question, "k": 20, "at": LATER + DAY}).json() for question in asked]
        shown = [one.get(f"/v1/items/{name}{of}").content for name in ("N1", "N2", "B003") for of in ("", "/picture")]
        return [*lists, *shown, one.get("/v1/users/me").json(), one.get("/v1/users/u1").json()]

    with monkeypatch.context() as patch:
        patch.setattr("tmmsrec.serve.replaying.compact", lambda _: None)
        whole = opened(data=killed)
        before = told(whole)
        whole.__exit__(None, None, None)
    assert (killed / NAME).stat().st_size == size
    assert told(opened(data=killed)) == before
    client.__exit__(None, None, None)
    assert (folder / NAME).read_bytes() == (killed / NAME).read_bytes()
    assert (folder / NAME).stat().st_size < size / 2
    assert told(opened()) == before
