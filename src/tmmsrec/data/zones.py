"""What the clocks of a time zone show, and what that is in UTC: the same in every engine, since the tables are Python's."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import ibis

from tmmsrec.data.problems import DataProblem

_UTC = "UTC"  # needs no table
_EPOCH, _STEP = datetime(1970, 1, 1), timedelta(hours=6)
_END = datetime(2100, 1, 1)


def checked_zone(name: str) -> str:
    """The name; raises DataProblem for one that is no zone, and where the machine has no table of zones."""
    try:
        if name != _UTC:
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(name, known := available_timezones(), n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        more = hint if known else ": this machine has no table of them (pip install tzdata)"
        raise DataProblem(f"'{name}' is no time zone{more}; write UTC, or one like Europe/Berlin") from None
    return name


def to_utc(clock: ibis.Column, zone: str) -> ibis.Column:
    """Seconds that a zone's clocks show (int64, as if they were UTC) as seconds UTC.

    What the clocks show twice is taken for the first time, what they skip as if they had not been put forward.
    """
    if zone == _UTC:
        return clock
    steps, last = _steps(zone)
    return clock - (ibis.cases(*[(clock < until, ahead) for until, ahead in steps], else_=last) if steps else last)


@cache
def _steps(zone: str) -> tuple[list[tuple[int, int]], int]:
    """(until when, seconds of the clock; how far it is ahead of UTC), rising, and how far it is ahead from then on."""
    place, at = ZoneInfo(zone), _EPOCH - timedelta(days=2)

    def ahead(clock: datetime) -> int:
        found = clock.replace(tzinfo=place).utcoffset()
        return 0 if found is None else int(found.total_seconds())

    found: list[tuple[int, int]] = []
    while at < _END:
        after = at + _STEP
        if ahead(at) != ahead(after):
            low, high = at, after
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
                low, high = (middle, high) if ahead(middle) == ahead(at) else (low, middle)
            found.append((int(high.replace(tzinfo=UTC).timestamp()), ahead(at)))
        at = after
    return found, ahead(at)
