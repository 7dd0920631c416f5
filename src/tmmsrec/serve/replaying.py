"""What the journal says: what it comes to, told to a Recommender when a bundle is opened, and written shorter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tmmsrec.data.problems import DataProblem
from tmmsrec.recommender import Recommender
from tmmsrec.serve.journal import Journal

log = logging.getLogger("tmmsrec.serve")
_A_LINE = 1000  # records of a line of a journal that is written anew
Triple = tuple[Any, Any, int]  # user, item, seconds


@dataclass
class Settled:
    """What a journal comes to.

    Attributes:
        items: id as text -> all that was said of the item; of a field that was said twice the later.
        events: each once, in the order told.
        told: how many items and events were told, those that later ones made idle included.
    """

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[Triple] = field(default_factory=list)
    told: int = 0

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]]) -> Settled:
        """What the entries of a journal come to."""
        found, seen = cls(), set()
        for entry in entries:
            for record in entry.get("items", ()):
                given = {k: v for k, v in record.items() if v is not None}
                found.items[str(record["id"])] = {**found.items.get(str(record["id"]), {}), **given}
                found.told += 1
            for user, item, at in entry.get("events", ()):
                key = str(user), str(item), at
                if key not in seen:
                    seen.add(key)
                    found.events.append((user, item, at))
                found.told += 1
        return found

    @property
    def live(self) -> int:
        """How many items and events that is."""
        return len(self.items) + len(self.events)

    def entries(self) -> Iterator[dict[str, Any]]:
        """The same as the entries of a journal, a thousand records each."""
        records = list(self.items.values())
        yield from ({"items": records[n : n + _A_LINE]} for n in range(0, len(records), _A_LINE))
        yield from ({"events": self.events[n : n + _A_LINE]} for n in range(0, len(self.events), _A_LINE))


def compact(journal: Journal) -> None:
    """Rewrite a journal in which less is live than idle: it then says what is live alone, and keeps the pictures of that.

    Raises:
        DataProblem: the disk failed in the middle (see ``Journal.rewrite``); want of room only leaves the journal as it is.
    """
    found, before = Settled.of(journal.read()), journal.size
    if found.told - found.live <= found.live:
        return
    try:
        journal.rewrite(found.entries())
    except OSError as problem:
        log.warning("%s stays as long as it is: %s", journal.folder, problem)
        return
    log.info("the journal had %d bytes and has %d: what was idle is left out", before, journal.size)
    try:
        journal.forget_pictures({record["picture"] for record in found.items.values() if "picture" in record})
    except OSError as problem:
        log.warning("pictures that no item shows any more stay in %s: %s", journal.folder, problem)


def replay(recommender: Recommender, journal: Journal, start: int = 0, end: int | None = None) -> None:
    """Give a Recommender what the journal holds from ``start`` to ``end``: all items at once, then all events.

    What its bundle cannot take (a field or an item that it does not know) is left out and logged.
    """
    found = Settled.of(journal.read(start, end))
    records = [pictured(record, _picture(journal, record.pop("picture", None))) for record in found.items.values()]
    if records:
        take_items(recommender, records)
    if found.events:
        take_events(recommender, found.events)


def pictures(journal: Journal) -> Iterable[tuple[Any, str]]:
    """(item id, name of its picture) of all added items, the newest last."""
    for entry in journal.read():
        for record in entry.get("items", ()):
            if record.get("picture"):
                yield record["id"], record["picture"]


def take_items(recommender: Recommender, records: Sequence[Mapping[str, Any]]) -> None:
    """Add those items, and those of their fields, that a Recommender can take; what it cannot is logged."""
    known = {"id", "image", *recommender.catalog.fields.column_names}
    strange = {name for record in records for name in record} - known
    if strange:
        log.warning("the bundle has no field %s: left out of the items that were added", ", ".join(sorted(strange)))
    kept = [{k: v for k, v in record.items() if k in known} for record in records]
    _each(recommender.add_items, kept, "item")


def take_events(recommender: Recommender, events: Sequence[Triple]) -> None:
    """Add those events that a Recommender can take; what it cannot is logged."""
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


def pictured(record: Mapping[str, Any], picture: bytes | None) -> dict[str, Any]:
    """A record with its picture, where it has one."""
    return dict(record) if picture is None else {**record, "image": picture}


def _picture(journal: Journal, name: str | None) -> bytes | None:
    return journal.picture(name) if name else None
