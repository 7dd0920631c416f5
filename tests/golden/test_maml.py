"""MAML against sheet 11: counts, the rank weights, and the published distance worked out pair by pair."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import random_features, small
from tests.golden.test_vbpr import asked
from tmmsrec.data.batch import Sampler, training_batches
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.models import maml
from tmmsrec.models.maml import MAML, covariance, ranked_hinge
from tmmsrec.recommender.state import only_first

VALUE = MAML(width=6, hidden=8)


def built(value=VALUE, data=None):
    torch.manual_seed(0)
    return value.build(data or small()).eval()


def a_batch(data, value=VALUE, size=16):
    part = LeaveOneOut().cut(data.interactions).train
    sampler = Sampler(part, data.n_items, value.negatives)
    return next(training_batches(part, size=size, length=0, sampler=sampler, seed=(0,), per="event"))


def test_parameter_count():
    """The sheet's for 273 users, 800 items, features 768 + 2048 wide; our item table has a row for padding, d numbers more."""
    log = Interactions.of(np.arange(273), np.ones(273, int), np.zeros(273, int))
    features = {"text": random_features(800, 768, 0), "image": random_features(800, 2048, 1)}
    model = MAML(width=64).build(Dataset.in_memory("beauty", log, 800, features))
    assert sum(p.numel() for p in model.parameters()) == 929_792 + 64


def by_hand(model, user: int, item: int) -> float:
    """-D(u, i), the concatenation written out."""
    p, q = model.user_rows.table.weight[user], model.item_rows.table.weight[item]
    f = model.projector()[item]
    joined = torch.cat([p, q, f])
    joined = joined / joined.norm()
    hidden = torch.tanh(model.attention.first.weight @ joined + model.attention.first.bias)
    hidden = hidden / hidden.norm()
    logits = torch.relu(model.attention.second.weight @ hidden + model.attention.second.bias)
    attention = len(p) * torch.exp(logits) / torch.exp(logits).sum()
    return -float(((attention * p - attention * q) ** 2).sum())


def test_blocked_scores_are_the_pairs_one_by_one(monkeypatch):
    model = built()
    users = [0, 5, 39]
    expected = torch.tensor([[by_hand(model, u, i) for i in range(1, 31)] for u in users])
    torch.testing.assert_close(model.score(asked(users))[:, 1:].detach(), expected, atol=1e-5, rtol=1e-5)
    whole = model.score(asked(users)).detach()
    monkeypatch.setattr(maml, "_PAIRS", 12)  # blocks of 4 items
    torch.testing.assert_close(model.score(asked(users)).detach(), whole)


def test_attention_sums_to_d_and_equal_logits_leave_the_plain_distance():
    model = built()
    users, items = model.user_rows(torch.tensor([3, 4])), model.item_rows()[None]
    weights = model.attention.weights(users[:, None], items, model.projector()[None])
    torch.testing.assert_close(weights.sum(-1), torch.full((2, 31), 6.0))
    torch.nn.init.zeros_(model.attention.second.weight)
    plain = torch.cdist(users, items[0]).square()
    torch.testing.assert_close(-model.score(asked([3, 4])), plain, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        model.item_rows.table.weight[7] = model.user_rows.table.weight[3]
    assert float(model.score(asked([3]))[0, 7]) == 0


def test_rank_weights():
    """Sheet 11.4: 0 to 4 of 4 negatives too near among 800 items."""
    for near, weight in enumerate((0, 5.3033, 5.994, 6.3986, 6.6859)):
        negative = torch.full((1, 4), 10.0)
        negative[0, :near] = 1.0
        got = ranked_hinge(torch.tensor([1.0]), negative, 0.5, 800)
        assert float(got) == pytest.approx(weight * 0.5, abs=1e-4)


def test_the_loss_is_the_sum_of_its_parts():
    data = small()
    value = replace(VALUE, margin=0.9, feature_weight=2.0, covariance_weight=3.0)
    model, batch = built(value, data), a_batch(data, value)
    scores = model.score(batch).detach()
    total = 0.0
    for row in range(len(batch.users)):
        over = 0.9 - scores[row, batch.targets[row, 0]] + scores[row, batch.negatives[row, 0]]
        total += math.log1p(30 * float((over > 0).float().mean())) * max(0.0, float(over.max()))
    content, items = model.projector().detach(), model.item_rows().detach()
    total += 2.0 * float(((items - content)[1:] ** 2).sum())
    c = np.cov(np.concatenate([items[1:].numpy(), model.user_rows().detach().numpy()]).T, bias=True)
    total += 3.0 * float((c**2).sum() - (np.diag(c) ** 2).sum()) / 70
    assert float(model.loss(batch)) == pytest.approx(total / len(batch.users), rel=1e-4)


def test_covariance_readings():
    rows = torch.randn(50, 4, dtype=torch.float64)
    c = np.cov(rows.numpy().T, bias=True)
    off = c - np.diag(np.diag(c))
    assert float(covariance(rows, squared=False)) == pytest.approx(off.sum())
    assert float(covariance(rows, squared=True)) == pytest.approx((off**2).sum() / 50)


def test_rows_stay_within_the_ball_and_items_start_where_their_features_are():
    data = small(missing=(3, 7))
    model = built(data=data)
    torch.testing.assert_close(model.item_rows()[1:], model.projector()[1:])
    with torch.no_grad():
        model.user_rows.table.weight.mul_(50)
    model.after_step()
    assert float(model.user_rows().norm(dim=1).max()) <= 1 + 1e-6


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_reach_the_networks_unless_they_are_frozen(frozen):
    data = small()
    model = built(replace(VALUE, freeze_networks=frozen), data).train()
    model.loss(a_batch(data)).backward()
    of_networks = [p.grad for n in (model.projector, model.attention) for p in n.parameters()]
    assert all(g is None for g in of_networks) if frozen else all(g is not None and g.ne(0).any() for g in of_networks)
    assert model.user_rows.table.weight.grad.ne(0).any()


def test_an_item_that_came_later_stands_where_its_features_put_it():
    model = built()
    before = model.score(asked([2])).detach()
    with torch.no_grad():
        model.item_rows.table.weight[25:] = 0
    assert not torch.allclose(model.score(asked([2]))[:, 25:], before[:, 25:])
    only_first(model, 24)
    torch.testing.assert_close(model.score(asked([2])), before)  # untrained rows are the features' places
