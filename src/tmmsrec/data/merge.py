"""A log that grows: new events read, told in the ids of a Dataset, and merged with its log.

Known users and items keep their rows; new ones come after them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tmmsrec.data.catalog import Catalog
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.engines.duck import DuckDB
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.items import known_items
from tmmsrec.data.pictures import Pictures
from tmmsrec.data.prepare import Preparation, prepare
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import EventsFile, ItemsFile, Source
from tmmsrec.data.split import Part, Parts
from tmmsrec.data.times import TimeChoice


@dataclass(frozen=True, eq=False)
class NewEvents:
    """New events, in the types of the Dataset that they are for.

    Attributes:
        users, items: [n] outside ids, an event each, sorted by user and time.
        times: [n] seconds UTC.
        origin: the file.
        read: how many events the file has; fewer are left where the Dataset was prepared without duplicates.
    """

    users: pa.Array
    items: pa.Array
    times: NDArray[np.int64]
    origin: str
    read: int

    def __len__(self) -> int:
        return len(self.times)

    def without(self, items: pa.Array) -> NewEvents:
        """The events of other items."""
        kept = pc.invert(pc.is_in(self.items, value_set=items))
        return replace(self, users=self.users.filter(kept), items=self.items.filter(kept), times=self.times[kept.to_numpy(False)])


@dataclass(frozen=True, eq=False)
class Merged:
    """A Dataset with new events in its log.

    Attributes:
        dataset: users and items in their old rows, new users after them.
        old: [N] bool, which events of its log were there before.
        counts: what was read, left out, added and met, for the report.
    """

    dataset: Dataset
    old: NDArray[np.bool_]
    counts: dict[str, Any]


def read_events(dataset: Dataset, source: EventsFile, time: TimeChoice = "auto") -> NewEvents:
    """New events for a Dataset, read as its own were: duplicates, ties, zone and the unit of time as its report says.

    Raises:
        DataProblem: events that cannot be read, ids of a type that no id of the Dataset has, or a file of which no user and no item
            is known, which is another shop's or has its ids written otherwise.
    """
    was = dataset.report.get("preparation", {})
    how = Preparation(
        min_events=1,
        duplicates=was.get("duplicates", "keep"),
        ties=was.get("ties", "file"),
        time=was.get("time", "auto") if time == "auto" else time,
        zone=was.get("zone", "UTC"),
    )
    found = prepare(Source(source), how)
    log, origin = found.interactions, found.report["source"]["events"]
    users = in_type_of(found.users, dataset.users, origin)
    items = in_type_of(found.catalog.ids, dataset.catalog.ids, origin)
    if not any(pc.any(pc.is_in(a, value_set=b.array)).as_py() for a, b in ((users, dataset.users), (items, dataset.catalog.ids))):
        told = f"events have users like {users[0]} and items like {items[0]}, the bundle {dataset.users[0]} and "
        raise DataProblem(
            f"no user and no item of {origin} is known: {told}{dataset.catalog.ids[1]}; check that both write their ids alike"
        )
    owner = log.owners
    return NewEvents(users.take(owner), items.take(log.items - 1), np.asarray(log.times), origin, found.report["events"]["read"])


def in_type_of(given: Ids, known: Ids, origin: str) -> pa.Array:
    """Ids in the type of those that are known: 42 and "42" are the same, "042" and 42 are not.

    Raises:
        DataProblem: an id that is no whole number where all known ones are; it is named.
    """
    kind, ids = known.array.type, given.array
    if not pa.types.is_integer(kind) or pa.types.is_integer(ids.type):
        return ids.cast(kind)
    for one in ids.to_pylist():
        if not (one.removeprefix("-").isascii() and one.removeprefix("-").isdigit() and str(int(one)) == one):
            raise DataProblem(f"{origin} has the {known.what} '{one}', but the {known.what} ids of the bundle are whole numbers")
    return ids.cast(pa.int64()).cast(kind)


def read_items(
    dataset: Dataset, met: pa.Array, source: ItemsFile, pictures: Pictures | None, *, renew: bool = False
) -> tuple[pa.Table, list[str]]:
    """What an item table says that a Dataset does not know yet: of new items, and what known ones lack.

    Where the Dataset was prepared with the whole catalogue, all items of the table are taken, else those that have events.

    Args:
        dataset: its columns are read, others left out.
        met: new item ids that have events.
        source: the table.
        pictures: where pictures are.
        renew: also known items of which the table says something else than the Dataset.

    Returns:
        A table with the columns id, fields and image (a picture's name in ``pictures``), and the names of columns left out.

    Raises:
        DataProblem: a table that cannot be read, or that describes no known and no new item.
    """
    whole = dataset.report.get("preparation", {}).get("catalogue") == "all"
    every = pa.concat_arrays([dataset.catalog.ids.array, met])
    with DuckDB().open() as desk:
        known = known_items(desk, ibis.memtable(pa.table({"item": every})), source.items(desk), everything=whole)
    asked = pc.invert(pc.is_in(known.table["id"], value_set=pa.array(_complete(dataset), dataset.catalog.ids.array.type)))
    if renew:
        asked = pc.or_(asked, _told_otherwise(dataset, known.table))
    told, _ = known.chosen(np.asarray(pc.and_(known.table["listed"], asked).to_numpy(), dtype=np.bool_), pictures)
    has = dataset.catalog.fields.column_names
    return told.select([c for c in told.column_names if c in ("id", *has)]), [c for c in known.texts if c not in has]


def _told_otherwise(dataset: Dataset, told: pa.Table) -> pa.Array:
    """[n] bool, which rows of a table have another value in a field than the known item; a value that is missing says nothing."""
    at = pc.index_in(told["id"].combine_chunks(), value_set=dataset.catalog.ids.array)
    found = pa.array(np.zeros(told.num_rows, np.bool_))
    for field in dataset.catalog.fields.schema:
        if field.name in told.column_names and field.name not in ("id", "image"):
            had = dataset.catalog.fields[field.name].combine_chunks().take(at)
            now = told[field.name].combine_chunks().cast(field.type)
            found = pc.or_(found, pc.fill_null(pc.not_equal(now, had), False))
    return found


def _complete(dataset: Dataset) -> list[Any]:
    """Ids of the items of which every field and every feature is there."""
    there = np.ones(dataset.n_items, dtype=np.bool_)
    for column in dataset.catalog.fields.columns:
        there &= np.asarray(pc.is_valid(column).to_numpy(), dtype=np.bool_)
    for features in dataset.features.values():
        there &= features.present[1:]
    return [one for one, full in zip(dataset.catalog.ids, there, strict=True) if full]


def merge(dataset: Dataset, events: NewEvents) -> Merged:
    """Put new events into the log of a Dataset that holds their items.

    Each user's events come in time order; at equal times those that were there come first.  An event whose user, item and time
    are in the log already is dropped and counted.
    """
    log, before = dataset.interactions, len(dataset.users)
    users = _with(dataset.users, events.users)
    who, what = users.rows(events.users), dataset.catalog.ids.rows(events.items)
    owner = np.repeat(np.arange(log.users, dtype=np.int64), log.lengths)
    fresh = ~_among(np.stack([who, what, events.times]), np.stack([owner, log.items.astype(np.int64), log.times]))
    who, what, when = who[fresh], what[fresh], events.times[fresh]
    # A user all of whose events were in the log is known, so nobody is left without an event.
    every = np.concatenate([owner, who]), np.concatenate([log.items, what]), np.concatenate([log.times, when])
    grown = Interactions.of(*every, n_users=len(users))
    old = np.repeat([True, False], [len(log), len(who)])[np.lexsort((every[2], every[0]))]
    counts = {
        "source": events.origin,
        "events": {
            "read": events.read,
            "repeated_in_the_file": events.read - len(events),
            "already_in_the_log": int((~fresh).sum()),
            "added": len(who),
            "older_than_the_newest_of_their_user": _late(log, who, when),
        },
        "users": {"known": int((np.unique(who) < before).sum()), "new": len(users) - before},
        "from": int(when.min()) if len(when) else None,
        "to": int(when.max()) if len(when) else None,
    }
    return Merged(replace(dataset, interactions=grown, users=users, folder=None), old, counts)


def _with(users: Ids, more: pa.Array) -> Ids:
    """The ids, and after them those of ``more`` that are not among them."""
    fresh = pc.unique(more.filter(pc.invert(pc.is_in(more, value_set=users.array))))
    return Ids(pa.concat_arrays([users.array, fresh]), first=users.first, what=users.what)


def _among(asked: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which columns of ``asked`` [3, n] are columns of ``known`` [3, m]."""
    both = np.concatenate([known, asked], axis=1)
    order = np.lexsort(both)  # stable: of equal columns those of ``known`` come first
    same = np.zeros(len(order), dtype=np.bool_)
    same[1:] = (both[:, order[1:]] == both[:, order[:-1]]).all(0)
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))  # the first of the equal ones, for each
    found = np.empty(len(order), dtype=np.bool_)
    found[order] = order[first] < known.shape[1]
    return found[known.shape[1] :]


def _late(log: Interactions, who: NDArray[np.int64], when: NDArray[np.int64]) -> int:
    """How many events of known users are older than the newest that was known of them."""
    newest = np.full(log.users + 1, np.iinfo(np.int64).min)
    held = np.flatnonzero(log.lengths > 0)
    newest[held] = log.times[log.offsets[held + 1] - 1]
    return int((when < newest[np.minimum(who, log.users)]).sum())


def reordered(dataset: Dataset, rows: NDArray[np.int64]) -> Dataset:
    """The same data with its items in another order: ``rows`` [I] are today's rows in tomorrow's order."""
    log, catalog = dataset.interactions, dataset.catalog
    place = np.zeros(len(rows) + 1, np.int32)
    place[rows] = np.arange(1, len(rows) + 1)
    every = np.concatenate([[0], rows])
    features = {m: replace(f, rows=f.rows[every], present=f.present[every]) for m, f in catalog.features.items()}
    ids = Ids(catalog.ids.array.take(rows - 1), first=catalog.ids.first, what=catalog.ids.what)
    fields = catalog.fields.take(rows - 1) if catalog.fields.column_names else catalog.fields
    moved = replace(log, items=place[log.items])
    return replace(dataset, interactions=moved, catalog=Catalog(ids, fields, features), folder=None)


def least_events(dataset: Dataset) -> int:
    """How many events a user of this Dataset must have to be learned from and asked about."""
    return int(dataset.report.get("preparation", {}).get("min_events", 1))


def of_enough(parts: Parts, least: int, *, others_read: bool) -> Parts:
    """The parts without users of fewer events: nothing is learned from them, nor are they asked about.

    In validation and test all of their events may be read (``others_read``), or none.
    """
    log = parts.test.interactions
    enough = log.lengths >= least

    def cut(part: Part) -> Part:
        of_others = log.lengths if others_read and part.name != "train" else 0
        return Part(part.name, log, np.where(enough, part.stop, of_others), part.users[enough[part.users]])

    return Parts(cut(parts.train), cut(parts.valid), cut(parts.test))


def lacking(table: pa.Table, required: Collection[str]) -> pa.Array:
    """[n] bool, which items of a table lack one of the required modalities, "text" and "image"."""
    texts = [c for c in table.column_names if c not in ("id", "image")]
    there = np.ones(table.num_rows, dtype=np.bool_)
    for modality in required:
        columns = texts if modality == "text" else [c for c in ("image",) if c in table.column_names]
        filled = [np.asarray(pc.is_valid(table[c]).to_numpy(), dtype=np.bool_) for c in columns]
        there &= np.any(filled, axis=0) if filled else False
    return pa.array(~there)
