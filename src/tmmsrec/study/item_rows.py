"""The rows that stand for items: features, and ID rows at the start and at the end of a training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tmmsrec.data.dataset import Dataset
from tmmsrec.models.base import Model
from tmmsrec.nn.items import LearnedRows
from tmmsrec.study.run import Run

SEED, MOST = 0, 2_000


@dataclass(frozen=True, eq=False)
class ItemRows:
    """One kind of item rows.

    Attributes:
        name: shown.
        rows: [I+1, f], row 0 is padding.
        present: [I+1] bool, the items that have such a row.
    """

    name: str
    rows: NDArray[np.floating]
    present: NDArray[np.bool_]

    def directions(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """[n, f] rows of items at length 1, so that inner products are cosines; rows of zeros stay."""
        rows = np.asarray(self.rows[items], dtype=np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def of_features(dataset: Dataset) -> list[ItemRows]:
    """The frozen rows of every modality, texts first."""
    names = sorted(dataset.features, key=lambda name: (name != "text", name))
    return [ItemRows(f"{name} features", dataset.features[name].rows, dataset.features[name].present) for name in names]


def of_run(run: Run, dataset: Dataset, name: str) -> list[ItemRows]:
    """The ID rows that a run began with and those that it kept; none where the method has no ID rows."""
    told = [("before training", start(run, dataset)), ("after training", run.model(dataset))]
    return [ItemRows(f"ID rows {when}, {name}", rows, _all(rows)) for when, m in told if (rows := id_rows(m)) is not None]


def start(run: Run, dataset: Dataset) -> Model:
    """The model as ``fit`` builds it before the first step: the same seed, and nothing random between it and the building."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(run.job.seed)
        return run.job.method.build(dataset)


def id_rows(model: Model) -> NDArray[np.float32] | None:
    """[I+1, d] the learned rows that enter a model; None where there are none."""
    table = next((part for part in model.modules() if isinstance(part, LearnedRows)), None)
    return None if table is None else table.table.weight.detach().numpy().copy()


def by_lot(which: NDArray[np.bool_], most: int = MOST, seed: int = SEED) -> NDArray[np.int64]:
    """[n] at most so many of the items [I+1] that are flagged, in ascending order.

    All items have one order by lot, of which the first that are flagged are taken: where two kinds of rows have all items, the
    same ones are drawn.
    """
    order = 1 + np.random.default_rng(seed).permutation(len(which) - 1)
    return np.sort(order[which[order]][:most])


def _all(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    present = np.ones(len(rows), dtype=bool)
    present[0] = False
    return present
