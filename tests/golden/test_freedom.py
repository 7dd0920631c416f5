"""FREEDOM against its specification (sheet 12), LightGCN, the authors' code, and a dense computation of the published formulas.

Numbers of the authors' code: enoche/MMRec at e775373b, src/models/freedom.py, run on 2026-11-25 with torch 2.13 on the data and
weights of ``toy`` (weights are ``wave``; k 3, two user layers, one item layer, lambda .1, image weight .1), its base class replaced
by a stub and, for the pruned run, its draw replaced by the pairs 1, 3, 6 and 8.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import random_features, small
from tmmsrec.data.batch import Batch, Pass, history_batch, training_batches
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut, Part
from tmmsrec.fit import fit
from tmmsrec.models.freedom import FREEDOM
from tmmsrec.recommender.adding import _grown_model
from tmmsrec.recommender.state import State
from tmmsrec.training import Adam, Training

PAIRS = [(0, 1), (0, 2), (0, 5), (1, 2), (1, 3), (2, 1), (2, 3), (2, 4), (2, 5)]  # user 3 and item 6 stand alone
VALUE = FREEDOM(width=3, neighbours=3, pruned=0.0, reg=0.1, bias=True)
SCORES = [
    [0.082339, -0.016463, -0.018154, 0.019891, -0.005248, 0.042301],
    [-0.111636, 0.054608, -0.007764, -0.028782, -0.005906, -0.109967],
    [0.081097, -0.076279, 0.042352, 0.022966, 0.019055, 0.139543],
    [0.032661, 0.019346, -0.03315, 0.006436, -0.012518, -0.025388],
]
# Norms of the gradients: users, items, image rows and map, text rows and map.
WHOLE = 0.8104084730, (0.05004908, 0.09988405, 0.007265, 0.0022579, 0.00952667, 0.00999233)
PRUNED = 0.7894412875, (0.06699228, 0.15875073, 0.0078436, 0.00477158, 0.01453404, 0.01519799)


def wave(offset: float, *shape: int) -> torch.Tensor:
    """Numbers that anybody can make: .5 sin(1.3 n + offset)."""
    return torch.tensor(0.5 * np.sin(1.3 * np.arange(int(np.prod(shape))) + offset).reshape(shape), dtype=torch.float32)


def toy() -> tuple[Dataset, Part]:
    """4 users and 6 items; every second pair has happened twice, and user 3 has an event that training may not read."""
    events = [(u, i) for n, (u, i) in enumerate(PAIRS) for _ in range(1 + n % 2)] + [(3, 6)]
    users, items = np.array(events).T
    log = Interactions.of(users, items, np.arange(len(events)))
    features = {}
    for name, offset, width in (("image", 0.1, 5), ("text", 0.2, 4)):
        rows = np.concatenate([np.zeros((1, width)), wave(offset, 6, width).numpy()]).astype(np.float32)
        features[name] = Features(rows, np.arange(7) > 0)
    stop = np.where(np.arange(4) < 3, log.lengths, 0)
    return Dataset.in_memory("toy", log, 6, features), Part("train", log, stop, np.arange(3))


def triples(users: list[int], targets: list[int], negatives: list[int]) -> Batch:
    empty = torch.zeros(len(users), 1, dtype=torch.int64)
    asked = torch.tensor(targets)[:, None], torch.tensor(negatives)[:, None, None]
    return Batch(torch.tensor(users), empty, empty, empty, *asked, torch.zeros(0), torch.arange(len(users)))


TRIPLES = triples([0, 1, 2, 2], [1, 3, 4, 5], [3, 6, 2, 6])


def everybody(users: int = 4) -> Batch:
    empty = np.zeros((users, 1), np.int64)
    return history_batch(np.arange(users), empty, empty, np.full(users, 1_500_000_000))


def waved(value: FREEDOM = VALUE):
    data, train = toy()
    model = value.build(data)
    model.prepare(train)
    with torch.no_grad():
        model.user_rows.table.weight.copy_(wave(0.3, 4, 3))
        model.item_rows.table.weight[1:].copy_(wave(0.4, 6, 3))
        for name, offset in (("image", 0.5), ("text", 0.7)):
            if name in model.contents:
                map = model.contents[name].map
                map.weight.copy_(wave(offset, *map.weight.shape))
                if map.bias is not None:
                    map.bias.copy_(wave(offset + 0.1, 3))
    return model


def sized() -> Dataset:
    features = {"image": random_features(800, 2048, 1), "text": random_features(800, 768, 2)}
    log = Interactions.of(np.arange(273), np.ones(273, int), np.arange(273))
    return Dataset.in_memory("sized", log, 800, features)


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_parameters():
    """The sheet's counts and a row of padding in each item table; the bias of the maps, dead in the loss, is off by default."""
    data, value = sized(), FREEDOM(width=64, bias=True)
    assert count(value.build(data)) == 2_501_824 + 64 + 2048 + 768
    assert count(replace(value, trainable_features=False).build(data)) == 249_024 + 64
    assert count(replace(value, bias=False).build(data)) == 2_501_824 + 64 + 2048 + 768 - 2 * 64


@pytest.mark.parametrize(("kept", "expected"), [(None, WHOLE), ([1, 3, 6, 8], PRUNED)])
def test_the_authors_code_gives_the_same_loss_and_gradients(kept, expected):
    model = waved()
    if kept is not None:
        model._sampled = model.met.edges(torch.tensor(PAIRS)[kept])
    loss = model.loss(TRIPLES)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(expected[0], abs=1e-6)
    image, text = model.contents["image"], model.contents["text"]
    parameters = (model.user_rows.table, model.item_rows.table, image.rows, image.map, text.rows, text.map)
    assert [float(p.weight.grad.norm()) for p in parameters] == pytest.approx(expected[1], rel=1e-4)
    assert max(float(c.map.bias.grad.abs().max()) for c in (image, text)) < 1e-7  # cancels: why it is off by default


def test_the_authors_code_gives_the_same_scores_in_evaluation_with_and_without_pruning():
    for value in (VALUE, replace(VALUE, pruned=0.5)):
        model = waved(value)
        model.begin_epoch(3)
        scores = model.eval().score(everybody())[:, 1:].detach()
        torch.testing.assert_close(scores, torch.tensor(SCORES), atol=2e-6, rtol=1e-5)


def dense_adjacency(pairs, users: int, items: int) -> np.ndarray:
    met = np.zeros((users, items))
    met[tuple(np.array(pairs).T)] = 1
    a = np.block([[np.zeros((users, users)), met], [met.T, np.zeros((items, items))]])
    scale = 1 / np.sqrt(np.maximum(a.sum(1), 1))
    return scale[:, None] * a * scale


def dense_similar(features: np.ndarray, k: int) -> np.ndarray:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    graph = np.zeros((len(unit),) * 2)
    np.put_along_axis(graph, np.argsort(-(unit @ unit.T), axis=1)[:, :k], 1 / k, axis=1)
    return graph


@pytest.mark.parametrize(("layers", "item_layers"), [(2, 1), (3, 2), (0, 1), (2, 0)])
def test_a_dense_computation_gives_the_same_scores_and_loss(layers, item_layers):
    model = waved(replace(VALUE, user_layers=layers, item_layers=item_layers))
    users, items, image, text = (
        wave(o, *s).double().numpy() for o, s in ((0.3, (4, 3)), (0.4, (6, 3)), (0.1, (6, 5)), (0.2, (6, 4)))
    )
    similar = 0.1 * dense_similar(image, 3) + 0.9 * dense_similar(text, 3)
    a = dense_adjacency([(u, i - 1) for u, i in PAIRS], 4, 6)
    powers = [np.linalg.matrix_power(a, n) for n in range(layers + 1)]
    z = sum(powers) @ np.concatenate([users, items]) / (layers + 1)
    final_users, final_items = z[:4], z[4:]
    if item_layers:
        final_items = final_items + np.linalg.matrix_power(similar, item_layers) @ items
    scores = final_users @ final_items.T
    found = model.eval().score(everybody())[:, 1:].detach().numpy()
    np.testing.assert_allclose(found, scores, atol=1e-6)
    u, pos, neg = TRIPLES.users.numpy(), TRIPLES.targets[:, 0].numpy() - 1, TRIPLES.negatives[:, 0, 0].numpy() - 1

    def dense_bpr(s):
        return np.log1p(np.exp(s[u, neg] - s[u, pos])).mean()

    maps = [(rows @ wave(o, 3, rows.shape[1]).numpy().T, o) for rows, o in ((image, 0.5), (text, 0.7))]
    loss = dense_bpr(scores) + 0.1 * sum(dense_bpr(final_users @ mapped.T) for mapped, _ in maps)
    assert float(model.train().loss(TRIPLES).detach()) == pytest.approx(loss, abs=1e-6)


def test_without_item_graph_pruning_and_features_it_is_lightgcn():
    a = dense_adjacency([(u, i - 1) for u, i in PAIRS], 4, 6)
    e = np.concatenate([wave(0.3, 4, 3), wave(0.4, 6, 3)]).astype(float)
    z = (e + a @ e + a @ a @ e) / 3
    for value in (replace(VALUE, item_layers=0, reg=0.0), replace(VALUE, modalities=())):
        model = waved(value)
        np.testing.assert_allclose(model.eval().score(everybody())[:, 1:].detach().numpy(), z[:4] @ z[4:].T, atol=1e-6)


def matrix(similar, size: int) -> torch.Tensor:
    whole = torch.zeros(size, size)
    for edges, values in similar:
        whole.index_put_((edges.targets, edges.sources), values, accumulate=True)
    return whole


@pytest.mark.parametrize("modalities", [("text",), ("text", "image")])
def test_rows_of_the_item_graph_sum_to_one(modalities):
    data = small(missing=())
    model = FREEDOM(modalities=modalities, width=12).build(data)
    s = matrix(model.similar(), 31)[1:, 1:]
    torch.testing.assert_close(s.sum(1), torch.ones(30))
    assert (s.diagonal() > 0.09).all()
    if modalities == ("text",):
        assert (s.count_nonzero(1) == 10).all()
        torch.testing.assert_close(s[s > 0], torch.full((300,), 0.1))
        assert not torch.equal(s, s.T)


def test_an_item_without_a_modality_takes_the_neighbours_of_the_others_and_is_nobodys():
    data = small(missing=(3, 7))
    both = matrix(FREEDOM(width=12).build(data).similar(), 31)
    text = matrix(FREEDOM(width=12, modalities=("text",)).build(data).similar(), 31)
    image = matrix(FREEDOM(width=12, modalities=("image",)).build(data).similar(), 31)
    torch.testing.assert_close(both[[3, 7]], text[[3, 7]])
    has = torch.tensor([i for i in range(31) if i not in (0, 3, 7)])
    torch.testing.assert_close(both[has], 0.9 * text[has] + 0.1 * image[has])
    assert image[3, 3] == 1  # of nothing else is anything known
    assert image[:, [3, 7]].count_nonzero() == 2
    torch.testing.assert_close(both[1:].sum(1), torch.ones(30))


def test_a_missing_picture_is_left_out_of_the_loss_of_pictures():
    data = small(missing=(3, 7))
    model = FREEDOM(width=12, reg=1.0, item_layers=0).build(data)
    model.prepare(LeaveOneOut().cut(data.interactions).train)
    model.loss(triples([0, 1, 2], [3, 5, 9], [4, 7, 8])).backward()
    touched = model.contents["image"].rows.weight.grad.abs().sum(1).nonzero()[:, 0].tolist()
    assert touched == [8, 9]
    model.zero_grad()
    model.loss(triples([0], [3], [7])).backward()  # no pair is left
    assert model.contents["image"].map.weight.grad is None or not model.contents["image"].map.weight.grad.any()


def test_pruning_is_of_training_alone_and_an_epochs_graph_is_a_function_of_its_seed():
    data = small()
    train = LeaveOneOut().cut(data.interactions).train
    torch.manual_seed(0)
    model = FREEDOM(width=12, pruned=0.8, reg=0.0).build(data)
    model.prepare(train)
    batch = next(training_batches(train, Pass(size=50, length=0, per="event"), Sampler(train, 30, FREEDOM().negatives), seed=(0,)))

    def loss(seed):
        model.begin_epoch(seed)
        return float(model.train().loss(batch).detach())

    scores = model.eval().score(everybody(40)).detach()
    whole = float(model.train().loss(batch).detach())  # before the first epoch all pairs are read
    assert loss(1) == loss(1)
    assert len({whole, loss(1), loss(2)}) == 3
    assert len(model._sampled) == 2 * int(len(model.met.pairs) * 0.2)
    assert torch.equal(model.eval().score(everybody(40)).detach(), scores)
    assert float(model.loss(batch).detach()) == pytest.approx(whole, abs=1e-6)
    alone = int((model._sampled.into[:40] == 0).nonzero()[0, 0])
    users, _ = model.train().tables()
    torch.testing.assert_close(users[alone], model.user_rows()[alone] / 3)


def test_evaluation_makes_the_vectors_once_and_never_gives_stale_ones():
    model = waved().eval()
    calls, plain = [], model.made
    model.made = lambda: calls.append(1) or plain()

    @torch.inference_mode()
    def score():
        return model.score(everybody()).clone()

    first = score()
    assert torch.equal(score(), first)
    assert len(calls) == 1
    changed = {k: v * 2 if k == "item_rows.table.weight" else v for k, v in model.state_dict().items()}
    model.load_state_dict(changed)
    second = score()
    assert not torch.equal(second, first)
    with torch.no_grad():
        model.user_rows.table.weight.mul_(3)
    assert not torch.equal(score(), second)
    assert torch.equal(score(), plain()[0] @ plain()[1].T)
    data, _ = toy()
    model.prepare(Part("train", data.interactions, data.interactions.lengths, np.arange(4)))
    assert not torch.equal(score()[3], second[3] * 3)
    model.train()
    model.loss(TRIPLES).backward()  # vectors of an evaluation would have no gradient
    assert model.user_rows.table.weight.grad.any()


def grown(model, value: FREEDOM, data: Dataset, new: dict[str, list[np.ndarray | None]]):
    """The model over a catalogue with new items at its end, as ``Recommender.add_items`` makes it."""
    features = {}
    for name, rows in new.items():
        old = data.features[name]
        added = np.array([np.zeros(old.width) if r is None else r for r in rows], np.float32)
        present = [r is not None for r in rows]
        features[name] = Features(np.concatenate([old.rows, added]), np.concatenate([old.present, present]))
    n = data.n_items + len(next(iter(new.values())))
    larger = Dataset.in_memory("larger", data.interactions, n, features)
    return _grown_model(State(value, model, data, data.n_items), larger)


def test_new_items_are_placed_by_their_neighbours_and_change_nobody_elses_scores():
    data, _ = toy()
    model = waved().eval()
    text, image = data.features["text"].rows, data.features["image"].rows
    larger = grown(model, VALUE, data, {"text": [text[2] * 7, None], "image": [None, None]})
    scores, before = larger.score(everybody()).detach(), model.score(everybody()).detach()
    torch.testing.assert_close(scores[:, :7], before)
    nearest_text = model.contents["text"].neighbours[2]
    mean = model.item_rows()[nearest_text].mean(0)
    torch.testing.assert_close(larger.items(torch.tensor([7]))[0], mean)
    assert not larger.items(torch.tensor([8])).any()  # of which nothing is known
    again = VALUE.build(Dataset.in_memory("again", data.interactions, 8, {
        "text": Features(np.concatenate([text, text[[2]] * 7, text[[0]]]), np.array([False, *[True] * 7, False])),
        "image": Features(np.concatenate([image, image[[0, 0]]]), np.array([False, *[True] * 6, False, False])),
    }))  # fmt: skip
    again.load_state_dict(larger.state_dict())
    assert torch.equal(again.eval().score(everybody()), larger.score(everybody()))


def two_shops() -> Dataset:
    """Users of even number buy even items, the others odd ones; features are noise, but for one number that says which shop."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 8)
    items = np.concatenate([2 * rng.choice(15, 8, replace=False) + 2 - u % 2 for u in range(40)])
    features = {}
    for name in ("text", "image"):
        rows = rng.normal(size=(31, 6)).astype(np.float32)
        rows[:, 0] = 4 * (-1.0) ** np.arange(31)
        rows[0] = 0
        features[name] = Features(rows, np.arange(31) > 0)
    return Dataset.in_memory("shops", Interactions.of(users, items, np.tile(np.arange(8), 40)), 30, features)


def share_of_own_shop(method) -> float:
    """Of each user's best ten items, the share from the shop where the user buys."""
    data = two_shops()
    parts = LeaveOneOut().cut(data.interactions)
    training = Training(epochs=20, batch=32, optimiser=Adam(lr=1e-2), patience=20)
    model = fit(method, data, train=parts.train, valid=parts.valid, training=training).model
    best = model.score(everybody(40))[:, 1:].topk(10).indices + 1
    return float((best % 2 == torch.arange(40)[:, None] % 2).float().mean())


def test_it_learns_who_buys_where():
    assert share_of_own_shop(FREEDOM(width=12, pruned=0.5)) > 0.97


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"modalities": ("id", "text")}, "modalities"),
        ({"neighbours": 0}, "neighbours"),
        ({"pruned": 1.0}, "pruned"),
        ({"image_weight": 1.5}, "image_weight"),
    ],
)
def test_values_that_cannot_be_are_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        replace(FREEDOM(), **changes)
