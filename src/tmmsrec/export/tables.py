"""Vectors as tables."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from tmmsrec.recommender.state import State


def vector_column(vectors: Tensor) -> pa.Array:
    """Vectors [n, D] as a column of lists of D float32."""
    flat = vectors.detach().float().cpu().contiguous().numpy()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


def items_table(state: State, rows: NDArray[np.int64]) -> pa.Table:
    """The items of these rows: id, row, recommendable, vector, then the catalogue's fields (one of the same name gets a "_")."""
    assert state.vectors is not None
    catalog = state.dataset.catalog
    places = pa.array(rows - 1)
    columns = {
        "id": catalog.ids.array.take(places),
        "row": pa.array(rows),
        "recommendable": pa.array(state.knows.cpu().numpy()[rows]),
        "vector": vector_column(state.vectors[rows]),
    }
    fields = {(f"{name}_" if name in columns else name): catalog.fields[name].take(places) for name in catalog.fields.column_names}
    return pa.table(columns | fields)
