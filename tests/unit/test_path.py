"""The bundle of a whole path holds what did best in validation, and its samples are asked what the test asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tmmsrec import zoo
from tmmsrec.data.shop import Shop, write_shop
from tmmsrec.study.path import Inputs, Outcome, Recipe, best_in_validation, whole_path
from tmmsrec.study.run import Job, Run


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_shop(Shop(users=60, items=60), folder)
    return folder


def walked(raw: Path, out: Path, *methods: str) -> Outcome:
    inputs = Inputs(raw / "interactions.csv", raw / "items.csv")
    return whole_path(inputs, Recipe(methods=methods, changes=(), training_changes=("epochs=2",), features=16), out)


@pytest.mark.parametrize("method", ["tmmsrec-plus", "sasrec"])
def test_a_sample_has_the_rank_of_the_test(raw: Path, tmp_path: Path, method: str) -> None:
    outcome = walked(raw, tmp_path / "out", method)
    assert len(outcome.report.samples) == 3
    for shown, tested in ranks(outcome):
        assert shown == pytest.approx(tested, abs=1e-6)


def test_floors_alone_are_shown_too_and_do_not_know_the_answer(raw: Path, tmp_path: Path) -> None:
    outcome = walked(raw, tmp_path / "out")
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


def test_the_best_of_the_trained_in_validation_is_bundled(tmp_path: Path) -> None:
    best, why = best_in_validation(done(tmp_path, markov=0.1, sasrec=0.3, tmmsrec=None, tmmsrec_plus=0.2))
    assert best == "sasrec"
    assert why.startswith("The bundle holds sasrec: NDCG@10 0.3000 in validation")
    assert "tmmsrec-plus 0.2000" in why
    assert "markov" not in why


def test_a_floor_ahead_of_all_that_was_trained_is_told(tmp_path: Path) -> None:
    best, why = best_in_validation(done(tmp_path, markov=0.4, repeat=0.2, sasrec=0.3))
    assert best == "sasrec"
    assert why.endswith("markov, which needs no training, has 0.4000 there.")
    assert best_in_validation(done(tmp_path, popularity=0.1, repeat=0.2))[0] == "repeat"


def test_a_path_says_what_its_bundle_holds(raw: Path, tmp_path: Path) -> None:
    outcome = walked(raw, tmp_path / "out", "sasrec", "tmmsrec-plus")
    values = {n: runs[0].about["fit"]["best"] for n, runs in outcome.report.runs.items() if n not in zoo.FLOORS}
    assert outcome.report.subject == max(values, key=values.__getitem__) == outcome.recommender.about["name"]
    assert any(f"The bundle holds {outcome.report.subject}" in note for note in outcome.report.notes)
