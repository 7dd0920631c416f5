"""VBPR against sheet 8: counts, identities, and the published formula worked out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import random_features, small
from tmmsrec.data.batch import Sampler, history_batch, training_batches
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.models.vbpr import VBPR

BOTH = VBPR(modalities=("text", "image"), width=5, content_width=4)


def asked(users: list[int]):
    empty = np.zeros((len(users), 1), np.int64)
    return history_batch(np.array(users), empty, empty, np.ones(len(users), np.int64))


def built(value: VBPR, data: Dataset):
    torch.manual_seed(0)
    model = value.build(data).eval()
    torch.nn.init.normal_(model.item_biases.table.weight)
    return model


@pytest.mark.parametrize(("modalities", "expected"), [(("image",), 220_064), (("text", "image"), 287_456)])
def test_parameter_counts(modalities, expected):
    """The sheet's for 273 users and 800 items; our tables have a row for padding, k + 1 numbers more."""
    log = Interactions.of(np.arange(273), np.ones(273, int), np.zeros(273, int))
    features = {"text": random_features(800, 768, 0), "image": random_features(800, 2048, 1)}
    model = VBPR(modalities=modalities).build(Dataset.in_memory("beauty", log, 800, features))
    assert sum(p.numel() for p in model.parameters()) == expected + 64 + 1


def test_scores_are_the_formula():
    data = small()
    model = built(BOTH, data)
    p = {n: t.detach().numpy().astype(np.float64) for n, t in model.named_parameters()}
    expected = p["item_biases.table.weight"][None, :, 0] + p["latent_users.table.weight"] @ p["latent_items.table.weight"].T
    for at, name in enumerate(("text", "image")):
        f = data.features[name].rows.astype(np.float64)
        e, w = p[f"content.{at}.map.weight"][:-1], p[f"content.{at}.map.weight"][-1]
        expected = expected + p[f"content_users.{at}.table.weight"] @ (e @ f.T) + (f @ w)[None]
    got = model.score(asked(list(range(40)))).detach().numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_loss_is_the_formula_with_its_penalties():
    data = small()
    value = VBPR(modalities=("text", "image"), width=5, content_width=4, negatives_drawn=2, rows=0.3, biases=0.7, maps=0.2)
    model = built(value, data)
    part = LeaveOneOut().cut(data.interactions).train
    sampler = Sampler(part, 30, value.negatives)
    batch = next(training_batches(part, size=9, length=0, sampler=sampler, seed=(0,), per="event"))
    scores = model.score(batch).detach().numpy()
    g_u, g_i = (t.table.weight.detach().numpy() for t in (model.latent_users, model.latent_items))
    b = model.item_biases.table.weight.detach().numpy()[:, 0]
    total = 0.0
    for row, user in enumerate(batch.users.tolist()):
        i, js = int(batch.targets[row]), batch.negatives[row, 0].tolist()
        t_u = [t.table.weight.detach().numpy()[user] for t in model.content_users]
        total += np.mean([np.log1p(np.exp(scores[row, j] - scores[row, i])) for j in js])
        rows = (g_u[user] ** 2).sum() + sum((t**2).sum() for t in t_u) + (g_i[i] ** 2).sum()
        rows += np.mean([(g_i[j] ** 2).sum() for j in js])
        total += 0.3 / 2 * rows + 0.7 / 2 * (b[i] ** 2 + np.mean([b[j] ** 2 for j in js]) / 10)
    maps = sum((c.map.weight.detach().numpy() ** 2).sum() for c in model.content)
    assert float(model.loss(batch)) == pytest.approx((total + 0.2 / 2 * maps) / 9, rel=1e-5)


def test_one_user_table_for_all_modalities_is_the_features_joined():
    """Sheet 8.7: E [f; f'] = E f + E' f'."""
    data = small()
    shared = VBPR(modalities=("text", "image"), width=5, content_width=4, shared_users=True)
    one = built(shared, data)
    joined = np.concatenate([data.features[m].rows for m in ("text", "image")], axis=1)
    features = random_features(30, joined.shape[1], 0)
    together = data.with_features(both=type(features)(joined, np.arange(31) > 0))
    other = built(VBPR(modalities=("both",), width=5, content_width=4), together)
    state = one.state_dict()
    maps = torch.cat([state.pop("content.0.map.weight"), state.pop("content.1.map.weight")], dim=1)
    other.load_state_dict({**state, "content.0.map.weight": maps})
    torch.testing.assert_close(one.score(asked([1, 7])), other.score(asked([1, 7])), atol=1e-5, rtol=1e-5)


def test_without_content_it_is_matrix_factorisation_and_rotations_do_not_matter():
    data = small()
    model = built(BOTH, data)
    plain = model.score(asked([0, 3])).detach()
    turn = torch.linalg.qr(torch.randn(4, 4))[0]
    with torch.no_grad():
        for table, content in zip(model.content_users, model.content, strict=True):
            table.table.weight.copy_(table.table.weight @ turn)
            content.map.weight[:-1] = turn.T @ content.map.weight[:-1]
    torch.testing.assert_close(model.score(asked([0, 3])), plain, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        model.item_biases.table.weight.add_(3.0)
    assert torch.equal(model.score(asked([0])).argsort(), plain[:1].argsort())
    with torch.no_grad():
        for content in model.content:
            content.map.weight.zero_()
    expected = model.latent_users(torch.tensor([3])) @ model.latent_items().T + model.item_biases()[:, 0]
    torch.testing.assert_close(model.score(asked([3])), expected)


def test_equal_items_give_ln_2_and_a_cold_one_stands_by_its_features():
    data = small()
    model = built(VBPR(modalities=("text",), width=5, content_width=4, rows=0, biases=0), data)
    with torch.no_grad():
        model.content[0].features[9] = model.content[0].features[4]
        model.latent_items.table.weight[9] = model.latent_items.table.weight[4]
        model.item_biases.table.weight[9] = model.item_biases.table.weight[4]
    part = LeaveOneOut().cut(data.interactions).train
    batch = next(training_batches(part, size=1, length=0, sampler=Sampler(part, 30, BOTH.negatives), seed=(0,), per="event"))
    batch.targets[:], batch.negatives[:] = 4, 9
    assert float(model.loss(batch)) == pytest.approx(np.log(2))
    with torch.no_grad():
        model.latent_items.table.weight[6], model.item_biases.table.weight[6] = 0, 0
    shares = model.shares_of_score(asked([2]), torch.tensor([[6]]))
    assert float(shares["id"]) == 0
    assert float(shares["text"]) == pytest.approx(float(model.score(asked([2]))[0, 6]), abs=1e-6)


def test_rows_of_length_one():
    data = small()
    model = built(VBPR(modalities=("image",), unit_rows=True), data)
    lengths = model.content[0].features.norm(dim=1)
    present = torch.tensor(data.features["image"].present)
    torch.testing.assert_close(lengths[present], torch.ones(int(present.sum())))
    assert not lengths[~present].any()
