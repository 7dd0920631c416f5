"""What several tests stand on: a small log with texts and pictures, and the real data where it is at hand."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tmmsrec import zoo
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.models.base import Method
from tmmsrec.training import Training

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
DAY = 86400


def random_features(n_items: int, width: int, seed: int, missing: tuple[int, ...] = ()) -> Features:
    rows = np.random.default_rng(seed).normal(size=(n_items + 1, width)).astype(np.float32)
    present = np.ones(n_items + 1, dtype=bool)
    present[[0, *missing]] = False
    rows[~present] = 0
    return Features(rows, present)


def small(users: int = 40, items: int = 30, seed: int = 0, missing: tuple[int, ...] = (3, 7)) -> Dataset:
    """Histories of 3 to 9 events over some years; texts for all items, pictures for all but a few."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 10, users)
    owner = np.repeat(np.arange(users), lengths)
    log = Interactions.of(owner, rng.integers(1, items + 1, len(owner)), rng.integers(10_000, 18_000, len(owner)) * DAY)
    features = {"text": random_features(items, 12, 1), "image": random_features(items, 5, 2, missing)}
    words = np.array(["red", "blue", "green", "long", "short", "wool", "silk", "linen", "coat", "shirt"])
    titles = [" ".join(words[rng.permutation(len(words))[:3]]) for _ in range(items)]
    return Dataset.in_memory("small", log, items, features, pa.table({"title": titles}))


@pytest.fixture
def dataset() -> Dataset:
    return small()


def shrunk(method: Method, **changes: object) -> Method:
    """The same method at a size for tests, and what is within it."""
    if method.within is not None:
        within = shrunk(method.within.method, **changes)
        how = replace(method.within.training or Training(), epochs=2)
        return replace(shrunk(replace(method, network=None), **changes), network=within, network_training=how)  # type: ignore[type-var]
    sizes = {"width": 12, "length": 20, "pretraining_epochs": 2, **changes}
    names = {f.name for f in fields(method)}  # type: ignore[arg-type]
    return replace(method, **{k: v for k, v in sizes.items() if k in names})  # type: ignore[type-var]


def all_methods() -> list[object]:
    """Every named method of the zoo, found by itself; nobody keeps a list."""
    return [pytest.param(shrunk(method), id=name) for name, method in zoo.methods().items()]


def real_data(*parts: str) -> Path:
    """A path in the folder of real data, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("TMMSREC_DATA", Path(__file__).parents[2] / "shared" / "data"))
    found = folder.joinpath(*parts)
    if not found.exists():
        pytest.skip(f"real data not at hand: {found} (set TMMSREC_DATA to its folder)")
    return found
