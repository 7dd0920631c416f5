"""VBPR against sheet 8: counts, identities, and the published formula worked out in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import random_features, small
from tmmsrec.data.batch import Pass, history_batch, training_batches
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.models.vbpr import VBPR
from tmmsrec.recommender.state import only_first

BOTH = VBPR(modalities=("text", "image"), width=5, content_width=4)


def asked(users: list[int]):
    empty = np.zeros((len(users), 1), np.int64)
    return history_batch(np.array(users), empty, empty, np.ones(len(users), np.int64))


def built(value: VBPR, data: Dataset):
    torch.manual_seed(0)
    model = value.build(data).eval()
    if isinstance(value, VBPR):
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
    batch = next(training_batches(part, Pass(size=9, length=0, per="event"), sampler, seed=(0,)))
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
    assert float(model.loss(batch).detach()) == pytest.approx((total + 0.2 / 2 * maps) / len(batch.users), rel=1e-5)


def test_one_user_table_for_all_modalities_is_the_features_joined():
    """Sheet 8.7: E [f; f'] = E f + E' f'."""
    data = small()
    shared = VBPR(modalities=("text", "image"), width=5, content_width=4, shared_users=True)
    one = built(shared, data)
    joined = np.concatenate([data.features[m].rows for m in ("text", "image")], axis=1)
    together = data.with_features(both=Features(joined, np.arange(31) > 0))
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
    batch = next(training_batches(part, Pass(size=1, length=0, per="event"), Sampler(part, 30, BOTH.negatives), seed=(0,)))
    batch.targets[:], batch.negatives[:] = 4, 9
    assert float(model.loss(batch).detach()) == pytest.approx(np.log(2))
    with torch.no_grad():
        model.latent_items.table.weight[6], model.item_biases.table.weight[6] = 0, 0
    shares = model.shares_of_score(asked([2]), torch.tensor([[6]]))
    assert shares["id"].item() == 0
    assert shares["text"].item() == pytest.approx(model.score(asked([2]))[0, 6].item(), abs=1e-6)


def test_rows_of_length_one():
    data = small()
    model = built(VBPR(modalities=("image",), unit_rows=True), data)
    lengths = model.content[0].features.norm(dim=1)
    present = torch.tensor(data.features["image"].present)
    torch.testing.assert_close(lengths[present], torch.ones(int(present.sum())))
    assert not lengths[~present].any()


# Scores of users 0 and 3 and the loss of the triples (0, 0, 5), (1, 4, 1), (3, 2, 3) from enoche/MMRec (commit e775373, src/models/
# vbpr.py run as it stands on torch 2.13 with a stub for its base class) with the weights of ``formula``: 4 users, 6 items, k = 4,
# texts 3 and pictures 5 wide, no penalty.  Its linear layer has a bias, which adds the same to all scores of a user, so scores are
# those above the first item's; it has no item biases.
MMREC = {
    ("image",): (
        [[0.0, -0.352411, 0.150921, -0.445908, 0.176189, -0.399934], [0.0, 0.536492, 0.155079, 0.338147, 0.37299, 0.126431]],
        0.5962065,
    ),
    ("text", "image"): (
        [[0.0, -0.705628, -0.055427, -0.783, -0.057171, -0.493726], [0.0, 1.077255, -0.184764, 0.919117, 0.352753, 0.253969]],
        0.8215979,
    ),
}


def formula(number, *shape):
    n = int(np.prod(shape))
    return (torch.sin(torch.arange(n, dtype=torch.float64) * 0.7 + number) * 0.4).reshape(shape).float()


@pytest.mark.parametrize("modalities", list(MMREC))
def test_equal_weights_give_the_scores_and_the_loss_of_a_public_vbpr(modalities):
    widths = {"text": 3, "image": 5}
    raw = {"text": formula(9, 6, 3), "image": formula(8, 6, 5)}
    features = {m: Features(np.pad(raw[m].numpy(), ((1, 0), (0, 0))), np.arange(7) > 0) for m in modalities}
    log = Interactions.of(np.arange(4), np.ones(4, int), np.zeros(4, int))
    value = VBPR(modalities=modalities, width=4, content_width=4, shared_users=True, rows=0, biases=0)
    model = value.build(Dataset.in_memory("tiny", log, 6, features)).eval()
    with torch.no_grad():
        users = formula(1, 4, 8)
        model.latent_users.table.weight[:], model.content_users[0].table.weight[:] = users[:, :4], users[:, 4:]
        model.latent_items.table.weight[1:] = formula(2, 6, 4)
        parts = formula(3, 4, sum(widths[m] for m in modalities)).split([widths[m] for m in modalities], dim=1)
        for content, part in zip(model.content, parts, strict=True):
            content.map.weight[:-1], content.map.weight[-1] = part, 0
    scores, loss = MMREC[modalities]
    got = model.score(asked([0, 3]))[:, 1:].detach()
    torch.testing.assert_close(got - got[:, :1], torch.tensor(scores), atol=1e-5, rtol=1e-5)
    triples = replace(asked([0, 1, 3]), targets=torch.tensor([[1], [5], [3]]), negatives=torch.tensor([[[6]], [[2]], [[4]]]))
    # MMRec adds its bias to no difference, so the loss is the same.
    assert model.loss(triples).item() == pytest.approx(loss, abs=1e-6)


def test_a_missing_picture_says_nothing_whatever_stands_in_its_row():
    data = small(missing=(3, 7))
    image = data.features["image"]
    junk = image.rows.copy()
    junk[[3, 7]] = 100.0
    one = built(VBPR(width=5), data)
    other = built(VBPR(width=5), data.with_features(image=Features(junk, image.present)))
    assert torch.equal(one.score(asked([0, 1])), other.score(asked([0, 1])))
    shares = one.shares_of_score(asked([0]), torch.tensor([[3, 4]]))["image"][0]
    assert shares[0] == 0
    assert shares[1] != 0


def grown(value, data: Dataset, new: int):
    """A model of ``data``, and the same over a catalogue with ``new`` items more, built as ``recommender.adding`` does."""
    model = built(value, data)
    n, features = data.n_items + new, {}
    for name, old in data.features.items():
        more = random_features(new, old.width, 7)
        features[name] = Features(np.concatenate([old.rows, more.rows[1:]]), np.concatenate([old.present, more.present[1:]]))
    larger = value.build(Dataset.in_memory("larger", data.interactions, n, features)).eval()
    rows = {k: v for k, v in model.state_dict().items() if len(v) == data.n_items + 1}
    zeros = {k: torch.cat([v, v.new_zeros(new, *v.shape[1:])]) for k, v in rows.items()}
    larger.load_state_dict({**model.state_dict(), **zeros})
    return model, only_first(larger, data.n_items), features


def test_an_item_added_after_training_is_placed_by_its_features():
    model, larger, features = grown(BOTH, small(), 3)
    scores = larger.score(asked([0, 5])).detach()
    torch.testing.assert_close(scores[:, :31], model.score(asked([0, 5])).detach())
    t = [table.table.weight.detach()[[0, 5]] for table in model.content_users]
    e = [content.map.weight.detach() for content in model.content]
    f = [torch.tensor(features[m].rows[31:]) for m in BOTH.modalities]
    expected = sum(t[m] @ (f[m] @ e[m][:-1].T).T + f[m] @ e[m][-1] for m in range(2))
    torch.testing.assert_close(scores[:, 31:], expected, atol=1e-5, rtol=1e-5)


def own_cluster(value, epochs: int, lr: float) -> float:
    """Sheet 17.8, 6: of two groups of users that meet items of one half each, the share of users whose best item of those they
    have not met is of their own half.  Features are noise, so only ids can tell."""
    rng, n = np.random.default_rng(0), 60
    half = np.arange(n) % 2
    met = [rng.permutation(n // 2)[:10] + 1 + n // 2 * side for side in half]
    log = Interactions.of(np.repeat(np.arange(n), 10), np.concatenate(met), np.tile(np.arange(10), n))
    data = Dataset.in_memory("block", log, n, {m: random_features(n, 6, at) for at, m in enumerate(("text", "image"))})
    part = LeaveOneOut().cut(log).train
    torch.manual_seed(0)
    model = value.build(data).train()
    sampler, optimiser = Sampler(part, n, value.negatives), torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(epochs):
        for batch in training_batches(part, Pass(size=160, length=0, per="event"), sampler, seed=(epoch,)):
            optimiser.zero_grad()
            model.loss(batch).backward()
            optimiser.step()
            model.after_step()
    scores = model.eval().score(asked(list(range(n)))).detach()
    scores[:, 0] = -torch.inf
    scores[torch.arange(n)[:, None], torch.tensor(np.array(met))] = -torch.inf
    return float((scores.argmax(1).gt(n // 2) == torch.tensor(half == 1)).float().mean())


def test_learns_who_belongs_to_whom():
    assert own_cluster(VBPR(modalities=("text", "image"), width=4, content_width=4), 60, 0.04) >= 0.9
