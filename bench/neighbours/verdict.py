"""The one evaluator: best items of every contender -> ranks -> NDCG@10, with the metrics of tmmsrec.

All items are ranked and none are hidden, also not those that a user had.  A contender names ten items for each user; where the
target is not among them it does not count, as NDCG is cut at ten.  (Items with the very same score stand in the contender's order.)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.neighbours.setting import TOP
from tmmsrec.metrics import NDCG


def ndcg(best: NDArray[np.integer], targets: NDArray[np.integer]) -> float:
    """The mean NDCG@10 of items [n, 10], best first, for targets [n].

    Raises:
        ValueError: another shape, or an item named twice for a user.
    """
    if best.shape != (len(targets), TOP):
        raise ValueError(f"{len(targets)} users with {TOP} items each were asked for, got an array of shape {best.shape}")
    named = np.sort(best, axis=1)
    if ((named[:, 1:] == named[:, :-1]) & (named[:, 1:] != 0)).any():
        raise ValueError("an item is named twice for the same user")
    found = best == targets[:, None]
    ranks = np.where(found.any(1), found.argmax(1), TOP)
    return float((NDCG @ TOP)(ranks).mean())


def by_epoch(folder: Path, name: str, targets: NDArray[np.integer], epochs: int) -> list[float]:
    """NDCG@10 after each epoch, of what a contender handed back; ``name`` is "valid" or "test"."""
    return [ndcg(np.load(folder / f"{name}-{epoch}.npy", allow_pickle=False), targets) for epoch in range(epochs)]


def seconds_to(level: float, values: list[float], wall: list[float]) -> float | None:
    """Training seconds until the first epoch whose validation value reaches ``level``; None if none does."""
    for epoch, value in enumerate(values):
        if value >= level:
            return float(sum(wall[: epoch + 1]))
    return None
