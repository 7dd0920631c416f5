"""The samples of a whole path are asked what the test asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tmmsrec.data.shop import Shop, write_shop
from tmmsrec.study.path import Inputs, Outcome, Recipe, whole_path


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
