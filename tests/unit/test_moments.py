"""Moments and ids as a person writes them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from tmmsrec import metrics
from tmmsrec.data.ids import Ids
from tmmsrec.data.prepare import Preparation, prepare_from
from tmmsrec.data.problems import DataProblem, UnknownId
from tmmsrec.data.split import ColdItems, protocol
from tmmsrec.models.additive import Additive
from tmmsrec.models.terms import Ages, Lately
from tmmsrec.recommender.asking import seconds_of


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2016-09-01", datetime(2016, 9, 1, tzinfo=UTC)),
        ("20160901", datetime(2016, 9, 1, tzinfo=UTC)),
        ("2016-W35-4", datetime(2016, 9, 1, tzinfo=UTC)),
        ("2016-09-01T10:30", datetime(2016, 9, 1, 10, 30, tzinfo=UTC)),
        ("2016-09-01 10:30:00+02:00", datetime(2016, 9, 1, 8, 30, tzinfo=UTC)),
        ("20160901T103000Z", datetime(2016, 9, 1, 10, 30, tzinfo=UTC)),
    ],
)
def test_an_iso_text_is_read(text, meant):
    assert seconds_of(text, "at") == meant.timestamp()


@pytest.mark.parametrize("text", ["2016-09-01+02:00", "2016-09-02-05:00", "2016-09-02-05", "20160901+02", "2016-09-01x10:30"])
def test_a_zone_without_a_clock_is_no_moment_and_never_a_clock(text, tmp_path):
    with pytest.raises(DataProblem, match="no ISO date"):
        seconds_of(text, "at")
    (tmp_path / "log.csv").write_text(f"user,item,time\na,x,{text}\n")
    with pytest.raises(DataProblem, match=text[:8]):
        prepare_from(tmp_path / "log.csv", how=Preparation(min_events=1))


def test_a_negative_id_is_found_by_its_text_and_others_are_not():
    ids = Ids(pa.array([-5, 0, 7]))
    assert [ids.row("-5"), ids.row(-5), ids.row("0"), ids.row("7")] == [0, 0, 1, 2]
    for other in ("-0", "007", "+7", "--5", "-", "7" * 5000, "\u0667"):
        with pytest.raises(UnknownId):
            ids.row(other)


def test_a_share_of_cold_items_is_told_as_it_is_and_read_as_a_number():
    assert "12.5 %" in ColdItems(0.125).said
    assert protocol("cold-items=0.125") == ColdItems(0.125)
    for wrong in ("cold-items=\u00b2", "cold-items=.", "cold-items=1.2.3"):
        with pytest.raises(DataProblem, match="no protocol"):
            protocol(wrong)


def test_a_bad_rank_is_told_with_its_user():
    with pytest.raises(ValueError, match="user 1 has -1"):
        (metrics.HR @ 10)(np.array([[0.0, 1.0], [2.0, -1.0]]))


def test_what_was_met_lately_depends_on_when():
    blind = Additive(ages=Ages(edges=()))
    assert not blind.reads_time
    assert Additive(ages=Ages(edges=()), lately=Lately()).reads_time
    assert not Additive(ages=Ages(edges=()), lately=Lately()).reads_now
    assert Additive(ages=Ages(edges=(), to_now=True), lately=Lately()).reads_now


@pytest.mark.parametrize("value", [1970, 2021, 2100, np.int64(2021), 2021.0])
def test_a_year_is_no_number_of_seconds(value):
    with pytest.raises(DataProblem, match=r"looks like a year; write '\d{4}-01-01'"):
        seconds_of(value, "at")
    assert seconds_of(1969, "at") == 1969


def test_only_a_number_is_taken_for_another_unit():
    with pytest.raises(DataProblem, match=r"lies outside 1970 to 2100$"):
        seconds_of("2999-01-01", "at")
    with pytest.raises(DataProblem, match="looks like milliseconds"):
        seconds_of(1_500_000_000_000, "at")
