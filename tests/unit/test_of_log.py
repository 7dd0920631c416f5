"""What a log decides of a table's numbers is said where it is so, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.split import ByTime, LeaveOneOut, protocol
from tmmsrec.study.of_log import mostly_the_same_day, never_twice, of_log
from tmmsrec.study.path import Inputs, Recipe, whole_path

DAY = 86_400


def shop(items: list[int], times: np.ndarray) -> Dataset:
    """Two users with four events each."""
    return Dataset.in_memory("shop", Interactions.of(np.repeat([0, 1], 4), items, times, 2), 4, {}, None)


def test_where_nobody_meets_an_item_twice_it_is_said() -> None:
    times = np.arange(8) * DAY
    (said,) = never_twice(shop([1, 2, 3, 3, 2, 3, 1, 4], times), LeaveOneOut())  # the one that is met again is held out
    assert "--exclude-seen" in said
    assert never_twice(shop([1, 1, 3, 4, 2, 3, 1, 4], times), LeaveOneOut()) == []
    assert of_log(shop([1, 2, 3, 3, 2, 3, 1, 4], times), LeaveOneOut(), exclude_seen=True) == []


@pytest.mark.parametrize("last", [0, 1])
def test_where_most_targets_complete_a_basket_it_is_said(last: int) -> None:
    """Each user's last two events lie within an hour: on one day, or, an hour later, on two."""
    log = Interactions.of(np.repeat(np.arange(6), 4), np.tile([1, 1, 2, 3], 6), np.zeros(24, int), 6)
    start = np.repeat(np.arange(6), 4) * DAY + np.tile([0, 10 * DAY, 20 * DAY, 20 * DAY + 3600], 6)
    late = start + (DAY - 3600) * last
    data = Dataset.in_memory("shop", Interactions.of(log.owners, log.items, late, 6), 3, {}, None)
    said = mostly_the_same_day(data, LeaveOneOut())
    assert bool(said) == (last == 0)
    assert mostly_the_same_day(data, ByTime("1970-01-15", "1970-01-21")) == []
    if said:
        assert said[0].startswith("6 of 6 test targets lie on the day of the event before")
        told = said[0].rpartition("--protocol ")[2].removesuffix(".")
        protocol(told).cut(data.interactions)  # what is proposed can be done


def test_what_cannot_be_cut_by_dates_is_not_proposed() -> None:
    (said,) = mostly_the_same_day(shop([1, 1, 2, 3, 1, 1, 2, 3], np.arange(8) * 60), LeaveOneOut())
    assert "2 of 2" in said
    assert "by-time" not in said


def test_it_stands_in_the_report(tmp_path: Path) -> None:
    rows = [f"u{u},i{(u + n) % 9},{DAY * (400 + u) + 60 * n}" for u in range(12) for n in range(5)]
    (tmp_path / "events.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    outcome = whole_path(Inputs(tmp_path / "events.csv"), Recipe(methods=(), changes=()), tmp_path / "out")
    told = of_log(outcome.dataset, LeaveOneOut(), exclude_seen=False)
    assert len(told) == 2
    assert [note for note in outcome.report.notes if note in told] == told
