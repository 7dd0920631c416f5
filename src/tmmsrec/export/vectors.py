"""All vectors of a bundle as Parquet, for a vector database: a score is the inner product of a user's and an item's.

items.parquet       id, row, recommendable, vector, and the catalogue's fields
left_out.parquet    id, row, reason: items of which the method reads nothing
users.parquet       id, events, vector: known users at one moment
about.json          what was exported from what
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import tmmsrec
from tmmsrec import values
from tmmsrec.data import store
from tmmsrec.data.problems import DataProblem
from tmmsrec.export.tables import items_table, vector_column
from tmmsrec.recommender import asking
from tmmsrec.recommender.state import State

FORMAT = 1
HEAD = "about.json"
_BLOCK = 512  # users at once


@dataclass(frozen=True)
class Vectors:
    """What was written.

    Attributes:
        items: how many items that may be recommended.
        items_left_out: how many others.
        users: how many users.
        users_left_out: how many others: of them the model can say nothing, as they have no event yet, or no row of their own.
        width: D.
        at: the moment asked about, seconds UTC.
    """

    items: int
    items_left_out: int
    users: int
    users_left_out: int
    width: int
    at: int


@torch.inference_mode()
def write_vectors(state: State, folder: Path | str, at: asking.Moment | None = None) -> Vectors:
    """Write the item vectors, and the vectors of all known users at a moment (now if not given), into a folder, as a whole.

    Raises:
        DataProblem: the method has no vectors, the moment cannot be read, the folder holds something else, or the disk refuses.
    """
    folder = Path(folder)
    if state.vectors is None:
        raise DataProblem(f"{type(state.method).__name__} scores by no inner product, so there are no vectors to export")
    store.must_be_free(folder, HEAD, "exported vectors")
    moment = asking.now_seconds() if at is None else asking.seconds_of(at, "at")
    knows = state.knows.cpu().numpy()
    rows, others = np.flatnonzero(knows), np.flatnonzero(~knows[1:]) + 1
    asked = state.of_everybody(moment)
    done = Vectors(len(rows), len(others), len(asked), len(state.people) - len(asked), state.vectors.shape[1], moment)
    try:
        with store.atomic_folder(folder) as fresh:
            pq.write_table(items_table(state, rows), fresh / "items.parquet")
            pq.write_table(_left_out(state, others), fresh / "left_out.parquet")
            _write_users(state, asked, fresh / "users.parquet")
            (fresh / HEAD).write_text(json.dumps(_about(state, done), indent=2, ensure_ascii=False), encoding="utf-8")
    except OSError as problem:
        raise DataProblem(f"the vectors could not be written to {folder}: {problem}") from problem
    return done


def _left_out(state: State, rows: np.ndarray) -> pa.Table:
    reason = f"the method scores by {' and '.join(state.method.scored_by)}, and the item has none of it"
    ids = state.dataset.catalog.ids.array.take(pa.array(rows - 1))
    return pa.table({"id": ids, "row": pa.array(rows), "reason": pa.array([reason] * len(rows), pa.string())})


def _write_users(state: State, asked: list[tuple[int, asking.Asked]], file: Path) -> None:
    assert state.vectors is not None
    ids = pa.array(list(state.people), type=state.dataset.users.array.type)
    kinds = [("id", ids.type), ("events", pa.int64()), ("vector", pa.list_(pa.float32(), state.vectors.shape[1]))]
    with pq.ParquetWriter(file, pa.schema(kinds)) as out:
        for start in range(0, len(asked), _BLOCK):
            rows, block = zip(*asked[start : start + _BLOCK], strict=True)
            users = state.queries(asking.batch_of(block, state.method.history))
            events = pa.array([len(one.items) for one in block])
            out.write_table(pa.table({"id": ids.take(pa.array(rows)), "events": events, "vector": vector_column(users)}))


_MORE = "; for a few items of each user the method adds more, which is not in these files"


def _about(state: State, done: Vectors) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "written_by": tmmsrec.__version__,
        "dataset": state.dataset.name,
        "method": values.to_json(state.method),
        "score": "inner product of a user's and an item's vector" + (_MORE if state.method.beside else ""),
        "shares": {name: [at.start or 0, at.stop] for name, at in state.slices.items()},
        **asdict(done),
    }
