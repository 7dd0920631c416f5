"""What is known of the items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from tmmsrec.data.ids import Ids
from tmmsrec.data.mapping import blocks
from tmmsrec.data.problems import DataProblem

HELD = 1 << 30  # bytes of feature rows that a model holds


@dataclass(frozen=True, eq=False)
class Features:
    """One modality's frozen rows.

    Attributes:
        rows: [I+1, f] float32, or float16; row 0 (padding) and the rows of items without this modality are zero.  They may be a
            map of a file larger than memory.
        present: [I+1] bool; False where the modality is missing (row 0 always).  Missing is not zero: models mask it.
        provenance: how the rows were made (encoder, version or hash, template, coverage, what was fitted on what).
        held: whether a model holds the rows in memory, or leaves them where they are and reads those that a batch needs; None: it
            holds up to 1 GiB of them.
    """

    rows: NDArray[np.floating]
    present: NDArray[np.bool_]
    provenance: dict[str, Any] = field(default_factory=dict)
    held: bool | None = None

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or len(self.rows) != len(self.present):
            raise DataProblem(f"feature rows {self.rows.shape} do not fit {self.present.shape} presence flags")

    @classmethod
    def of(cls, ids: Ids, vectors: Mapping[Any, ArrayLike], name: str = "own") -> Features:
        """Rows from vectors by the items' outside ids; items without one lack the modality, vectors of other items are left out.

        Args:
            ids: of the catalogue (``dataset.catalog.ids``).
            vectors: [f] for each.
            name: of the modality, for messages.

        Raises:
            DataProblem: no mapping, vectors of different lengths (an id is named), or none of an item that is known.
        """
        if not isinstance(vectors, Mapping):
            raise DataProblem(f"{name} features must be Features or {{item id: vector}}, got {type(vectors).__name__}")
        known = {one: np.asarray(vector, np.float32) for one, vector in vectors.items() if one in ids}
        if not known:
            some = ", ".join(repr(one) for one in list(vectors)[:3]) or "none"
            raise DataProblem(f"{name} features are of no item of the catalogue: they have {some}, it has {ids[ids.first]!r}")
        first, *_ = known.values()
        odd = next((one for one, vector in known.items() if vector.ndim != 1 or vector.shape != first.shape), None)
        if odd is not None:
            raise DataProblem(f"{name} features: the vector of {odd!r} has the shape {known[odd].shape}, others {first.shape}")
        rows, present = np.zeros((len(ids) + 1, len(first)), np.float32), np.zeros(len(ids) + 1, np.bool_)
        at = [ids.row(one) for one in known]
        rows[at], present[at] = np.stack(list(known.values())), True
        return cls(rows, present, {"encoder": "given by id", "left_out": len(vectors) - len(known)})

    @property
    def width(self) -> int:
        """How many numbers describe one item."""
        return int(self.rows.shape[1])

    @property
    def in_memory(self) -> bool:
        """Whether a model holds the rows."""
        return self.rows.nbytes <= HELD if self.held is None else self.held

    @property
    def coverage(self) -> float:
        """Share of items (padding left out) that have this modality."""
        return float(self.present[1:].mean()) if len(self.present) > 1 else 0.0

    def check(self, name: str, n_items: int) -> None:
        """Refuse rows that do not fit the catalogue.

        Raises:
            DataProblem: another row count than ``n_items + 1``, NaN or infinity (the first item row is named), or a padding
                row that is not zero.
        """
        if len(self.rows) != n_items + 1:
            raise DataProblem(
                f"{name} features have {len(self.rows)} rows; the catalogue needs {n_items + 1} "
                f"(row 0 for padding, then {n_items} items)"
            )
        bad = [at + np.flatnonzero(~np.isfinite(rows).all(axis=1)) for at, rows in blocks(self.rows)]
        if count := sum(map(len, bad)):
            first = next(int(rows[0]) for rows in bad if len(rows))
            raise DataProblem(f"{name} features hold NaN or infinity in {count} rows, first at item row {first}")
        if self.present[0] or np.any(self.rows[0]):
            raise DataProblem(f"{name} features: row 0 is padding and must be zero and absent")


@dataclass(frozen=True, eq=False)
class Catalog:
    """Items: outside ids, text fields, picture references and features.

    Attributes:
        ids: outside ids; item rows run from 1 to I.
        fields: a table of I rows in the order of ``ids``: text columns (null where missing) and, where there are pictures, a
            column ``image`` with the picture's name or address.
        features: modality name -> Features, for instance {"text": ..., "image": ...}.
    """

    ids: Ids
    fields: pa.Table
    features: dict[str, Features] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def text_columns(self) -> list[str]:
        """Names of the fields that are text."""
        return [c for c in self.fields.column_names if c != "image"]

    def first(self, n: int) -> Catalog:
        """The first n items."""
        features = {
            m: replace(f, rows=f.rows[: n + 1], present=f.present[: n + 1], held=f.in_memory) for m, f in self.features.items()
        }
        return Catalog(Ids(self.ids.array.slice(0, n), first=self.ids.first, what=self.ids.what), self.fields.slice(0, n), features)

    def describe(self, row: int) -> dict[str, Any]:
        """The known fields of an item row, missing ones left out."""
        record = self.fields.slice(row - 1, 1).to_pylist()[0]
        return {k: v for k, v in record.items() if v not in (None, "")}
