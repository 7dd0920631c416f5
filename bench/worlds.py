"""Generated data of the sizes that the goals name.  Nothing is learned from it: only lengths and sizes matter to speed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions

DAY = 86400


def shop(
    users: int, items: int, *, mean: float = 8.4, least: int = 5, widths: dict[str, int] | None = None, seed: int = 0
) -> Dataset:
    """Histories of at least ``least`` events, ``mean`` on average with a geometric tail, over popular and rare items.

    Args:
        widths: modality -> width of random features, all present.
    """
    rng = np.random.default_rng(seed)
    log = histories(users, items, mean=mean, least=least, rng=rng)
    features = {name: _features(items, width, rng) for name, width in (widths or {}).items()}
    return Dataset.in_memory(f"{users:,} users", log, items, features, _titles(items, rng))


def histories(users: int, items: int, *, mean: float, least: int, rng: np.random.Generator) -> Interactions:
    """The log of such a shop."""
    lengths = least - 1 + rng.geometric(1 / (mean - least + 1), users)
    owner = np.repeat(np.arange(users), lengths)
    popular = rng.permutation(items) + 1
    chosen = popular[np.minimum((items * rng.random(len(owner)) ** 2).astype(np.int64), items - 1)]
    return Interactions.of(owner, chosen, rng.integers(12_000 * DAY, 17_500 * DAY, len(owner)), users)


def _titles(items: int, rng: np.random.Generator, words: int = 400) -> pa.Table:
    """Five of some hundred words for each item."""
    drawn = rng.integers(0, words, (items, 5))
    return pa.table({"title": [" ".join(f"word{w}" for w in row) for row in drawn]})


def _features(items: int, width: int, rng: np.random.Generator) -> Features:
    rows = rng.normal(size=(items + 1, width)).astype(np.float32)
    rows[0] = 0
    return Features(rows, np.arange(items + 1) > 0)
