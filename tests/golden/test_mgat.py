"""MGAT against its specification (sheet 10), the authors' code, and a dense computation of the formulas.

Numbers of the authors' code: zltao/MGAT at 5f859611, Model.py (class GNN) and GraphGAT.py, run on 2026-11-25 with torch 2.13 on the
data of ``test_freedom.toy`` and weights that are ``wave``; text and image networks of inner widths 2 and 4, their mean in place of
the mean of three.  torch_geometric was replaced by a stub of its message passing; for two layers the early return was taken out.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.conftest import small
from tests.golden.test_freedom import PAIRS, TRIPLES, count, everybody, grown, share_of_own_shop, sized, toy, triples, wave
from tmmsrec.data.split import LeaveOneOut, Part
from tmmsrec.models.mgat import MGAT

VALUE = MGAT(width=3, inner=(2, 4), loss="sum")
# Loss (a sum of logarithms to base 2), norm of the gradient of the id rows, scores.
ONE = 3.9813637733, 2.0131428242, [
    [1.514979, 0.872749, 0.951447, 1.474591, 0.443338, 1.196982],
    [0.76016, 0.611177, 0.773525, 0.870645, 0.438955, 0.660791],
    [0.908238, 0.334444, 1.124951, 0.640933, 0.410597, 1.134382],
    [1.325999, 0.841668, 0.808386, 1.367398, 0.416957, 0.988181],
]  # fmt: skip
TWO = 4.4121699333, 4.3958358765, [
    [2.469322, 1.223651, 1.658797, 2.249744, 0.773071, 2.167097],
    [1.045342, 0.756375, 1.138052, 1.092021, 0.631472, 1.04759],
    [1.710897, 0.59266, 2.260024, 1.083217, 1.009415, 2.338382],
    [2.125891, 1.213363, 1.406829, 2.090421, 0.700983, 1.785145],
]  # fmt: skip


def waved(value: MGAT = VALUE):
    data, train = toy()
    model = value.build(data)
    model.prepare(train)
    with torch.no_grad():
        model.user_rows.table.weight.copy_(wave(0.3, 4, 3))
        model.item_rows.table.weight[1:].copy_(wave(0.4, 6, 3))
        for n, network in enumerate(model.networks):
            parameters = [network.preferences.table.weight, network.entry.weight, network.entry.bias]
            starts = [10 * (n + 1)] * 3
            for at, layer in enumerate(network.layers):
                # The authors multiply by W from the right in the convolution, as we do.
                parameters += [layer.weight, layer.bias]
                parameters += [layer.attended.weight, layer.attended.bias, layer.direct.weight, layer.direct.bias]
                starts += [10 * (n + 1) + 3 * (at + 1)] * 6
            for place, (parameter, start) in enumerate(zip(parameters, starts, strict=True)):
                tenth = place + 1 if place < 3 else (place - 3) % 6 + 1
                parameter.copy_(wave(start + tenth / 10, *parameter.shape))
    return model


def prepared(value: MGAT, data=None, seed: int = 0):
    data = data or small()
    torch.manual_seed(seed)
    model = value.build(data)
    model.prepare(LeaveOneOut().cut(data.interactions).train)
    return model


def first_pass(model, at: int = 0):
    """The first network's layer with what enters it: x0 [n, L], z [n, L] and the edges."""
    network, edges = model.networks[at], model.edges()[at]
    items = torch.tanh(network.entry(network.features)) * network.present[:, None]
    x = functional.normalize(torch.cat([network.preferences(), items]), dim=-1)
    return network.layers[0], x, x @ network.layers[0].weight, edges


def test_parameters():
    """The sheet's counts and a row of padding; two layers have what the authors' code stores, one layer what it uses."""
    data, value = sized(), MGAT(width=64)
    assert count(value.build(data)) == 889_020 + 64
    assert count(replace(value, layers=2).build(data)) == 913_980 + 64


@pytest.mark.parametrize(("layers", "expected"), [(1, ONE), (2, TWO)])
def test_the_authors_code_gives_the_same_scores_loss_and_gradient(layers, expected):
    model = waved(replace(VALUE, layers=layers))
    loss = model.loss(TRIPLES)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(expected[0], rel=1e-5)
    ids = torch.cat([model.user_rows.table.weight.grad, model.item_rows.table.weight.grad])
    assert float(ids.norm()) == pytest.approx(expected[1], rel=1e-5)
    torch.testing.assert_close(model.eval().score(everybody())[:, 1:].detach(), torch.tensor(expected[2]), atol=3e-6, rtol=1e-5)


def test_a_dense_computation_gives_the_same_scores():
    model = waved()
    adjacency = np.zeros((10, 10))
    for u, i in PAIRS:
        adjacency[u, 3 + i] = adjacency[3 + i, u] = 1
    degree = adjacency.sum(1)

    def leaky(x):
        return np.where(x > 0, x, 0.01 * x)

    def linear(map, x):
        return x @ map.weight.detach().double().numpy().T + map.bias.detach().double().numpy()

    ids = np.concatenate([wave(0.3, 4, 3), wave(0.4, 6, 3)]).astype(float)
    found = []
    for network, features in zip(model.networks, (wave(0.2, 6, 4), wave(0.1, 6, 5)), strict=True):
        layer = network.layers[0]
        x = np.concatenate([network.preferences().detach().double().numpy(), np.tanh(linear(network.entry, features.numpy()))])
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        z = x @ layer.weight.detach().double().numpy()
        p = z @ leaky(z).T
        logits = p / (1 + np.exp(-p / np.sqrt(np.maximum(degree, 1))))  # the degree of the source, along columns
        weight = np.where(adjacency > 0, np.exp(logits), 0)
        weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-300)
        out = weight @ z + layer.bias.detach().double().numpy()
        out = out / np.linalg.norm(out, axis=1, keepdims=True)
        found.append(leaky(linear(layer.attended, leaky(out)) + leaky(linear(layer.direct, x)) + ids))
    whole = np.mean(found, axis=0)
    np.testing.assert_allclose(model.eval().score(everybody())[:, 1:].detach().numpy(), whole[:4] @ whole[4:].T, atol=1e-5)


def test_attention_sums_to_one_and_is_one_where_one_edge_comes_in():
    model = prepared(MGAT(width=12))
    with torch.no_grad():
        for at in (0, 1):
            layer, _, z, edges = first_pass(model, at)
            weights = layer.attention(9 * z, edges)
            met = edges.into > 0
            sums = torch.zeros(len(met)).index_add(0, edges.targets, weights)
            torch.testing.assert_close(sums[met], torch.ones(int(met.sum())))
            single = weights[edges.into[edges.targets] == 1]
            assert len(single)
            assert (single == 1).all()
            assert weights.std() > 0.05


def test_convolved_rows_have_length_one_and_no_weights_leave_the_bias():
    model = prepared(MGAT(width=12))
    with torch.no_grad():
        layer, x, _, edges = first_pass(model)
        rows = layer.convolve(x, edges)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(x)))
        bias = layer.bias / layer.bias.norm()
        isolated = edges.into == 0
        assert isolated.any()
        assert not torch.allclose(rows[~isolated], bias.expand(int((~isolated).sum()), -1), atol=1e-3)
        torch.testing.assert_close(rows[isolated], bias.expand(int(isolated.sum()), -1))
        layer.weight.zero_()
        torch.testing.assert_close(layer.convolve(x, edges), bias.expand(len(x), -1))


def test_the_gate_reads_the_degree_of_the_source():
    """A user of one item, and an item of two users: the edge to the user is gated by 2, the edge to the item by 1."""
    data, _ = toy()
    log = data.interactions
    model = MGAT(width=3, inner=(2, 4)).build(data)
    model.met.learn(torch.tensor([0, 1, 1]), torch.tensor([1, 1, 2]))
    layer, edges = model.networks[0].layers[0], model.edges()[0]
    z = torch.full((log.users + 7, 2), 1.0)
    z[0] = 2.0
    weights = {(int(t), int(s)): float(w) for t, s, w in zip(edges.targets, edges.sources, layer.attention(z, edges), strict=True)}

    def s(x):
        return 1 / (1 + math.exp(-x))

    first = math.exp(4 * s(4 / 1))  # from user 0, who has one item
    second = math.exp(2 * s(2 / math.sqrt(2)))  # from user 1, who has two
    assert weights[5, 0] == pytest.approx(first / (first + second), rel=1e-5)
    one, two = math.exp(2 * s(2 / math.sqrt(2))), math.exp(2 * s(2))  # into user 1: from an item of two users, and of one
    assert weights[1, 5] == pytest.approx(one / (one + two), rel=1e-5)


def test_loss_at_equal_scores():
    same = triples([0, 1, 2], [1, 2, 3], [1, 2, 3])
    assert float(waved(replace(VALUE, loss="mean")).loss(same).detach()) == pytest.approx(math.log(2))
    assert float(waved().loss(same).detach()) == pytest.approx(3.0)  # one per triple


def test_events_that_repeat_are_one_edge():
    model = waved()
    _, train = toy()
    assert train.readable.sum() > len(PAIRS)
    assert model.met.pairs.tolist() == [list(pair) for pair in PAIRS]
    assert [len(edges) for edges in model.edges()] == [2 * len(PAIRS)] * 2


def test_an_isolated_item_and_user_have_vectors_of_their_own():
    model = waved().eval()
    users, items = (t.detach() for t in model.tables())
    for alone in (users[3], items[6]):
        assert alone.isfinite().all()
        assert alone.norm() > 0.1
    assert not items[0].any()


def test_an_item_without_a_picture_is_no_picture_of_zeros():
    data = small(missing=(3, 7))
    both = prepared(MGAT(width=12), data).eval()
    items = both.tables()[1].detach()
    network, edges = both.networks[0], both.edges()
    ids = torch.cat([both.user_rows(), both.item_rows()])
    texts = network(ids, edges[0])[40:].detach()
    torch.testing.assert_close(items[[3, 7]], texts[[3, 7]])
    assert not torch.allclose(items[4], texts[4], atol=1e-3)
    met = set(both.met.pairs[:, 1].tolist())
    assert {3, 7} <= met
    assert not edges[1].into[[43, 47]].any()
    assert edges[0].into[[43, 47]].all()
    lacking = prepared(MGAT(width=12, modalities=("image",), inner=(33,)), data).eval()
    assert lacking.items().isfinite().all()
    assert (lacking.items()[[3, 7]].norm(dim=1) > 0.01).all()


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
    model.load_state_dict({k: v * 2 if k == "networks.0.entry.weight" else v for k, v in model.state_dict().items()})
    second = score()
    assert not torch.equal(second, first)
    with torch.no_grad():
        model.networks[1].layers[0].bias.add_(1)
    third = score()
    assert not torch.equal(third, second)
    data, _ = toy()
    model.prepare(Part("train", data.interactions, data.interactions.lengths, np.arange(4)))
    assert not torch.equal(score()[3], third[3])
    model.train()
    model.loss(TRIPLES).backward()
    assert model.user_rows.table.weight.grad.any()


def test_new_items_are_placed_by_their_features_and_change_nobody_elses_scores():
    data, _ = toy()
    for value in (VALUE, replace(VALUE, layers=2)):
        model = waved(value).eval()
        text = data.features["text"].rows
        larger = grown(model, value, data, {"text": [text[1], text[4]], "image": [None, data.features["image"].rows[4]]})
        scores = larger.score(everybody()).detach()
        torch.testing.assert_close(scores[:, :7], model.score(everybody()).detach())
        assert scores.isfinite().all()
        assert (scores[:, 7] - scores[:, 8]).abs().max() > 0.01


def test_it_learns_who_buys_where():
    assert share_of_own_shop(MGAT(width=12, inner=(16, 16))) > 0.97


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"modalities": ()}, "modalities"),
        ({"modalities": ("id", "text")}, "modalities"),
        ({"inner": (8,)}, "inner"),
        ({"layers": 3}, "layers"),
    ],
)
def test_values_that_cannot_be_are_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        replace(MGAT(), **changes)
