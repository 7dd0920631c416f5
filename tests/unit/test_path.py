"""The bundle of a whole path holds what did best in validation, and its samples are asked what the test asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tmmsrec import zoo
from tmmsrec.cli.train import evaluate
from tmmsrec.data.shop import Shop, write_shop
from tmmsrec.data.split import ByTime, LeaveOneOut
from tmmsrec.recommender import Recommender
from tmmsrec.study.going_on import Going
from tmmsrec.study.path import Inputs, Outcome, Recipe, best_in_validation, whole_path
from tmmsrec.study.run import Job, Run
from tmmsrec.study.samples import title_of
from tmmsrec.study.stages import Silent
from tmmsrec.study.update import update
from tmmsrec.study.words import remarks


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_shop(Shop(users=60, items=60), folder)
    return folder


def walked(raw: Path, out: Path, *methods: str, **asked: Any) -> Outcome:
    inputs = Inputs(raw / "interactions.csv", raw / "items.csv")
    made = Recipe(methods=methods, changes=(), training_changes=("epochs=2",), features=16, **asked)
    return whole_path(inputs, made, out)


@pytest.mark.parametrize("method", ["tmmsrec-plus", "sasrec"])
def test_a_sample_has_the_rank_of_the_test(raw: Path, tmp_path: Path, method: str) -> None:
    outcome = walked(raw, tmp_path / "out", method)
    assert len(outcome.report.samples) == 3
    for shown, tested in ranks(outcome):
        assert shown == pytest.approx(tested, abs=1e-6)


@pytest.mark.parametrize("method", ["tmmsrec-plus", "sasrec"])
def test_what_was_seen_can_be_left_out_of_everything(raw: Path, tmp_path: Path, method: str) -> None:
    outcome = walked(raw, tmp_path / "out", method, exclude_seen=True)
    assert all(runs[0].job.exclude_seen for runs in outcome.report.runs.values())
    assert any("items the user has met are left out of the ranking" in one for one in remarks(outcome.report))
    for one in outcome.report.samples:
        assert not {had.item for had in one.history} & {given.item for given in one.recommended}
    for (shown, tested), one in zip(ranks(outcome), outcome.report.samples, strict=True):
        had = one.taken.item in {item.item for item in one.history}  # then it was left out itself, and stands last
        assert had or shown == pytest.approx(tested, abs=1e-6)


@pytest.mark.parametrize("method", ["markov-tuned", "sasrec", "vbpr"])
def test_users_of_few_events_are_answered_and_nothing_is_learned_from_them(
    raw: Path, tmp_path: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw").mkdir()
    text = (raw / "interactions.csv").read_text()
    user, item, time = (text.splitlines()[0].split(",").index(name) for name in ("user_id", "item_id", "timestamp"))
    known = text.splitlines()[1].split(",")[item]
    few = [("few", known, "1600000000"), ("few", "nowhere", "1600000001"), ("nobody", "nowhere", "1600000002")]
    lines = [",".join(value for _, value in sorted(zip((user, item, time), one, strict=True))) for one in few]
    (tmp_path / "raw" / "interactions.csv").write_text(text + "\n".join(lines) + "\n")
    (tmp_path / "raw" / "items.csv").write_text((raw / "items.csv").read_text())
    plain = walked(raw, tmp_path / "plain", method)
    outcome = walked(tmp_path / "raw", tmp_path / "out", method)
    assert outcome.dataset.n_users == plain.dataset.n_users
    (one,), (other,) = (run.runs[method] for run in (plain.report, outcome.report))
    assert one.table.equals(other.table)
    held = Recommender.load(tmp_path / "out" / "bundle")
    assert held.dataset.n_users == plain.dataset.n_users + 1
    assert held.trained_users == plain.dataset.n_users
    assert [held.dataset.catalog.ids[row] for row in held.state.people.history(held.state.people.row("few"))[0]] == [known]
    assert len(held.recommend("few", k=5)) == 5
    assert "nobody" not in held.state.people
    # Nor are they asked about: the bundle has the result of the run.
    evaluate(tmp_path / "out" / "bundle")
    told = capsys.readouterr().out
    assert f"HR@10   {outcome.report.about.means['HR@10']:.4f}".split() in [line.split()[:2] for line in told.splitlines()]


def test_a_bundle_answers_and_goes_on_as_it_was_tested(raw: Path, tmp_path: Path) -> None:
    """Cut by time and without seen items: its samples, its answers, and what an update asks of it."""
    log = walked(raw, tmp_path / "plain", "sasrec").dataset.interactions
    dates = [str(np.datetime64(int(np.quantile(log.times, q)), "s")) for q in (0.6, 0.8)]
    split = ByTime(*dates)
    outcome = walked(raw, tmp_path / "out", "sasrec", split=split, exclude_seen=True)
    test = split.cut(outcome.dataset.interactions).test
    assert all(runs[0].job.split == split for runs in outcome.report.runs.values())
    assert any("By time: trained on what came before" in one for one in remarks(outcome.report))
    for (shown, tested), one in zip(ranks(outcome), outcome.report.samples, strict=True):
        user = outcome.dataset.users.row(one.user)
        assert one.earlier + len(one.history) == test.stop[user]
        assert one.taken.item == outcome.dataset.catalog.ids[int(log.items[log.offsets[user] + test.stop[user]])]
        assert one.taken.item in {item.item for item in one.history} or shown == pytest.approx(tested, abs=1e-6)
    held = Recommender.load(tmp_path / "out" / "bundle")
    assert held.split == split
    had = {outcome.dataset.catalog.ids[i] for i in log.items[log.offsets[0] : log.offsets[1]]}
    assert not had & {one.item for one in held.recommend(held.dataset.users[0], k=60)}
    night = tmp_path / "night.csv"
    later = int(log.times.max()) + 86400
    rows = [f"{held.dataset.users[u]},{held.catalog.ids[1 + u]},{later + u}" for u in range(20)]
    night.write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    updated = update(tmp_path / "out" / "bundle", Inputs(night), Going(epochs=1))
    after = Recommender.load(tmp_path / "out" / "bundle")
    assert after.seen_left_out
    assert after.split == (split if updated.told["kept"] == "old weights" else LeaveOneOut())
    unknown = log.times[log.offsets[1:] - 1] >= int(np.datetime64(dates[0], "s").astype(int))  # the newest event was not learned
    unknown[:20] = True  # and these have a newer one
    assert updated.told["test_users"] == unknown.sum() < len(unknown)


class Notes(Silent):
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


def test_a_path_says_whom_it_left_out(raw: Path, tmp_path: Path) -> None:
    lines = (raw / "interactions.csv").read_text().splitlines()
    short = [line for line in lines if line.startswith("u0001,")]
    (tmp_path / "log.csv").write_text("\n".join(line for line in lines if line not in short[2:]) + "\n")
    notes = Notes()
    inputs = Inputs(tmp_path / "log.csv", raw / "items.csv")
    whole_path(inputs, Recipe(methods=("markov",), changes=(), features=16), tmp_path / "out", listener=notes)
    few = [line.partition(",")[0] for line in lines[1:] if line not in short[2:]]
    gone = {user: few.count(user) for user in set(few) if few.count(user) < 5}
    assert gone["u0001"] == 2
    said = next(note for note in notes.told if note.startswith("Left out"))
    assert f"{len(gone)} of 60 users, who have fewer than 5 events (--min-events), with {sum(gone.values())} events" in said


@pytest.mark.parametrize("asked", [(), ("markov",)])
def test_floors_alone_are_shown_too_and_do_not_know_the_answer(raw: Path, tmp_path: Path, asked: tuple[str, ...]) -> None:
    outcome = walked(raw, tmp_path / "out", *asked)
    assert len(outcome.report.samples) == 3
    for shown, tested in ranks(outcome):
        assert tested - 1.5 <= shown <= tested  # the best place of items with equal scores beside their mean


def ranks(outcome: Outcome) -> list[tuple[float, float]]:
    """From 1: what a sample says, and what the test said of that user."""
    table = outcome.report.runs[outcome.report.subject][0].table
    tested = dict(zip(table["user"].to_pylist(), table["rank"].to_pylist(), strict=True))
    return [(one.rank, tested[outcome.dataset.users.row(one.user)] + 1) for one in outcome.report.samples]


def test_a_path_gone_again_shows_the_same_samples(raw: Path, tmp_path: Path) -> None:
    first, again = (walked(raw, tmp_path / "out", "tmmsrec-plus").report.samples for _ in range(2))
    assert [one.rank for one in first] == [one.rank for one in again]


def done(tmp_path: Path, **values: float | None) -> dict[str, Run]:
    """Runs with these values in validation, and test results the other way round."""
    names = {name.replace("_", "-"): value for name, value in values.items()}
    return {
        n: Run(Job(zoo.methods()[n]), tmp_path / n, {"fit": {"best": v}, "result": {"NDCG@10": -(v or 0)}})
        for n, v in names.items()
    }


def test_the_best_in_validation_of_those_that_were_asked_for_is_bundled(tmp_path: Path) -> None:
    asked = ("sasrec", "tmmsrec", "tmmsrec-plus")
    best, why = best_in_validation(done(tmp_path, markov=0.1, sasrec=0.3, tmmsrec=None, tmmsrec_plus=0.2), asked)
    assert best == "sasrec"
    assert why.startswith("The bundle holds sasrec: NDCG@10 0.3000 in validation")
    assert "tmmsrec-plus 0.2000" in why
    assert "markov" not in why


def test_a_floor_ahead_of_all_that_was_trained_is_told(tmp_path: Path) -> None:
    best, why = best_in_validation(done(tmp_path, markov=0.4, repeat=0.2, sasrec=0.3), ["sasrec"])
    assert best == "sasrec"
    assert why.endswith("markov, which needs no training, has 0.4000 there.")
    floors = done(tmp_path, popularity=0.1, repeat=0.2, markov=0.3)
    assert best_in_validation(floors, [])[0] == "markov"
    assert best_in_validation(floors, ["popularity", "repeat"])[0] == "repeat"


def test_a_path_says_what_its_bundle_holds(raw: Path, tmp_path: Path) -> None:
    outcome = walked(raw, tmp_path / "out", "sasrec", "tmmsrec-plus")
    values = {n: runs[0].about["fit"]["best"] for n, runs in outcome.report.runs.items() if n not in zoo.FLOORS}
    assert outcome.report.subject == max(values, key=values.__getitem__) == outcome.recommender.about["name"]
    assert any(f"The bundle holds {outcome.report.subject}" in note for note in outcome.report.notes)


def test_a_title_is_shown_without_what_scraping_left() -> None:
    assert title_of({"text": "<p><b>oak chair</b> &amp; more<br/>136&nbsp;cm</p>"}) == "oak chair & more 136 cm"
    assert title_of({"price": "5", "title": "a < b"}) == "a < b"
    assert title_of({}) == ""
