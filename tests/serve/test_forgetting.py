"""``tmmsrec forget``: out of the bundle, out of the journal beside it, and not while a service has that."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests.shopkeeping import START
from tmmsrec.cli import app
from tmmsrec.data.problems import DataProblem, UnknownId
from tmmsrec.recommender import Recommender
from tmmsrec.serve.forgetting import forget_users
from tmmsrec.study.update import workplace

DAY = 86_400


def post(client, *events) -> None:
    given = [{"user": user, "item": item, "at": START + 300 * DAY + n} for n, (user, item) in enumerate(events)]
    assert client.post("/v1/events", json={"events": given}).status_code == 200


def test_nothing_of_a_user_is_left_on_disk(opened, bundle):
    with opened() as client:
        post(client, ("u7", "B001"), ("me", "B002"), ("u8", "B003"))
        before = len(Recommender.load(bundle).dataset.interactions)
        with pytest.raises(DataProblem, match="in use by another process"):
            forget_users(bundle, ["u7"])
    assert len(Recommender.load(bundle).dataset.interactions) == before
    gone = forget_users(bundle, ["u7", "me"])
    assert (gone.events, gone.sent) == (7, 2)
    journal = (bundle.parent / "bundle.live" / "journal.jsonl").read_text()
    assert '"u8"' in journal
    assert not any(f'"{name}"' in journal for name in ("u7", "me"))
    assert "u7" not in [str(user) for user in Recommender.load(bundle).people]
    with opened() as client:
        assert client.post("/v1/recommend", json={"user": "u8", "k": 3}).json()["basis"] == "model"
        for user in ("u7", "me"):
            assert client.post("/v1/recommend", json={"user": user, "k": 3}).json()["basis"] == "popularity"


def test_an_unknown_name_forgets_nobody(bundle):
    files = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    with pytest.raises(UnknownId, match=r"unknown user 'u777'.*nobody was forgotten"):
        forget_users(bundle, ["u7", "u777"])
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == files
    assert not (bundle.parent / "bundle.live").exists()


def test_an_update_under_way_would_bring_them_back(bundle):
    before = len(Recommender.load(bundle).dataset.interactions)
    with workplace(bundle), pytest.raises(DataProblem, match="another process is updating"):
        forget_users(bundle, ["u7"])
    assert len(Recommender.load(bundle).dataset.interactions) == before
    assert forget_users(bundle, ["u7"]).events == 7
    assert [path.name for path in bundle.parent.iterdir() if path.name.endswith(".updating")] == []


def test_where_there_is_no_bundle_nothing_is_made(tmp_path):
    with pytest.raises(DataProblem):
        forget_users(tmp_path / "none", ["u7"])
    assert list(tmp_path.iterdir()) == []


def test_what_was_cut_short_between_bundle_and_journal_is_finished_by_the_same_again(opened, bundle, monkeypatch):
    with opened() as client:
        post(client, ("u7", "B001"))
    with monkeypatch.context() as patched:
        patched.setattr("tmmsrec.serve.journal.Journal.rewrite", lambda *_: (_ for _ in ()).throw(OSError("no room")))
        with pytest.raises(OSError, match="no room"):
            forget_users(bundle, ["u7"])
    again = forget_users(bundle, ["u7"])
    assert (again.events, again.sent) == (0, 1)


def test_the_command_says_what_is_gone_and_what_is_not(bundle):
    said = CliRunner().invoke(app, ["forget", str(bundle), "--user", "u7", "--user", "u9"])
    assert said.exit_code == 0, said.output
    text = " ".join(said.output.split())
    assert "Forgotten: 2 users, 14 events of the bundle and 0 that were sent" in text
    assert "stays in the weights" in text
    assert json.loads((bundle / "dataset" / "dataset.json").read_text())["report"]["users_forgotten"] == 2
