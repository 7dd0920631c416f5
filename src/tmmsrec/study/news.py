"""A bundle's data with new events and items in it, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

import tmmsrec
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.merge import NewEvents, lacking, least_events, merge, read_events, read_items
from tmmsrec.data.pictures import Pictures, holds_pictures, open_pictures
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources.guess import as_before, events_file, items_file
from tmmsrec.data.times import TimeChoice, day
from tmmsrec.recommender.adding import Added, Encoders, with_items
from tmmsrec.recommender.asking import now_seconds
from tmmsrec.recommender.growing import with_log
from tmmsrec.recommender.state import State
from tmmsrec.study.recipe import Inputs
from tmmsrec.study.stages import Listener


@dataclass(frozen=True, eq=False)
class News:
    """What came, merged.

    Attributes:
        state: the old weights over the grown data; items and users that came have no row that was learned.
        old: [N] bool, which events of its log the bundle knew already.
        counts: what was read, left out, added and met.
    """

    state: State
    old: NDArray[np.bool_]
    counts: dict[str, Any]

    @property
    def something(self) -> bool:
        """Whether anything came that was not there."""
        items = self.counts["items"]
        return bool(self.counts["events"]["added"] or items["new"] or items["completed"] or items["renewed"])


def merged(state: State, encoders: Encoders, inputs: Inputs, time: TimeChoice, listener: Listener, *, renew: bool = False) -> News:
    """Read what a person brings and put it into the data of a bundle; nothing is written.

    With ``renew`` known items take what the item table says of them otherwise.

    Raises:
        DataProblem: input that cannot be used; the message names file and place.
    """
    inputs = replace(inputs, columns=_columns(state.dataset, inputs))
    events = read_events(state.dataset, events_file(Path(inputs.interactions), inputs.format, inputs.columns), time)
    listener.stage(f"{events.read:,} events read from {inputs.interactions}")
    known = state.dataset.catalog.ids.array
    met = pc.unique(events.items.filter(pc.invert(pc.is_in(events.items, value_set=known))))
    told, pictures, unused = _told(state.dataset, met, inputs, renew)
    items = pa.concat_tables([told, _untold(told, met)])
    return taken(state, encoders, Brought(events, items, pictures, tuple(unused), renew), listener)


def _columns(dataset: Dataset, inputs: Inputs) -> dict[str, str]:
    """The columns that were named, and for the other roles those by which the first files were read, where these have them too."""
    of_events = dataset.report.get("source", {}).get("columns", {})
    found = as_before(of_events, events_file(Path(inputs.interactions), inputs.format, {}))
    if inputs.items is not None:
        first = dataset.report.get("items", {}).get("table", {}).get("columns", {})
        of_items = {"item_id": first.get("item"), "image": first.get("image")}
        found |= as_before(of_items, items_file(Path(inputs.items), {}))
    return found | dict(inputs.columns)


@dataclass(frozen=True, eq=False)
class Brought:
    """What a person brings, read.

    Attributes:
        events: new ones, and perhaps known ones.
        items: id, and of the catalogue's columns those that are told, null where they are not; every new item of the events is
            there, and known items that something new is told of.
        pictures: where the pictures are that the items' column ``image`` names.
        unused: columns that the catalogue does not have.
        renew: what is told of a known item takes the place of what it had.
    """

    events: NewEvents
    items: pa.Table
    pictures: Pictures | None = None
    unused: tuple[str, ...] = ()
    renew: bool = False


def taken(state: State, encoders: Encoders, brought: Brought, listener: Listener) -> News:
    """Put what was read into the data of a bundle.

    Raises:
        DataProblem: an encoder of the bundle that this version cannot use, or values that do not suit the catalogue.
    """
    events, items, dropped = _as_required(state.dataset, brought.events, brought.items)
    brought = replace(brought, items=items)
    before = state.dataset
    state, added = _with_items(state, brought, encoders, listener)
    found = merge(state.dataset, events)
    counts = {**found.counts, "items": _counted(added, brought.unused, before, state.dataset)}
    counts["events"]["of_items_lacking_modalities"] = dropped
    counts["events"]["in_the_future"] = int((events.times > now_seconds()).sum())
    least, lengths = least_events(found.dataset), found.dataset.interactions.lengths
    counts["users"]["short"] = {"fewer_than": least, "all": int((lengths < least).sum())}
    return News(with_log(state, _named(found.dataset, counts)), found.old, counts)


def _told(dataset: Dataset, met: pa.Array, inputs: Inputs, renew: bool) -> tuple[pa.Table, Pictures | None, list[str]]:
    """What the item table says that is not known, where its pictures are, and its columns that the bundle has no use for."""
    nothing = pa.table({"id": pa.array([], dataset.catalog.ids.array.type)})
    where = inputs.images
    if inputs.items is None:
        if where is not None:
            raise DataProblem("pictures were given without an item table; name the new items in one (--items)")
        return nothing, None, []
    if where is None and holds_pictures(Path(inputs.items)):
        where = str(inputs.items)
    pictures = open_pictures(where) if where is not None else None
    told, unused = read_items(dataset, met, items_file(Path(inputs.items), dict(inputs.columns)), pictures, renew=renew)
    return told.set_column(0, "id", told["id"].cast(dataset.catalog.ids.array.type)), pictures, unused


def _untold(told: pa.Table, met: pa.Array) -> pa.Table:
    """Items with events of which no table says anything, in the columns of ``told``."""
    fresh = met.filter(pc.invert(pc.is_in(met, value_set=told["id"])))
    return pa.table({f.name: fresh if f.name == "id" else pa.nulls(len(fresh), f.type) for f in told.schema})


def _as_required(dataset: Dataset, events: NewEvents, items: pa.Table) -> tuple[NewEvents, pa.Table, int]:
    """Without new items that lack what the Dataset was prepared to require, and their events; and how many those were."""
    required = dataset.report.get("preparation", {}).get("require", [])
    if not required:
        return events, items, 0
    new = pc.invert(pc.is_in(items["id"], value_set=dataset.catalog.ids.array))
    out = pc.and_(new, lacking(items, required))
    kept = events.without(items["id"].filter(out).combine_chunks())
    return kept, items.filter(pc.invert(out)), len(events) - len(kept)


def _with_items(state: State, brought: Brought, encoders: Encoders, listener: Listener) -> tuple[State, list[Added]]:
    """The State with items added, or known ones completed or renewed; the pictures' names stand in the catalogue."""
    records = [r for r in (_record(one, state.dataset, brought) for one in brought.items.to_pylist()) if r is not None]
    if not records:
        return state, []
    state, added = with_items(state, records, encoders, listener.counting)
    return _picture_names(state, brought.items, {a.item for a in added}), added


def _record(told: dict[str, Any], dataset: Dataset, brought: Brought) -> dict[str, Any] | None:
    """What to add of an item: all that is told of a new one, of a known one what it lacks, and the rest where it is renewed; None
    where that is nothing.

    Its picture is read when it is encoded: all pictures together may be more than memory holds.
    """
    item, said = told["id"], {k: v for k, v in told.items() if v is not None and k != "id"}
    if item in dataset.catalog.ids:
        row = dataset.catalog.ids.row(item)
        has = dataset.catalog.describe(row)
        pictured = "image" in dataset.features and bool(dataset.features["image"].present[row])
        said = {k: v for k, v in said.items() if (not pictured if k == "image" else brought.renew or k not in has)}
        if not said:
            return None
    if "image" in said:
        said["image"] = partial(brought.pictures.read, said["image"]) if brought.pictures is not None else None
    return {"id": item, **said}


def _picture_names(state: State, items: pa.Table, added: set[Any]) -> State:
    """The names of pictures that were given as bytes."""
    fields = state.dataset.catalog.fields
    if "image" not in items.column_names or "image" not in fields.column_names or not added:
        return state
    names = fields["image"].to_pylist()
    for one in items.select(["id", "image"]).to_pylist():
        if one["id"] in added and one["image"] is not None:
            names[state.dataset.catalog.ids.row(one["id"]) - 1] = one["image"]
    at = fields.column_names.index("image")
    catalog = replace(state.dataset.catalog, fields=fields.set_column(at, "image", pa.array(names, fields.schema.field(at).type)))
    return replace(state, dataset=replace(state.dataset, catalog=catalog))


def _counted(added: list[Added], unused: tuple[str, ...], before: Dataset, dataset: Dataset) -> dict[str, Any]:
    new = [a for a in added if a.new]
    return {
        "new": len(new),
        "new_without_text_or_picture": sum(not a.modalities for a in new),
        "new_lacking": {m: sum(m not in a.modalities for a in new) for m in sorted(dataset.features)},
        "completed": sum(_has(dataset, a.item) > _has(before, a.item) for a in added if not a.new),
        "renewed": sum(_renewed(before, dataset, a.item) for a in added if not a.new),
        "columns_left_out": list(unused),
    }


def _has(dataset: Dataset, item: Any) -> set[str]:
    """The features and texts that an item has; a picture's name alone is no picture."""
    row = dataset.catalog.ids.row(item)
    return {f"features {m}" for m, f in dataset.features.items() if f.present[row]} | {*dataset.catalog.describe(row)} - {"image"}


def _renewed(before: Dataset, after: Dataset, item: Any) -> bool:
    """Whether a field that an item had is another now."""
    had, has = (data.catalog.describe(data.catalog.ids.row(item)) for data in (before, after))
    return any(has[name] != value for name, value in had.items() if name != "image")


def _named(dataset: Dataset, counts: dict[str, Any]) -> Dataset:
    """The Dataset with its name, report and provenance saying what was merged."""
    log, report = dataset.interactions, dataset.report
    name = report.get("name_before_merging", dataset.name)
    told = {**counts, "tmmsrec": tmmsrec.__version__}
    report = {**report, "name_before_merging": name, "merged": [*report.get("merged", []), told]}
    newest = f"{name}, to {day(int(log.times.max()))}" if len(log) else name
    features = {m: _later(f, counts["items"]) for m, f in dataset.features.items()}
    return replace(dataset, name=newest, report=report, catalog=replace(dataset.catalog, features=features))


def _later(features: Features, items: dict[str, Any]) -> Features:
    """Features whose provenance says how many items came after the encoder was fitted."""
    had = features.provenance.get("items_after_fitting", 0)
    return replace(features, provenance={**features.provenance, "items_after_fitting": had + items["new"]})
