"""Time columns: the unit is found and said; what fits none, two or several is refused by row and value."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmmsrec.data.prepare import Preparation
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.times import detect, seconds

S = 1_472_688_000  # 2016-09-01


TEXT = "dates as text, UTC where no offset is written"


def read(values: list | pa.Array, choice: str = "auto") -> tuple[list[int], str]:
    table = ibis.memtable(pa.table({"time": values, "position": pa.array(range(len(values)))}))
    found = detect(table, choice, lambda p: f"row {p + 1} of log.csv")  # type: ignore[arg-type]
    rows = table.select(t=seconds(table.time, found.unit), position=table.position).order_by("position").to_pyarrow()
    return rows["t"].to_pylist(), found.said


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([S, S + 86400], "seconds since 1970, 2016-09-01 .. 2016-09-02"),
        ([S * 1000 + 999, (S + 86400) * 1000], "milliseconds since 1970, 2016-09-01 .. 2016-09-02"),
        ([S * 10**6 + 999_999, (S + 86400) * 10**6], "microseconds since 1970, 2016-09-01 .. 2016-09-02"),
        ([S * 10**9 + 999_999_999, (S + 86400) * 10**9], "nanoseconds since 1970, 2016-09-01 .. 2016-09-02"),
        ([str(S * 10**9), str((S + 86400) * 10**9 + 500)], "nanoseconds since 1970, 2016-09-01 .. 2016-09-02"),
        ([S + 0.75, S + 86400.0], "seconds since 1970, 2016-09-01 .. 2016-09-02"),
        ([str(S), f"{S + 86400}.0"], "seconds since 1970, 2016-09-01 .. 2016-09-02"),
        (["1.472688e9", str(S + 86400)], "seconds since 1970, 2016-09-01 .. 2016-09-02"),
        (["2016-09-01", "2016-09-02"], f"{TEXT}, 2016-09-01 .. 2016-09-02"),
        (
            ["2016-09-01T00:00:00Z", "2016-09-02 02:00+02:00"],
            f"{TEXT}, 2016-09-01 .. 2016-09-02",
        ),
        (["1.9.2016", "02.09.2016 02:00:00+02:00"], f"{TEXT}, 2016-09-01 .. 2016-09-02"),
        (
            ["2016-08-31T19:30:00.123-04:30", "2016-09-02T00:00"],
            f"{TEXT}, 2016-09-01 .. 2016-09-02",
        ),
    ],
)
def test_units_are_found_and_said(values: list, words: str) -> None:
    assert read(values) == ([S, S + 86400], words)


@pytest.mark.parametrize(
    "kind", [pa.date32(), pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.timestamp("ms", "America/New_York")]
)
def test_typed_columns(kind: pa.DataType) -> None:
    moments = [datetime(2016, 9, 1, tzinfo=UTC), datetime(2016, 9, 2, tzinfo=UTC)]
    plain = moments if getattr(kind, "tz", None) else [m.replace(tzinfo=None) for m in moments]
    found, said = read(pa.array(plain, kind))
    assert found == [S, S + 86400]
    zone = getattr(kind, "tz", None)
    told = "of America/New_York, told in UTC" if zone == "America/New_York" else "taken as UTC"
    assert said.endswith(f"{told}, 2016-09-01 .. 2016-09-02")


ZONED = [
    "2024-03-01 12:00", "2024-07-01T12:00:00.5", "2024-03-31 01:59:59", "2024-03-31 02:30", "2024-10-27 02:30",
    "2024-10-27 03:00", "1979-12-31 23:30", "2024-07-01", "1.7.2024 12:00", "2024-07-01T12:00:00Z", "2024-07-01T12:00:00-04:00",
]  # fmt: skip


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", "Etc/GMT-3", "UTC"])
def test_clocks_without_an_offset_are_those_of_the_zone(zone: str) -> None:
    table = ibis.memtable(pa.table({"time": ZONED, "position": pa.array(range(len(ZONED)))}))
    found = detect(table, "auto", str, zone)
    told = table.select(t=seconds(table.time, found.unit, zone), position=table.position).order_by("position")
    read = told.to_pyarrow()["t"].to_pylist()
    assert found.said.startswith(f"dates as text, {zone} where no offset is written")
    clocks = [datetime.fromisoformat(t).replace(tzinfo=ZoneInfo(zone), microsecond=0) for t in ZONED[:7]]
    assert read[:7] == [int(clock.timestamp()) for clock in clocks]
    assert read[7] == 1_719_792_000  # a day stays the day that it is
    assert read[8] == read[1]
    assert read[9:] == [1_719_835_200, 1_719_835_200 + 4 * 3600]


def test_timestamps_without_a_zone_are_those_of_the_zone() -> None:
    noon = datetime(2024, 7, 1, 12)
    for kind, hour in ((pa.timestamp("us"), 10), (pa.timestamp("us", "UTC"), 12), (pa.timestamp("us", "Europe/Berlin"), 10)):
        given = noon.replace(tzinfo=ZoneInfo(kind.tz)) if kind.tz else noon
        table = ibis.memtable(pa.table({"time": pa.array([given], kind), "position": [0]}))
        found = detect(table, "auto", str, "Europe/Berlin")
        told = table.select(t=seconds(table.time, found.unit, "Europe/Berlin")).to_pyarrow()["t"].to_pylist()
        assert told == [1_719_792_000 + hour * 3600]


def test_a_zone_that_is_none_is_named() -> None:
    with pytest.raises(DataProblem, match=r"'Europe/Berln' is no time zone \(did you mean 'Europe/Berlin'\?\)"):
        Preparation(zone="Europe/Berln")


@settings(max_examples=8, deadline=None)
@given(st.lists(st.datetimes(datetime(1971, 1, 2), datetime(2099, 12, 30)), min_size=1, max_size=8), st.integers(-14 * 60, 14 * 60))
def test_iso_text_agrees_with_the_standard_library(moments: list[datetime], offset: int) -> None:
    sign, minutes = ("-" if offset < 0 else "+"), abs(offset)
    texts = [m.isoformat(timespec="microseconds") + f"{sign}{minutes // 60:02d}:{minutes % 60:02d}" for m in moments]
    assert read(texts)[0] == [int(datetime.fromisoformat(t).replace(microsecond=0).timestamp()) for t in texts]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [S, S * 1000, S],
            r"mixes units: row 2 of log.csv is 1472688000000, milliseconds since 1970, while 2 events are in seconds",
        ),
        ([str(S), "2016-09-01", str(S)], r"mixes units: row 2 of log.csv is '2016-09-01', an ISO date"),
        ([S, None], r"row 2 of log.csv has no time \(1 such\)"),
        ([str(S), " "], r"row 2 of log.csv has no time"),
        ([str(S), "yesterday"], r"row 2 of log.csv: time 'yesterday' is neither a number nor a date; write 1472688000"),
        (["2016-09-01", "2016-02-30"], r"row 2 of log.csv: time '2016-02-30' is neither"),
        (["09/01/2016"], r"row 1 of log.csv: time '09/01/2016' is neither"),
        ([str(S), "nan"], r"row 2 of log.csv: time 'nan'"),
        ([S, -1], r"row 2 of log.csv: time -1 lies before 1970"),
        ([10**13], r"lies outside 1971 to 2100 in seconds, milliseconds, microseconds and nanoseconds"),
        (["2016-09-01T10:00:00+25:00"], r"is neither a number nor a date"),
        (["2016-09-01T10:00:00+02:60"], r"is neither a number nor a date"),
        ([1, 2, 3], r"row 1 of log.csv: time 1 and its column fit seconds, milliseconds and so on"),
        ([20180930, 20181001], r"write days such as 20180930 as 2018-09-30"),
        ([S, 0], r"row 2 of log.csv: time 0 would lie in 1970 \(1 such\) while the others are seconds"),
        ([S, 20_000_000_000], r"row 2 of log.csv: time 20000000000 lies outside 1971 to 2100"),
        (["2016-09-01", "2216-09-01"], r"row 2 of log.csv: time '2216-09-01'"),
        (pa.array([True, False]), r"has type boolean"),
        (pa.array([datetime(2016, 9, 1), datetime(2216, 9, 1)]), r"row 2 of log.csv: time 2216-09-01"),
    ],
)
def test_what_is_refused(values: list, message: str) -> None:
    with pytest.raises(DataProblem, match=message):
        read(values)


def test_a_chosen_unit_settles_what_is_ambiguous() -> None:
    assert read([0, 5, 86400], "s") == ([0, 5, 86400], "seconds since 1970, 1970-01-01 .. 1970-01-02")
    assert read([5_000, 86_400_999], "ms")[0] == [5, 86400]
    assert read(["2016-09-01"], "iso")[0] == [S]


@pytest.mark.parametrize(
    ("values", "choice", "message"),
    [
        ([S * 1000], "s", r"row 1 of log.csv: time 1472688000000 lies outside 1970 to 2100 in seconds"),
        (["2016-09-01"], "s", r"row 1 of log.csv holds a date, no number of seconds"),
        ([S], "iso", r"row 1 of log.csv: time 1472688000 is no ISO date though time='iso' was asked; it looks like seconds"),
        ([S, S * 1000, S * 1000], "ms", r"mixes units: row 1 of log.csv is 1472688000"),
    ],
)
def test_a_chosen_unit_that_does_not_fit_is_refused(values: list, choice: str, message: str) -> None:
    with pytest.raises(DataProblem, match=message):
        read(values, choice)
