"""MAML against sheet 11: counts, the rank weights, and the published distance worked out pair by pair."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import random_features, small
from tests.golden.test_vbpr import asked, grown, own_cluster
from tmmsrec.data.batch import Pass, training_batches
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
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
    return next(training_batches(part, Pass(size=size, length=0, per="event"), sampler, seed=(0,)))


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
    return -((attention * p - attention * q) ** 2).sum().item()


def test_blocked_scores_are_the_pairs_one_by_one(monkeypatch):
    model = built()
    users = [0, 5, 39]
    expected = torch.tensor([[by_hand(model, u, i) for i in range(1, 31)] for u in users])
    torch.testing.assert_close(model.score(asked(users))[:, 1:].detach(), expected, atol=1e-5, rtol=1e-5)
    whole = model.score(asked(users)).detach()
    monkeypatch.setattr(maml, "_PAIRS", 12)
    monkeypatch.setattr(maml, "_USERS", 2)  # blocks of 2 users and 6 items
    torch.testing.assert_close(model.score(asked(users)).detach(), whole)


def test_attention_sums_to_d_and_equal_logits_leave_the_plain_distance():
    model = built()
    users, items = model.user_rows(torch.tensor([3, 4])), model.item_rows()[None]
    net = model.attention
    weights = net.weights(net.of_users(users[:, None]), net.of_items(items, model.projector()[None]))
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
    assert model.loss(batch).item() == pytest.approx(total / len(batch.users), rel=1e-4)


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
    assert model.user_rows().norm(dim=1).max().item() <= 1 + 1e-6


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


def test_an_item_added_after_training_stands_at_its_features():
    model, larger, _ = grown(VALUE, small(), 3)
    with torch.no_grad():
        model.item_rows.table.weight[1:].mul_(0.5)  # as training would move them
        larger.item_rows.table.weight[1:31].mul_(0.5)
    scores = larger.score(asked([0, 5]))
    torch.testing.assert_close(scores[:, :31], model.score(asked([0, 5])))
    with torch.no_grad():
        larger.item_rows.table.weight[31:] = larger.projector()[31:]
    for user in (0, 1):
        expected = [by_hand(larger, (0, 5)[user], item) for item in (31, 32, 33)]
        torch.testing.assert_close(scores[user, 31:], torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_what_is_kept_of_the_items_is_never_stale():
    """Changed in place, by a fused optimiser, by loading, by what counts as known, inside inference mode and outside."""
    data = small()
    model, fresh = built(data=data), built(data=data)
    batch, optimiser = asked([0, 5]), torch.optim.Adam(model.parameters(), lr=0.1, fused=True)

    def agrees() -> bool:
        other = VALUE.build(data).eval()
        other.load_state_dict(model.state_dict())
        other.item_rows.only_first(model.item_rows.known)
        with torch.inference_mode():
            return torch.equal(model.score(batch), other.score(batch))

    with torch.inference_mode():
        before = model.score(batch).clone()
    assert model._items() is model._items()
    for layer in (model.attention.first.weight, model.projector.layers[0].bias, model.item_rows.table.weight):
        with torch.no_grad():
            layer[1] += 0.3
        assert agrees()
    model.loss(a_batch(data)).backward()
    optimiser.step()
    model.after_step()
    assert agrees()
    model.item_rows.only_first(20)
    assert agrees()
    model.item_rows.only_first(30)
    model.load_state_dict(fresh.state_dict())
    torch.testing.assert_close(model.score(batch), before)
    model.train()
    model.loss(a_batch(data)).backward()


def test_items_without_any_modality_are_not_pulled():
    data = small(missing=(3, 7))
    text = data.features["text"]
    gone = Features(text.rows.copy(), text.present.copy())
    gone.rows[7], gone.present[7] = 55.0, False  # masked, whatever stands there
    data = data.with_features(text=gone)
    value = replace(VALUE, covariance_weight=0.0, margin=-10.0)  # only the pull is left
    model = built(value, data)
    assert not model.projector.features[7].any()
    assert model.projector.features[3].any()  # it has a text
    torch.nn.init.normal_(model.item_rows.table.weight)
    model.loss(a_batch(data)).backward()
    pulled = model.item_rows.table.weight.grad.ne(0).any(1)
    assert pulled.nonzero()[:, 0].tolist() == [i for i in range(1, 31) if i != 7]


def test_the_pull_of_a_batch_stands_for_all():
    data = small(missing=(3, 7))
    value = replace(VALUE, covariance_weight=0.0, margin=-10.0, feature_weight=2.0, pulled="batch")
    model, batch = built(value, data), a_batch(data, value, size=3)
    with torch.no_grad():
        model.item_rows.table.weight[1:].mul_(0.5)
    met = torch.cat([batch.targets, batch.negatives[:, 0]], 1).unique()
    assert 3 < len(met) < 30
    apart = (model.item_rows() - model.projector()).square().sum(1)[met]
    assert model.loss(batch).item() == pytest.approx(2.0 * 30 * apart.mean().item() / 3, rel=1e-5)


def test_frozen_networks_drop_nothing_as_in_the_authors_code():
    data = small()
    model = built(replace(VALUE, freeze_networks=True, covariance="signed"), data).train()
    with torch.inference_mode():
        before = model.loss(a_batch(data)).item()
    torch.manual_seed(5)
    loss = model.loss(a_batch(data))
    assert loss.item() == before
    loss.backward()
    whole = built(data=data).train()
    assert whole.loss(a_batch(data)).item() != whole.loss(a_batch(data)).item()


def test_unit_modalities_weigh_alike():
    data = small(missing=())
    model = built(replace(VALUE, unit_modalities=True), data)
    text, image = model.projector.features[1:].split([12, 5], dim=1)
    torch.testing.assert_close(text.norm(dim=1), image.norm(dim=1))
    torch.testing.assert_close(model.projector.features[1:].norm(dim=1), torch.ones(30))


def test_learns_who_belongs_to_whom():
    assert own_cluster(MAML(width=8, hidden=32), 20, 0.03) >= 0.9
