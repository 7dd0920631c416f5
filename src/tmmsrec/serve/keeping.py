"""What changes what is served: items, events, another bundle.  One thread does it, and the journal hears of it first."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tmmsrec.data.problems import DataProblem
from tmmsrec.recommender import Added, AddedEvents
from tmmsrec.serve.errors import Refused
from tmmsrec.serve.journal import Journal, Unsure
from tmmsrec.serve.pictures import Gallery, scaled
from tmmsrec.serve.replaying import Triple, pictured, replay, take_events, take_items
from tmmsrec.serve.shelf import Held, Shelf

log = logging.getLogger("tmmsrec.serve")


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
    """Does jobs for ``Together``.  What it returns without an exception is on disk."""

    def __init__(self, shelf: Shelf, journal: Journal, gallery: Gallery) -> None:
        self._shelf, self._journal, self._gallery = shelf, journal, gallery
        self.broken = False  # the disk once failed to keep what was written: nothing more is taken

    def do(self, jobs: list[Job]) -> list[Done | Exception]:
        """Each job's result or exception; one wait for the disk stands for all, and one making of item vectors for all items."""
        results: list[Done | Exception] = [None] * len(jobs)
        written = not self.broken
        for places in _turns(jobs):
            for n, result in zip(places, self._turn([jobs[n] for n in places]), strict=True):
                results[n] = result
        try:
            if written:
                self._journal.sync()
        except OSError as problem:
            return [one if isinstance(one, Exception) or one is None else self._unsure(problem) for one in results]
        return results

    def _turn(self, jobs: list[Job]) -> Sequence[Done | Exception]:
        """Items of several jobs, or one job of another kind."""
        items = [job for job in jobs if isinstance(job, TakeItems)]
        try:
            return self._items(items) if items else [self._other(job) for job in jobs]
        except OSError as problem:
            return [self._refused(problem)] * len(jobs)
        except Exception as problem:
            if len(jobs) == 1:
                return [problem]
            return [self._turn([job])[0] for job in jobs]  # whosever it is, the others are taken

    def _other(self, job: Job) -> Done:
        if isinstance(job, Swap):
            replay(job.held.recommender, self._journal, job.position)
            self._shelf.put(job.held)
            return None
        self._refuse_if_broken()
        assert isinstance(job, TakeEvents)
        return self._events(job)

    def _refuse_if_broken(self) -> None:
        if self.broken:
            raise Refused(503, "the disk failed; nothing is taken until the service is started anew")

    def _refused(self, problem: OSError) -> Refused:
        """What is said of something that the disk would not take."""
        return self._unsure(problem) if isinstance(problem, Unsure) else _full(problem)

    def _unsure(self, problem: OSError) -> Refused:
        """What is said when nobody knows what of it is on disk: a second try would not tell, only a new start reads it."""
        if not self.broken:
            log.error("the journal cannot be brought to disk (%s): nothing more is taken until a new start", problem)
        self.broken = True
        return Refused(
            503,
            f"the disk failed while it was kept ({problem.strerror or problem}): it is not known whether it is kept; nothing more "
            "is taken until the service is started anew, then send it again: it counts once",
        )

    def _items(self, jobs: list[TakeItems]) -> list[Done | Exception]:
        """All of them at once, but for those with an item that cannot be used: these have the problem for a result."""
        self._refuse_if_broken()
        main = self._shelf.main.recommender
        results: list[Done | Exception] = [None] * len(jobs)
        good: list[tuple[int, _Items]] = []
        for n, job in enumerate(jobs):
            ready = _Items.of(job, main.catalog.fields.schema)
            try:
                main.check_items(ready.pictured, picture="picture")
                good.append((n, ready))
            except DataProblem as problem:
                results[n] = problem
        if not good:
            return results
        together = [record for _, ready in good for record in ready.pictured]
        entries: list[dict[str, Any]] = []

        def first(_: list[Added]) -> None:
            entries.extend({"items": ready.told(self._journal)} for _, ready in good)
            self._journal.append(*entries)

        try:
            added = iter(main.add_items(together, first=first))
        except OSError as problem:
            return [self._refused(problem) if one is None else one for one in results]
        for (n, _), entry in zip(good, entries, strict=True):
            results[n] = taken = [next(added) for _ in entry["items"]]
            for one, record in zip(taken, entry["items"], strict=True):
                if "picture" in record:
                    self._gallery.add(one.item, record["picture"])
        for held in self._others():
            take_items(held.recommender, together)
        return results

    def _events(self, job: TakeEvents) -> AddedEvents:
        def first(new: Sequence[Any]) -> None:
            if new:
                self._journal.append({"events": [list(job.events[one.place]) for one in new]})

        done = self._shelf.main.recommender.add_events(job.events, first=first)
        for held in self._others():
            take_events(held.recommender, job.events)
        return done

    def _others(self) -> list[Held]:
        return [held for held in self._shelf if held is not self._shelf.main]


@dataclass(frozen=True)
class _Items:
    """The items of a job as the catalogue takes them.

    Attributes:
        records: without pictures.
        pictures: bytes by place in the records.
    """

    records: list[dict[str, Any]]
    pictures: Mapping[int, bytes]

    @classmethod
    def of(cls, job: TakeItems, schema: pa.Schema) -> _Items:
        """From what was given."""
        return cls([_suited(schema, record) for record in job.records], job.pictures)

    @property
    def pictured(self) -> list[dict[str, Any]]:
        """Records with the bytes of their pictures."""
        return [pictured(record, self.pictures.get(n)) for n, record in enumerate(self.records)]

    def told(self, journal: Journal) -> list[dict[str, Any]]:
        """Records with the names of their pictures, which are put on disk; raises OSError."""
        # What is no picture at all was said to be none, and would say so at every start.
        names = {n: journal.keep_picture(data) for n, data in self.pictures.items() if scaled(data, 64) is not None}
        return [{**record, "picture": names[n]} if n in names else record for n, record in enumerate(self.records)]


def _turns(jobs: Sequence[Job]) -> list[list[int]]:
    """Places of the jobs in the order in which they are done: items first, for an event may be of one, and those of many jobs at
    once; an item that comes twice is added, then updated, as if the two jobs had not come together.
    """
    turns: list[list[int]] = []
    ids: set[str] = set()
    for n, job in enumerate(jobs):
        if isinstance(job, TakeItems):
            own = {str(record.get("id")) for record in job.records}
            if not turns or own & ids:
                turns.append([])
                ids = set()
            turns[-1].append(n)
            ids |= own
    return turns + [[n] for n, job in enumerate(jobs) if not isinstance(job, TakeItems)]


def _suited(schema: pa.Schema, record: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as text where the catalogue holds text."""
    told = {}
    for name, value in record.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        text = name in schema.names and pa.types.is_string(schema.field(name).type)
        told[name] = str(value) if number and text else value
    return told


def _full(problem: OSError) -> Refused:
    return Refused(
        503, f"the disk refuses to keep it ({problem.strerror or problem}); nothing was taken, make room and send it again"
    )
