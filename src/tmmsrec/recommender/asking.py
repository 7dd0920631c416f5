"""From what a person asks with (outside ids, moments, lists) to rows and seconds, with messages that name the place."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tmmsrec.data.batch import Batch, history_batch
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.problems import DataProblem, UnknownId
from tmmsrec.recommender.people import History, NewEvent, People

Moment = int | float | str | datetime | date | np.datetime64
Event = tuple[Any, Moment]
Where = Mapping[str, Any]  # field -> values that will do, or {"min": ..., "max": ...}

NOBODY = -1  # the user row of a history given by hand: a model that reads user rows must not take it for user 0
_DAY = re.compile(r"(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}-?W\d{2}(?:-?\d)?)(?:[Tt ].*)?")
_YEARS = range(1970, 2101)
_Y1971, _Y2100 = 31_536_000, 4_102_444_800


@dataclass(frozen=True)
class Question:
    """What a person asks; ``Recommender.recommend`` says what each of it means."""

    user: Any = None
    history: Iterable[Event] | None = None
    at: Moment | None = None
    k: int = 10
    exclude_seen: bool | None = None
    allow: Iterable[Any] | None = None
    deny: Iterable[Any] | None = None
    where: Where | None = None


@dataclass(frozen=True, eq=False)
class Asked:
    """One question in rows and seconds.

    Attributes:
        user: user row, or NOBODY.
        items: [n] item rows, the whole history in time order.
        times: [n] seconds UTC.
        at: the moment asked about, seconds UTC.
    """

    user: int
    items: NDArray[np.int64]
    times: NDArray[np.int64]
    at: int


def seconds_of(value: Moment, where: str) -> int:
    """Seconds since 1970 UTC of a number of seconds, a date or datetime (UTC when it names no zone), or an ISO text.

    Raises:
        DataProblem: none of these, outside 1970 to 2100, or a year given as a number; the message begins with ``where``.
    """
    if type(value) is int and _YEARS.stop <= value < _Y2100:  # what most histories hold
        return value
    moment = value
    if isinstance(moment, np.datetime64):
        moment = moment.astype("datetime64[s]").item()
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(_iso(moment.strip()))
        except ValueError:
            raise DataProblem(
                f"{where}: {value!r} is no ISO date; write 2016-09-01, 2016-09-01T10:30:00+02:00 or seconds as a number"
            ) from None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    number = isinstance(moment, (int, float, np.integer, np.floating)) and not isinstance(moment, bool)
    if not number or (isinstance(moment, (float, np.floating)) and not math.isfinite(moment)):
        raise DataProblem(f"{where}: {value!r} is no moment; give seconds since 1970, a datetime or an ISO text")
    if moment is value and moment in _YEARS:
        year = f"{moment:.0f}-01-01"
        raise DataProblem(f"{where}: {value!r} is half an hour past 1970 in seconds, and looks like a year; write '{year}'")
    if not 0 <= moment < _Y2100:
        units = {1e3: "milliseconds", 1e6: "microseconds", 1e9: "nanoseconds"} if moment is value else {}
        hint = next((f"; it looks like {unit}" for per, unit in units.items() if _Y1971 * per <= moment < _Y2100 * per), "")
        raise DataProblem(f"{where}: {value!r} lies outside 1970 to 2100{' in seconds' if moment is value else ''}{hint}")
    return math.floor(moment)


def _iso(text: str) -> str:
    """The text, if what parts day and clock is a T or a blank: Python takes any sign, and reads a day's zone as a clock."""
    if not _DAY.fullmatch(text):
        raise ValueError(text)
    return text


def of_question(people: People, ids: Ids, question: Question, now: int, where: str | None = None) -> Asked:
    """A question in rows and seconds; ``where`` names the user or the history in messages.

    Of a known user's history only what happened with the items of ``ids`` is read: others may have come since these were taken.

    Raises:
        UnknownId: unknown user, or an unknown item in the history.
        DataProblem: neither or both of user and history, a time that cannot be read, or an event after the moment asked about.
    """
    at = None if question.at is None else seconds_of(question.at, "at")
    if (question.user is None) == (question.history is None):
        raise DataProblem("give either user= (a known user) or history= (a list of (item, time))")
    if question.history is not None:
        return of_history(ids, question.history, at, now, where or "history")
    row = row_of(people, question.user, where or "user")
    return of_known(row, people.history(row, len(ids)), at, now)


def of_user(dataset: Dataset, user: Any, at: int | None, now: int, where: str = "user") -> Asked:
    """The history of a known user of a Dataset up to ``at``; raises UnknownId."""
    row = row_of(dataset.users, user, where)
    return of_known(row, People(dataset.users, dataset.interactions).history(row), at, now)


def of_known(row: int, history: History, at: int | None, now: int) -> Asked:
    """A known user's history up to ``at``."""
    items, times = history
    if at is not None:
        end = int(np.searchsorted(times, at, side="right"))
        return Asked(row, items[:end], times[:end], at)
    return Asked(row, items, times, max(now, int(times[-1])) if len(times) else now)


def of_history(ids: Ids, history: Iterable[Event], at: int | None, now: int, where: str = "history") -> Asked:
    """A history given by hand, put in time order (equal times keep theirs).

    Raises:
        UnknownId: an item that the catalogue does not hold; its place is named.
        DataProblem: an event that is no (item, time), a time that cannot be read, or one after ``at``.
    """
    if isinstance(history, (str, bytes)) or not isinstance(history, Iterable):
        raise DataProblem(f"{where} must be a list of (item, time), got {history!r}")
    rows, moments = [], []
    for place, event in enumerate(history):
        spot = f"{where}[{place}]"
        if isinstance(event, (str, bytes)) or not isinstance(event, (tuple, list, Sequence)) or len(event) != 2:
            raise DataProblem(f"{spot} must be (item, time), got {event!r}")
        moment = seconds_of(event[1], spot)
        if at is not None and moment > at:
            raise DataProblem(f"{spot}: its time {event[1]!r} lies after the moment asked about (at); leave it out or ask later")
        rows.append(row_of(ids, event[0], spot))
        moments.append(moment)
    items, times = np.array(rows, np.int64), np.array(moments, np.int64)
    order = np.argsort(times, kind="stable")
    return Asked(NOBODY, items[order], times[order], at if at is not None else max([now, *moments]))


def of_events(people: People, users: Ids, items: Ids, events: Iterable[tuple[Any, Any, Moment]]) -> list[NewEvent]:
    """(user, item, time) events that no history holds yet, each once.

    Raises:
        UnknownId: an item that the catalogue does not hold; its place is named.
        DataProblem: an event that is no (user, item, time), a user id that cannot be one, or a time that cannot be read.
    """
    if isinstance(events, (str, bytes)) or not isinstance(events, Iterable):
        raise DataProblem(f"events must be a list of (user, item, time), got {events!r}")
    found = []
    for place, event in enumerate(events):
        spot = f"events[{place}]"
        if isinstance(event, (str, bytes)) or not isinstance(event, Sequence) or len(event) != 3:
            raise DataProblem(f"{spot} must be (user, item, time), got {event!r}")
        user = new_id(users, event[0], f"{spot}.user")
        found.append(NewEvent(place, user, row_of(items, event[1], f"{spot}.item"), seconds_of(event[2], f"{spot}.at")))
    return people.unseen(found)


def new_id(ids: Ids, value: Any, where: str) -> Any:
    """An id that may be new, in the type of those that are there; raises DataProblem that begins with ``where``."""
    blank = isinstance(value, str) and not value.strip()
    if value is None or blank or isinstance(value, bool) or not isinstance(value, (str, int, np.integer)):
        raise DataProblem(f"{where}: {value!r} is no usable id: give text or a whole number")
    if not pa.types.is_integer(ids.array.type):
        return str(value)
    try:
        whole = int(value)
        pa.scalar(whole, type=ids.array.type)
    except (ValueError, OverflowError):  # pa.ArrowInvalid is a ValueError
        whole = None
    if whole is None or str(whole) != str(value):
        raise DataProblem(f"{where}: the id is {value!r}, but the {ids.what} ids here are whole numbers ({ids.array.type})")
    return whole


def row_of(ids: Ids | People, value: Any, where: str) -> int:
    """The row of an outside id; UnknownId names the place in what was given."""
    try:
        return ids.row(value)
    except TypeError:
        raise DataProblem(f"{where}: {value!r} cannot be an id") from None
    except UnknownId as problem:
        raise UnknownId(f"{where}: {problem}") from None


def rows_of(ids: Ids, values: Iterable[Any], where: str) -> NDArray[np.int64]:
    """Rows of outside ids, int64; DataProblem for a single text where a list belongs, UnknownId names the place."""
    return np.array([row_of(ids, v, f"{where}[{place}]") for place, v in enumerate(listed(values, where))], np.int64)


def known_rows(ids: Ids, values: Iterable[Any], where: str) -> NDArray[np.int64]:
    """Rows of the outside ids that are known, int64: a shop's lists of what is there and what is not hold others too.

    Raises:
        DataProblem: a single text where a list belongs.
    """
    return rows_of(ids, [value for value in listed(values, where) if value in ids], where)


def some_known_rows(ids: Ids, values: Iterable[Any], where: str) -> NDArray[np.int64]:
    """The same of a list that something has to be left of.

    Raises:
        UnknownId: none of them is known, so that something else is meant; the first one's place is named.
    """
    given = listed(values, where)
    found = known_rows(ids, given, where)
    return found if len(found) else rows_of(ids, given, where)


def listed(values: Iterable[Any], where: str) -> list[Any]:
    """A list of what was given; raises DataProblem for a single text or number."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise DataProblem(f"{where} must be a list of ids, got {values!r}: write [{values!r}]")
    return list(values)


def count_of(k: int) -> int:
    """k itself; raises DataProblem unless it is a whole number of at least 1."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise DataProblem(f"k must be a whole number of at least 1, got {k!r}")
    return int(k)


def now_seconds() -> int:
    """This moment."""
    return int(time.time())


def batch_of(asked: Sequence[Asked], length: int) -> Batch:
    """One batch of questions, the newest ``length`` events of each."""
    kept = [min(len(a.items), length) for a in asked]
    width = max([1, *kept])
    items, times = np.zeros((len(asked), width), np.int64), np.zeros((len(asked), width), np.int64)
    for at, (one, n) in enumerate(zip(asked, kept, strict=True)):
        items[at, :n] = one.items[len(one.items) - n :]
        times[at, :n] = one.times[len(one.items) - n :]
    users, moments = (np.array([getattr(a, name) for a in asked], np.int64) for name in ("user", "at"))
    return history_batch(users, items, times, moments)
