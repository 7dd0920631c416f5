"""What changes what is served: items, events, another bundle.  One thread does it, and the journal hears of it first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tmmsrec.data.problems import DataProblem
from tmmsrec.recommender import Added, AddedEvents, Recommender
from tmmsrec.serve.errors import Refused
from tmmsrec.serve.journal import Journal
from tmmsrec.serve.pictures import Gallery, scaled
from tmmsrec.serve.shelf import Held, Shelf

log = logging.getLogger("tmmsrec.serve")
Triple = tuple[Any, Any, int]  # user, item, seconds


@dataclass(frozen=True)
class TakeItems:
    """Items to take: records of fields, and the pictures' bytes by place in the records."""

    records: Sequence[Mapping[str, Any]]
    pictures: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class TakeEvents:
    """Events to take."""

    events: Sequence[Triple]


@dataclass(frozen=True, eq=False)
class Swap:
    """A bundle to put in the place of the one of its name; the journal up to ``position`` is in it already."""

    held: Held
    position: int


Job = TakeItems | TakeEvents | Swap
Done = list[Added] | AddedEvents | None


class Keeper:
    """Does jobs in their order, for ``Together``.  What it returns without an exception is on disk."""

    def __init__(self, shelf: Shelf, journal: Journal, gallery: Gallery) -> None:
        self._shelf, self._journal, self._gallery = shelf, journal, gallery
        self.broken = False  # the disk once failed to keep what was written: nothing more is taken

    def do(self, jobs: list[Job]) -> list[Done | Exception]:
        """Each job's result or exception; one wait for the disk stands for all."""
        results = [self._one(job) for job in jobs]
        try:
            if not self.broken:
                self._journal.sync()
        except OSError as problem:
            # Nobody knows what of it is on disk, and a second try would not say: only a new start reads what is there.
            self.broken = True
            log.error("the journal cannot be brought to disk (%s): nothing more is taken until a new start", problem)
            return [one if isinstance(one, Exception) or one is None else _full(problem) for one in results]
        return results

    def _one(self, job: Job) -> Done | Exception:
        try:
            if isinstance(job, Swap):
                replay(job.held.recommender, self._journal, job.position)
                self._shelf.put(job.held)
                return None
            if self.broken:
                raise Refused(503, "the disk failed; nothing is taken until the service is started anew")
            return self._items(job) if isinstance(job, TakeItems) else self._events(job)
        except OSError as problem:
            return _full(problem)
        except Exception as problem:  # of this job alone
            return problem

    def _items(self, job: TakeItems) -> list[Added]:
        catalog = self._shelf.main.recommender.catalog
        records = [_suited(catalog.fields.schema, record) for record in job.records]
        with_pictures = [_pictured(record, job.pictures.get(n)) for n, record in enumerate(records)]
        names: dict[int, str] = {}

        def first(_: list[Added]) -> None:
            # What is no picture at all was said to be none, and would say so at every start.
            names.update({n: self._journal.keep_picture(data) for n, data in job.pictures.items() if scaled(data, 64) is not None})
            told = [{**record, "picture": names[n]} if n in names else record for n, record in enumerate(records)]
            self._journal.append({"items": told})

        added = self._shelf.main.recommender.add_items(with_pictures, first=first)
        for n, name in names.items():
            self._gallery.add(added[n].item, name)
        for held in self._others():
            _take_items(held.recommender, with_pictures)
        return added

    def _events(self, job: TakeEvents) -> AddedEvents:
        def first(new: Sequence[Any]) -> None:
            if new:
                self._journal.append({"events": [list(job.events[one.place]) for one in new]})

        done = self._shelf.main.recommender.add_events(job.events, first=first)
        for held in self._others():
            _take_events(held.recommender, job.events)
        return done

    def _others(self) -> list[Held]:
        return [held for held in self._shelf if held is not self._shelf.main]


def replay(recommender: Recommender, journal: Journal, start: int = 0, end: int | None = None) -> None:
    """Give a Recommender what the journal holds from ``start`` to ``end``: all items at once, then all events.

    What its bundle cannot take (a field or an item that it does not know) is left out and logged.
    """
    items: dict[Any, dict[str, Any]] = {}
    events: list[Triple] = []
    for entry in journal.read(start, end):
        for record in entry.get("items", ()):
            given = {k: v for k, v in record.items() if v is not None}
            items[str(record["id"])] = {**items.get(str(record["id"]), {}), **given}
        events += [(user, item, at) for user, item, at in entry.get("events", ())]
    records = [_pictured(record, _picture(journal, record.pop("picture", None))) for record in items.values()]
    if records:
        _take_items(recommender, records)
    if events:
        _take_events(recommender, events)


def pictures(journal: Journal) -> Iterable[tuple[Any, str]]:
    """(item id, name of its picture) of all added items, the newest last."""
    for entry in journal.read():
        for record in entry.get("items", ()):
            if record.get("picture"):
                yield record["id"], record["picture"]


def _take_items(recommender: Recommender, records: Sequence[Mapping[str, Any]]) -> None:
    known = {"id", "image", *recommender.catalog.fields.column_names}
    strange = {name for record in records for name in record} - known
    if strange:
        log.warning("the bundle has no field %s: left out of the items that were added", ", ".join(sorted(strange)))
    kept = [{k: v for k, v in record.items() if k in known} for record in records]
    _each(recommender.add_items, kept, "item")


def _take_events(recommender: Recommender, events: Sequence[Triple]) -> None:
    ids = recommender.catalog.ids
    known = [event for event in events if event[1] in ids]
    if len(known) < len(events):
        log.warning("%d events of items that the bundle does not know are left out", len(events) - len(known))
    _each(recommender.add_events, known, "event")


def _each(take: Callable[[list[Any]], object], given: list[Any], what: str) -> None:
    """All at once; where that is refused (ids of another type, say), one by one, so that no single one costs the others."""
    try:
        take(given)
        return
    except DataProblem:
        pass
    for one in given:
        try:
            take([one])
        except DataProblem as problem:
            log.warning("an %s is left out: %s", what, problem)


def _suited(schema: pa.Schema, record: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as text where the catalogue holds text."""
    told = {}
    for name, value in record.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        text = name in schema.names and pa.types.is_string(schema.field(name).type)
        told[name] = str(value) if number and text else value
    return told


def _pictured(record: Mapping[str, Any], picture: bytes | None) -> dict[str, Any]:
    return dict(record) if picture is None else {**record, "image": picture}


def _picture(journal: Journal, name: str | None) -> bytes | None:
    return journal.picture(name) if name else None


def _full(problem: OSError) -> Refused:
    return Refused(
        503, f"the disk refuses to keep it ({problem.strerror or problem}); nothing was taken, make room and send it again"
    )
