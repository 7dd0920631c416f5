"""Every method of the zoo learns what it can know, and stays at chance where it cannot.  Methods are found by themselves.

Worlds without features get random ones, so that methods that read content meet nothing they could learn from it.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from tests.conftest import random_features, shrunk
from tmmsrec import zoo
from tmmsrec.data import worlds
from tmmsrec.data.batch import ranking_batches
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.split import LeaveOneOut, Parts
from tmmsrec.fit import fit
from tmmsrec.metrics import HR
from tmmsrec.models.base import Method, Model
from tmmsrec.models.sequential import Sequential
from tmmsrec.nn.backbones.trimlp import TriMLP
from tmmsrec.nn.losses import CrossEntropy
from tmmsrec.nn.outputs import Classifier
from tmmsrec.ranking import rank, ranks_of
from tmmsrec.training import Adam, Training


def a_variant(name: str, method: Method) -> bool:
    """Whether it is TMMSRec again with a part changed."""
    return isinstance(method, Sequential) and name.startswith("tmmsrec-")


FAMILIES = {name: method for name, method in zoo.methods().items() if not a_variant(name, method) and name not in zoo.FLOORS}
# Where a step teaches less, or a start is slower, than the usual: more of it.
FASTER = {"optimiser": Adam(lr=5e-3, decay=0.99), "patience": 40}
HOW: dict[str, dict[str, object]] = {
    "trimlp": {"optimiser": Adam(lr=2e-2, decay=0.99), "epochs": 100, "patience": 40},
    "vbpr": FASTER,
    "vbpr-itv": FASTER,
    "maml": {**FASTER, "epochs": 40},
    "bert4rec": {"optimiser": Adam(lr=3e-3, decay=0.99), "epochs": 120, "patience": 120},  # long plateaus
    "s3rec": FASTER,
    "s3rec-itv": FASTER,
    "mlp4rec": FASTER,
    "tmmsrec-plus": {"optimiser": Adam(lr=0.05, decay=0.97), "batch": 16},
    "tmmsrec-plus-now": {"optimiser": Adam(lr=0.05, decay=0.97), "batch": 16},
    "tmmsrec-plus-sasrec": {"optimiser": Adam(lr=0.05, decay=0.97), "batch": 16},
}
# Their states are weighted means of item rows, and the same rows score: what goes with what can be told, but not which comes first.
SYMMETRIC = ("trimlp-ensemble",)
NEW = 6  # new items of each cluster of the cold world
STATIC = [name for name, method in FAMILIES.items() if method.reads_users]
READING = [name for name in FAMILIES if name not in STATIC]
BY_CONTENT = [name for name, method in FAMILIES.items() if set(method.scored_by) - {"id"}]
BY_ID = [name for name in FAMILIES if name not in BY_CONTENT]


def small_form(name: str) -> Method:
    """Narrow, with little dropout, and cross-entropy where the loss is a field: worlds are small and have no noise to fear."""
    method = shrunk(FAMILIES[name], width=48, length=10, pretraining_epochs=1, masked=0.3)
    has = {f.name for f in fields(method)}  # type: ignore[arg-type]
    if "entry" in has:
        method = replace(method, entry=replace(method.entry, dropout=0.1), loss=CrossEntropy())
    if "backbone" in has and hasattr(method.backbone, "dropout"):
        method = replace(method, backbone=replace(method.backbone, dropout=0.1))
    return replace(method, dropout=0.1) if "dropout" in has else method


def ragged(dataset: Dataset, most: int = 4) -> Dataset:
    """The data without the first events of some users: where all are equally long, no training history is as long as a test one."""
    log = dataset.interactions
    left = np.minimum(np.arange(log.users) % most, log.lengths - 3)
    kept = np.arange(len(log)) - np.repeat(log.offsets[:-1], log.lengths) >= np.repeat(left, log.lengths)
    user = log.owners
    return replace(dataset, interactions=Interactions.of(user[kept], log.items[kept], log.times[kept], log.users))


def noise(n_items: int, seed: int) -> Features:
    """Rows of length one that say nothing."""
    drawn = random_features(n_items, 16, seed)
    return replace(drawn, rows=drawn.rows / np.maximum(np.linalg.norm(drawn.rows, axis=1, keepdims=True), 1e-9))


def learned(name: str, world: worlds.World, **how: object) -> tuple[Method, Model, Parts]:
    """A method after training on the world, some of whose users came later."""
    dataset, method = ragged(world.dataset), small_form(name)
    if not dataset.features:
        dataset = dataset.with_features(text=noise(dataset.n_items, 0), image=noise(dataset.n_items, 1))
    parts = LeaveOneOut().cut(dataset.interactions)
    training = Training(**{"epochs": 60, "patience": 20, "batch": 32 if method.per == "user" else 128, **HOW.get(name, {}), **how})
    return method, fit(method, dataset, train=parts.train, valid=parts.valid, training=training).model, parts


def chance(world: worlds.World) -> float:
    """HR@NEW of a random order of the new items."""
    parts = LeaveOneOut().cut(world.dataset.interactions)
    return NEW / int((parts.train.item_counts(world.dataset.n_items)[1:] == 0).sum())


def earned(name: str, world: worlds.World, k: int, exclude_seen: bool = False, **how: object) -> float:
    """Test HR@k."""
    method, model, parts = learned(name, world, **how)
    return float((HR @ k)(rank(model, parts.test, history=method.history, exclude_seen=exclude_seen).ranks).mean())


def among_new(name: str, world: worlds.World, k: int, **how: object) -> float:
    """Test HR@k among the items that nobody met in training.

    Against all items they have little chance where ids are read too: drawn as negatives and never as targets, their rows are pushed
    away.  What content tells is which of them.
    """
    method, model, parts = learned(name, world, **how)
    new = torch.from_numpy(parts.train.item_counts(world.dataset.n_items)[1:] == 0)
    hits = []
    for chosen, batch in ranking_batches(parts.test, size=1000, length=method.history):
        targets = torch.from_numpy(parts.test.targets[chosen].astype(np.int64))
        scores = model.score(batch).detach()[:, 1:].masked_fill(~new, -torch.inf)
        hits.append(ranks_of(torch.nn.functional.pad(scores, (1, 0)), targets) < k)
    return float(torch.cat(hits).double().mean())


@pytest.mark.parametrize("name", FAMILIES)
def test_which_items_go_together(name):
    """Everything that is trained can learn which items the same people take."""
    world = worlds.checkerboard(users=400)
    # Nothing is taken twice here, and a method with user rows puts what it has learned of a user first.
    assert earned(name, world, 10, exclude_seen=True) > world.blind["HR@10"] + 0.1


@pytest.mark.parametrize("name", READING)
def test_what_follows_what(name):
    """Whatever reads a history learns the one rule there is, by far more than half the way or all of it."""
    world = worlds.markov(users=400)
    if name in SYMMETRIC:
        assert earned(name, world, 1) < 0.1
    else:
        assert earned(name, world, 1) > 0.35


@pytest.mark.parametrize("name", STATIC)
def test_a_method_that_reads_no_history_cannot_know_what_follows(name):
    world = worlds.markov(users=400)
    assert earned(name, world, 1, epochs=10) < 0.25


@pytest.mark.parametrize("name", BY_CONTENT)
def test_items_never_seen_in_training_are_told_apart_by_their_content(name):
    """One modality shows the row or the column of the user's cluster, a quarter of the new items; both show the cluster."""
    world = worlds.cold_items()
    assert among_new(name, world, NEW) > 2 * chance(world)


@pytest.mark.parametrize("name", BY_ID)
def test_who_scores_by_ids_alone_cannot_tell_them_apart(name):
    world = worlds.cold_items()
    assert among_new(name, world, NEW, epochs=10) < 2 * chance(world)


def test_positive_states_and_item_rows_that_score_learn_nothing(monkeypatch):
    """Why the ensemble of TriMLPs has no sigmoid: where the rows that enter score too, it learns not even what goes together."""
    world, ensemble = worlds.checkerboard(users=400), zoo.TRIMLP_ENSEMBLE
    monkeypatch.setitem(FAMILIES, "trimlp-ensemble", replace(ensemble, backbone=TriMLP(act="sigmoid")))
    assert earned("trimlp-ensemble", world, 10, exclude_seen=True) < world.blind["HR@10"] + 0.05
    monkeypatch.setitem(FAMILIES, "trimlp-ensemble", replace(ensemble, backbone=TriMLP(act="sigmoid"), output=Classifier()))
    monkeypatch.setitem(HOW, "trimlp-ensemble", HOW["trimlp"])
    assert earned("trimlp-ensemble", world, 10, exclude_seen=True) > world.blind["HR@10"] + 0.1


def test_the_families_are_all_there():
    """Nothing slipped through the lists above."""
    assert len(FAMILIES) >= 17
    assert np.all([set(STATIC) | set(READING) == set(FAMILIES), set(BY_CONTENT) >= {"vbpr", "freedom", "mgat", "maml", "tmmsrec"}])
