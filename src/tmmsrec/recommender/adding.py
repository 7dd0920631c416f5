"""New items for a trained model: checked, encoded, put at the end of the catalogue; known ones updated.  All or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmmsrec.data.catalog import Catalog, Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.problems import DataProblem
from tmmsrec.extract import encode_items
from tmmsrec.extract.base import Absent, Content, Encoded, Fitted, Progress, Work
from tmmsrec.models.base import Model
from tmmsrec.recommender.asking import new_id
from tmmsrec.recommender.state import State, build

Encoders = dict[str, Fitted | DataProblem]  # a problem stands for an encoder of the bundle that this version cannot use
Record = Mapping[str, Any]

_AT_ONCE = 1000  # items whose pictures are held in memory together


@dataclass(frozen=True)
class Added:
    """How one item was taken.

    Attributes:
        item: its outside id.
        new: whether it was not in the catalogue before.
        modalities: features that it has now.
        reasons: feature -> why what was given, or should have been, could not be used.
        recommendable: whether the method reads anything of it; an item of which it reads nothing is kept but never recommended.
    """

    item: Any
    new: bool
    modalities: tuple[str, ...]
    reasons: dict[str, str] = field(default_factory=dict)
    recommendable: bool = True


@dataclass(frozen=True, eq=False)
class Given:
    """What was given, checked.

    Attributes:
        records: n records.
        ids: their outside ids, in the catalogue's type.
        rows: [n] item rows; new items stand after the old ones.
        table: n rows of the catalogue's columns; what a known item was not given anew is what it had.
        before: items of the catalogue before.
    """

    records: Sequence[Record]
    ids: list[Any]
    rows: NDArray[np.int64]
    table: pa.Table
    before: int

    @cached_property
    def new(self) -> NDArray[np.bool_]:
        """[n] whether an item was not there before."""
        return self.rows > self.before


def with_items(
    state: State, records: Sequence[Record], encoders: Encoders, progress: Progress | None = None
) -> tuple[State, list[Added]]:
    """The State with items added or updated, and how each was taken; the State given is left as it is.

    What was there is copied once, however many items come; only their pictures are read and encoded a piece at a time.

    Args:
        state: what stands.
        records: of the items; a picture is bytes, a file's path, or a function that reads it when its turn comes.
        encoders: of the modalities.
        progress: called with how many items are encoded, of how many.

    Raises:
        DataProblem: a record that cannot be used (its place and field are named), or an encoder that cannot.
    """
    given = checked(state.dataset.catalog, records)
    features = {name: _with_room(old, given) for name, old in state.dataset.features.items()}
    reasons: dict[str, dict[int, str]] = {name: {} for name in features}
    for start in range(0, len(records), _AT_ONCE):
        piece = np.arange(start, min(start + _AT_ONCE, len(records)))
        for name, one in features.items():
            reasons[name] |= _encode_into(one, name, given, piece, encoders.get(name))
        if progress is not None:
            progress(int(piece[-1]) + 1, len(records), "items")
    dataset = _grown_dataset(state.dataset, given, features)
    after = replace(state, model=_grown_model(state, dataset), dataset=dataset)
    knows = after.knows.cpu().numpy()
    added = [
        Added(
            item=item,
            new=bool(given.new[n]),
            modalities=tuple(name for name, one in sorted(features.items()) if one.present[given.rows[n]]),
            reasons={name: why[n] for name, why in reasons.items() if n in why},
            recommendable=bool(knows[given.rows[n]]),
        )
        for n, item in enumerate(given.ids)
    ]
    return after, added


def checked(catalog: Catalog, records: Sequence[Record], *, picture: str = "image") -> Given:
    """What was given, if it can be used; raises DataProblem that names the place and field of what cannot.

    Args:
        catalog: what stands.
        records: of the items.
        picture: what the field of a picture is called where the message is read.
    """
    if isinstance(records, Mapping) or not isinstance(records, Sequence) or not all(isinstance(r, Mapping) for r in records):
        raise DataProblem('items must be a list of records such as [{"id": "B01", "title": "..."}]')
    ids: dict[Any, int] = {}
    known = {"id", "image", *catalog.fields.column_names}
    for n, record in enumerate(records):
        one = new_id(catalog.ids, record.get("id"), f"items[{n}].id")
        if one in ids:
            raise DataProblem(f"items[{n}] has the id {one!r}, as items[{ids[one]}] has: give each item once")
        ids[one] = n
        strange = [name for name in record if name not in known]
        if strange:
            has = ", ".join(sorted(known - {"image"} | {picture}))
            raise DataProblem(f"items[{n}] ({one!r}) has the unknown field {strange[0]!r}; the catalogue has: {has}")
    before, fresh = len(catalog), len(catalog)
    rows = np.zeros(len(records), np.int64)
    for one, n in ids.items():
        if one in catalog.ids:
            rows[n] = catalog.ids.row(one)
        else:
            rows[n] = fresh = fresh + 1
    columns = {name: _column(catalog, name, records, list(ids), rows) for name in catalog.fields.column_names}
    return Given(records, list(ids), rows, _table(columns, len(records)), before)


def _table(columns: dict[str, pa.Array], n: int) -> pa.Table:
    """A table of n rows, though it may have no columns."""
    return pa.table({**columns, "": pa.nulls(n)}).drop_columns([""])


def _column(catalog: Catalog, name: str, records: Sequence[Record], ids: list[Any], rows: NDArray[np.int64]) -> pa.Array:
    kind = catalog.fields.schema.field(name).type
    kind = pa.string() if pa.types.is_null(kind) else kind
    values = []
    for record, row in zip(records, rows.tolist(), strict=True):
        value = record.get(name)
        if name == "image" and value is not None:
            value = str(value) if isinstance(value, (str, Path)) else None
        if value is None and row <= len(catalog):
            value = catalog.fields[name][row - 1].as_py()
        values.append(value)
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowException, TypeError, OverflowError):
        for n, value in enumerate(values):
            try:
                pa.array([value], type=kind)
            except (pa.ArrowException, TypeError, OverflowError) as problem:
                raise DataProblem(f"items[{n}] ({ids[n]!r}): {name!r} must be {kind}, got {value!r} ({problem})") from None
        raise


def _with_room(old: Features, given: Given) -> Features:
    """The features with rows for the new items, zero and absent; arrays of their own."""
    grown = given.before + int(given.new.sum()) + 1
    rows, present = np.zeros((grown, old.width), old.rows.dtype), np.zeros(grown, np.bool_)
    rows[: len(old.rows)], present[: len(old.rows)] = old.rows, old.present
    return Features(rows, present, old.provenance)


def _encode_into(
    features: Features, name: str, given: Given, piece: NDArray[np.int64], encoder: Fitted | DataProblem | None
) -> dict[int, str]:
    """Write the rows of a piece of what was given, positions [m]; position -> why a row could not be made."""
    columns = given.table.column_names
    touched = np.array([_touches(name, given.records[n], columns) for n in piece], np.bool_)
    at = piece[given.new[piece] | touched]
    if encoder is None or not len(at):
        return {int(n): f"there is no {name} encoder in this bundle" for n in at}
    if isinstance(encoder, DataProblem):
        raise encoder
    done = _encode(name, encoder, given, at)
    if done.rows.shape[1] != features.width:
        raise DataProblem(f"the {name} encoder makes rows {done.rows.shape[1]} wide, the {name} features are {features.width} wide")
    # Where nothing could be made, a known item keeps what it had.
    features.rows[given.rows[at[done.present]]] = done.rows[done.present]
    features.present[given.rows[at[done.present]]] = True
    return {int(at[n]): why for n, why in done.reasons.items()}


def _touches(name: str, record: Record, columns: list[str]) -> bool:
    """Whether a record gives anything anew that these features are made from."""
    names = ["image"] if name == "image" else [c for c in columns if c != "image"]
    return any(record.get(c) is not None for c in names)


def _encode(name: str, encoder: Fitted, given: Given, at: NDArray[np.int64]) -> Encoded:
    if name == "image":
        return encoder.examine([_picture(given.records[n].get("image")) for n in at], Work())
    return encode_items(encoder, given.table.take(at))


def _picture(value: Any) -> Content:
    if callable(value):
        value = value()
    if value is None:
        return Absent("none given")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if not isinstance(value, (str, Path)):
        return Absent(f"a picture is bytes or a file's path, not {type(value).__name__}")
    try:
        return Path(value).read_bytes()
    except (OSError, ValueError) as problem:
        return Absent(f"the file {value} cannot be read: {getattr(problem, 'strerror', None) or problem}")


def _grown_dataset(dataset: Dataset, given: Given, features: dict[str, Features]) -> Dataset:
    catalog, new = dataset.catalog, given.new
    place = np.arange(given.before + int(new.sum()))
    place[given.rows - 1] = given.before + np.arange(len(new))  # each given row stands in the joined table after the old ones
    fields = _table({}, len(place))  # pyarrow forgets how many rows a table without columns has
    if given.table.column_names:
        fields = pa.concat_tables([catalog.fields.cast(given.table.schema), given.table]).take(place)
    fresh = pa.array([one for one, is_new in zip(given.ids, new, strict=True) if is_new], type=catalog.ids.array.type)
    ids = Ids(pa.concat_arrays([catalog.ids.array, fresh]), first=catalog.ids.first, what=catalog.ids.what)
    report = {**dataset.report, "items_added": dataset.report.get("items_added", 0) + int(new.sum())}
    grown = replace(dataset, catalog=Catalog(ids, fields, features), report=report, folder=None)
    grown.check()
    return grown


def _grown_model(state: State, dataset: Dataset) -> Model:
    """The same parameters over the grown catalogue; rows of new items are zero."""
    model = build(state.method, dataset, state.trained, state.trained_users)
    before, after = state.dataset.n_items + 1, dataset.n_items + 1
    fresh = model.state_dict()
    kept = {name: _grown_tensor(old, fresh.get(name), before, after) for name, old in state.model.state_dict().items()}
    try:
        model.load_state_dict(kept)
    except RuntimeError as problem:
        raise DataProblem(f"{type(state.method).__name__} cannot take new items without training: {problem}") from None
    return model.to(state.device).eval()


def _grown_tensor(old: Tensor, fresh: Tensor | None, before: int, after: int) -> Tensor:
    by_item = fresh is not None and fresh.dim() and len(fresh) == after and len(old) == before and fresh.shape[1:] == old.shape[1:]
    if not by_item or after == before:
        return old
    return torch.cat([old, old.new_zeros(after - before, *old.shape[1:])])
