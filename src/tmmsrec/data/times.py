"""From what stands in a time column to seconds since 1970, UTC: the unit is found in the data and said, or refused.

A number fits one unit only when it lies from 1971 to 2100 in it: these spans of seconds, milliseconds, microseconds and
nanoseconds do not touch.  Smaller numbers would be 1970 in every unit, which is how day counts, order numbers and years look too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import ibis

from tmmsrec.data.problems import DataProblem
from tmmsrec.data.zones import to_utc

TimeChoice = Literal["auto", "s", "ms", "us", "ns", "iso"]
Place = Callable[[int], str]
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
WORDS = {
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
}
Y1971, Y2100 = 31_536_000, 4_102_444_800

# Blanks by name: what \s stands for differs between the engines.
_GAP = r"[ \t\n\f\r]"
_DAY, _CLOCK = "^" + _GAP + r"*(\d{4}-\d{2}-\d{2}", r"[T ]\d{2}:\d{2}(?::\d{2})?"
_ZONE = _GAP + r"?(?:Z|UTC|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)"  # of a clock: a day alone has none
DAY_AND_CLOCK = _DAY + "(?:" + _CLOCK + ")?)"
ISO = _DAY + "(?:" + _CLOCK + r"(?:[.,]\d+)?(?:" + _ZONE + ")?)?)" + _GAP + "*$"
# 3.1.2023 and 03.01.2023 21:55: where dots stand, days come first.
DOTTED = "^" + _GAP + r"*(\d{1,2})\.(\d{1,2})\.(\d{4})([T 0-9:.,ZUC+-]*)" + _GAP + "*$"
OFFSET = r":\d{2}(?:[.,]\d+)?" + _GAP + r"?([+-])(\d{2}):?(\d{2})?" + _GAP + "*$"
LOCAL = _CLOCK + r"(?:[.,]\d+)?" + _GAP + "*$"  # and no zone after it
# Read as a number by one engine and not by another: 1_000 (DuckDB), 1000d, 1000f and marks without a shape around it (Java).
ODD_NUMBER = r"_|[dDfF]" + _GAP + r"*$|[\x00-\x08\x0e-\x1f]"


@dataclass(frozen=True)
class TimeColumn:
    """How a time column is read.

    Attributes:
        unit: "s", "ms", "us", "ns", "iso" (text) or "typed" (the table's own dates or timestamps).
        said: words for people: the unit and the span of the data.
        first, last: the span, seconds since 1970 UTC.
    """

    unit: str
    said: str
    first: int
    last: int


def detect(events: ibis.Table, choice: TimeChoice, place: Place, zone: str = "UTC") -> TimeColumn:
    """Find the unit of ``events.time`` (columns time, position), or check the chosen one; ``zone`` as in ``seconds``.

    Raises:
        DataProblem: a missing or unparsable time, two units in one column, values that fit no unit or more than one; the
            row and its value are named.
    """
    time = events.time
    if not _readable(time):
        raise DataProblem(f"the time column has type {time.type()}; numbers, text, dates or timestamps can be read")
    counted = _kinds(events)
    if not counted:
        raise DataProblem("there are no events")
    unit = _decide(counted, choice, events, place)
    low, high = (int(v) for v in _span(events, unit, zone))
    words = WORDS.get(unit) or (f"dates as text, {zone} where no offset is written" if unit == "iso" else _typed(time, zone))
    return TimeColumn(unit, f"{words}, {day(low)} .. {day(high)}", low, high)


def seconds(time: ibis.Column, unit: str, zone: str = "UTC") -> ibis.Column:
    """A time column as int64 seconds since 1970 UTC, fractions cut towards the past; null where it cannot be read.

    Clocks without an offset are those of ``zone``; a day without a clock is the day's beginning in UTC whatever the zone, so that
    it stays the same day.
    """
    if unit == "typed":
        at = _moment(time).epoch_seconds().cast("int64")
        return to_utc(at, zone) if time.type().is_timestamp() and time.type().timezone is None else at
    if unit == "iso":
        return _iso_seconds(time, zone)
    if time.type().is_integer():
        whole = time - time % PER_SECOND[unit]  # engines divide by way of float64, which has every whole second of nanoseconds
        return (whole / PER_SECOND[unit]).cast("int64")
    return (_number(time) / PER_SECOND[unit]).floor().cast("int64")


def day(moment: int) -> str:
    """The UTC date of a second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def _readable(time: ibis.Column) -> bool:
    kind = time.type()
    return bool(kind.is_numeric() or kind.is_string() or kind.is_timestamp() or kind.is_date())


def _typed(time: ibis.Column, zone: str) -> str:
    kind = time.type()  # told without its precision, which is the engine's
    own = getattr(kind, "timezone", None)
    if own is not None and own != "UTC":
        return f"timestamps of {own}, told in UTC"
    return "dates, taken as UTC" if kind.is_date() else f"timestamps, taken as {own or zone}"


def _number(time: ibis.Column) -> ibis.Column:
    # float64 is exact for microseconds until 2255, and casts alike in every engine, where text to integer rounds or cuts.  Of
    # nanoseconds it has every 256th: enough to tell a unit, and text that ends a second in its last one is taken for the next.
    return time.try_cast("float64") if time.type().is_string() else time.cast("float64")


def _moment(time: ibis.Column) -> ibis.Column:
    kind = time.type()
    if kind.is_timestamp() and kind.timezone is not None and kind.timezone != "UTC":
        time = time.cast("timestamp('UTC')")
    return time.cast("timestamp") if kind.is_date() else time


def _as_iso(time: ibis.Column) -> ibis.Column:
    day, month, year, clock = (time.re_extract(DOTTED, i) for i in (1, 2, 3, 4))
    return time.re_search(DOTTED).ifelse(year + "-" + month.lpad(2, "0") + "-" + day.lpad(2, "0") + clock, time)


def _iso_seconds(time: ibis.Column, zone: str = "UTC") -> ibis.Column:
    time = _as_iso(time)
    local = time.re_search(ISO).ifelse(time.re_extract(DAY_AND_CLOCK, 1), ibis.null("string")).replace("T", " ")
    # The midnight that ends a day is 24:00 in ISO, which DuckDB knows and Spark does not.
    night = local.substr(10).isin([" 24:00", " 24:00:00"])
    moment = night.ifelse(local.substr(0, 10), local).try_cast("timestamp").epoch_seconds().cast("int64")
    moment = moment + night.ifelse(86_400, 0)
    if zone != "UTC":
        moment = time.re_search(LOCAL).ifelse(to_utc(moment, zone), moment)
    part = [time.re_extract(OFFSET, i) for i in (1, 2, 3)]
    ahead = part[1].try_cast("int64").coalesce(0) * 3600 + part[2].try_cast("int64").coalesce(0) * 60
    return moment - (part[0] == "-").ifelse(-ahead, ahead).coalesce(0)


def _kinds(events: ibis.Table) -> dict[str, dict[str, Any]]:
    """Per kind of value: how many, and the first place.  One pass."""
    time = events.time
    if time.type().is_timestamp() or time.type().is_date():
        at = seconds(time, "typed")
        kind = ibis.cases((at.isnull(), "missing"), (at.between(0, Y2100 - 1), "typed"), else_="other")
    else:
        number, text = _number(time), time.type().is_string()
        spans = [((number >= Y1971 * n) & (number < Y2100 * n), unit) for unit, n in PER_SECOND.items()]
        odd = [(time.re_search(ODD_NUMBER), "other")] if text else []
        iso = [(_as_iso(time).re_search(ISO) & _iso_seconds(time).between(0, Y2100 - 1), "iso")] if text else []
        nothing = time.isnull() | (time.strip() == "") if text else time.isnull()
        # Numbers are told first: the patterns for dates are the dear part, and most columns are numbers.
        kind = ibis.cases((nothing, "missing"), *odd, *spans, ((number >= 0) & (number < Y1971), "small"), *iso, else_="other")
    table = events.select(kind=kind, position=events.position).group_by("kind")
    found = table.aggregate(many=lambda t: t.count(), first=lambda t: t.position.min()).to_pyarrow().to_pylist()
    return {row["kind"]: row for row in found}


def _decide(counted: dict[str, dict[str, Any]], choice: TimeChoice, events: ibis.Table, place: Place) -> str:
    def at(kind: str) -> tuple[str, Any]:
        first = counted[kind]["first"]
        row = events.filter(events.position == first).select("time").limit(1).to_pyarrow().to_pylist()[0]
        return place(first), row["time"]

    if "missing" in counted:
        raise DataProblem(
            f"{at('missing')[0]} has no time ({counted['missing']['many']} such); remove these events or give them one"
        )
    if "other" in counted:
        where, value = at("other")
        raise DataProblem(f"{where}: time {_shown(value)} {_why_not(value)}")
    known = {k: v for k, v in counted.items() if k != "small"}
    if len(known) > 1:
        rare, usual = sorted(known, key=lambda k: (known[k]["many"], k))[0], max(known, key=lambda k: (known[k]["many"], k))
        where, value = at(rare)
        raise DataProblem(
            f"the time column mixes units: {where} is {_shown(value)}, {_unit(rare)}, "
            f"while {known[usual]['many']} events are in {_unit(usual)}; bring the column to one unit"
        )
    if choice in PER_SECOND:
        return _chosen(choice, counted, events, place)
    if "small" in counted:
        _refuse_small(*at("small"), counted["small"]["many"], next(iter(known), None))
    unit = next(iter(known))
    if choice == "iso" and unit != "iso":
        where, value = at(unit)
        raise DataProblem(f"{where}: time {_shown(value)} is no ISO date though time='iso' was asked; it looks like {_unit(unit)}")
    return unit


def _chosen(choice: str, counted: dict[str, dict[str, Any]], events: ibis.Table, place: Place) -> str:
    """A unit given by a person: taken at its word from 1970 to 2100, and refused outside."""
    if {"iso", "typed"} & set(counted):
        kind = "iso" if "iso" in counted else "typed"
        raise DataProblem(
            f"{place(counted[kind]['first'])} holds a date, no number of {WORDS[choice]}; leave the unit to be detected"
        )
    number = _number(events.time)
    outside = events.filter(~((number >= 0) & (number < Y2100 * PER_SECOND[choice]))).order_by("position").limit(1)
    for row in outside.select("position", "time").to_pyarrow().to_pylist():
        raise DataProblem(f"{place(row['position'])}: time {_shown(row['time'])} lies outside 1970 to 2100 in {WORDS[choice]}")
    return choice


def _refuse_small(where: str, value: Any, many: int, unit: str | None) -> None:
    if unit is not None:
        raise DataProblem(
            f"{where}: time {_shown(value)} would lie in 1970 ({many} such) while the others are {_unit(unit)}; correct it or "
            + (f"say the unit (time='{unit}') if it is meant" if unit in PER_SECOND else "write it as a date")
        )
    raise DataProblem(
        f"{where}: time {_shown(value)} and its column fit seconds, milliseconds and so on (all of them in 1970), "
        "or are day or order numbers; say the unit (time='s', 'ms', 'us' or 'ns'), and write days such as 20180930 as 2018-09-30"
    )


def _span(events: ibis.Table, unit: str, zone: str) -> tuple[int, int]:
    at = seconds(events.time, unit, zone)
    row = events.aggregate(low=at.min(), high=at.max()).to_pyarrow().to_pylist()[0]
    return row["low"], row["high"]


def _unit(kind: str) -> str:
    return WORDS.get(kind, "an ISO date" if kind == "iso" else "a date")


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _why_not(value: Any) -> str:
    try:
        number = float(str(value).replace("_", "?"))
    except (TypeError, ValueError):
        return "is neither a number nor a date; write 1472688000, 2016-09-01, 01.09.2016 or 2016-09-01T10:30:00+02:00, 1970 to 2100"
    if number < 0:
        return "lies before 1970"
    return "lies outside 1971 to 2100 in seconds, milliseconds, microseconds and nanoseconds"
