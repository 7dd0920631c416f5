"""A little shop with texts and pictures, and Recommenders over it: what the tests of ``tmmsrec.recommender`` stand on."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from tests.conftest import DAY, small
from tmmsrec import zoo
from tmmsrec.data.batch import Pass, training_batches
from tmmsrec.data.catalog import Catalog, Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import Part
from tmmsrec.extract import DescriptorImage, TfidfText
from tmmsrec.nn.losses import CrossEntropy
from tmmsrec.recommender import Recommender

TMMSREC = replace(zoo.TMMSREC, width=12, length=20)
START = 1_500_000_000
COLOURS = {"red": (200, 30, 40), "blue": (30, 40, 200)}


def picture(colour: str, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 40, (24, 24, 3)) + np.array(COLOURS[colour])
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def shop() -> tuple[Dataset, dict]:
    """12 red shirts and 12 blue coats under text ids; everybody stays with one of the two."""
    kinds = [("red", "shirt"), ("blue", "coat")] * 12
    ids = [f"B{n:03d}" for n in range(len(kinds))]
    titles = [f"{colour} {kind} number {n}" for n, (colour, kind) in enumerate(kinds)]
    rng = np.random.default_rng(0)
    met = np.stack([2 * rng.choice(12, 7, replace=False) + user % 2 + 1 for user in range(60)])
    times = START + np.arange(7) * 5 * DAY + rng.integers(0, DAY, (60, 1))
    log = Interactions.of(np.repeat(np.arange(60), 7), met.ravel(), times.ravel())
    fields = pa.table({"title": titles, "brand": ["plain"] * 24, "image": [f"{i}.png" for i in ids]})
    encoders = {
        "text": TfidfText(width=8).fit(titles),
        "image": DescriptorImage(width=8).fit([picture(colour, n) for n, (colour, _) in enumerate(kinds)]),
    }
    contents = {"text": titles, "image": [picture(colour, n) for n, (colour, _) in enumerate(kinds)]}
    features = {}
    for name, encoder in encoders.items():
        rows, present = encoder.encode(contents[name])
        padded = np.concatenate([np.zeros((1, rows.shape[1]), np.float32), rows])
        features[name] = Features(padded, np.concatenate([[False], present]), {"encoder": name})
    users = Ids([f"u{n}" for n in range(60)], first=0, what="user")
    dataset = Dataset("shop", log, Catalog(Ids(ids, first=1, what="item"), fields, features), users)
    dataset.check()
    return dataset, encoders


def trained(dataset: Dataset, steps: int = 60):
    """A TMMSRec that has learned who stays with what."""
    method = replace(TMMSREC, loss=CrossEntropy())
    torch.manual_seed(0)
    model = method.build(dataset)
    log = dataset.interactions
    part = Part("train", log, log.lengths, np.arange(log.users))
    sampler = Sampler(part, dataset.n_items, method.negatives)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        for batch in training_batches(part, Pass(size=60, length=20), sampler, seed=(0, step)):
            optimiser.zero_grad()
            model.loss(batch).backward()
            optimiser.step()
    return method, model


@pytest.fixture(scope="session")
def learned() -> tuple:
    dataset, encoders = shop()
    return (*trained(dataset), dataset, encoders)


@pytest.fixture
def shopkeeper(learned, tmp_path) -> Recommender:
    """A trained Recommender over the shop; a fresh copy by way of a bundle, since some tests add items."""
    method, model, dataset, encoders = learned
    Recommender(method, model, dataset, {"seed": 0}, encoders).save(tmp_path / "fresh")
    return Recommender.load(tmp_path / "fresh")


def held(method=TMMSREC, **changes) -> Recommender:
    dataset = small(**changes)
    torch.manual_seed(1)
    return Recommender(method, method.build(dataset), dataset)


def items(answer) -> list:
    return [one.item for one in answer]


def events(dataset: Dataset, user: int) -> list[tuple[int, int]]:
    """A user row's history as one would give it by hand."""
    log = dataset.interactions
    own = slice(log.offsets[user], log.offsets[user + 1])
    return list(zip(log.items[own].tolist(), log.times[own].tolist(), strict=True))
