"""Sums, products and the softmax over edges, the user-item graph, its pruning, and nearest items."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import tmmsrec.nn.graph as graph_module
from tmmsrec.nn.graph import Edges, Memory, UserItemGraph, nearest, propagate

TOY = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 2], [2, 3]])  # sheet 12.3, items counted from 0


def toy() -> UserItemGraph:
    graph = UserItemGraph(3, 4)
    graph.learn(TOY[:, 0], TOY[:, 1] + 1)
    return graph


def some_edges(targets: int = 7, sources: int = 5, count: int = 12) -> Edges:
    chosen = torch.randperm((targets - 1) * (sources - 1), generator=torch.Generator().manual_seed(3))[:count]
    return Edges.of(chosen // (sources - 1), chosen % (sources - 1), targets, sources)  # the last target and source stand alone


def dense(edges: Edges, values: torch.Tensor) -> torch.Tensor:
    matrix = values.new_zeros(len(edges.starts) - 1, len(edges.back_starts) - 1)
    matrix[edges.targets, edges.sources] = values
    return matrix


def test_sum_and_dot_equal_dense_products():
    torch.manual_seed(0)
    edges = some_edges()
    values, x, y = torch.randn(12), torch.randn(7, 3), torch.randn(5, 3)
    torch.testing.assert_close(edges.sum(values, y), dense(edges, values) @ y)
    torch.testing.assert_close(edges.dot(x, y), (x @ y.T)[edges.targets, edges.sources])
    assert not edges.sum(values, y)[-1].any()
    assert edges.into.tolist() == (dense(edges, torch.ones(12)).sum(1)).tolist()
    assert edges.out.tolist() == (dense(edges, torch.ones(12)).sum(0)).tolist()


def test_products_do_not_depend_on_the_blocks(monkeypatch):
    torch.manual_seed(0)
    edges, x, y = some_edges(), torch.randn(7, 3), torch.randn(5, 3)
    whole = edges.dot(x, y)
    monkeypatch.setattr(graph_module, "_CACHED", 15)  # five edges at a time
    assert torch.equal(edges.dot(x, y), whole)


def test_gradients_are_those_of_the_formulas():
    torch.manual_seed(0)
    edges = some_edges()
    values, x, y = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((12,), (7, 3), (5, 3)))
    assert torch.autograd.gradcheck(lambda v, r: edges.sum(v, r), (values, y))
    assert torch.autograd.gradcheck(lambda a, b: edges.dot(a, b), (x, y))
    assert torch.autograd.gradcheck(lambda v: edges.softmax(v), (values,))


def test_softmax_over_incoming_edges_sums_to_one_even_for_large_logits():
    edges = some_edges()
    weights = edges.softmax(torch.linspace(-500, 900, 12))
    sums = torch.zeros(7).index_add(0, edges.targets, weights)
    torch.testing.assert_close(sums[edges.into > 0], torch.ones(int((edges.into > 0).sum())))
    alone = edges.into[edges.targets] == 1
    assert alone.any()
    assert (weights[alone] == 1).all()


def test_no_edges_at_all():
    none = Edges.of(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 3, 2)
    rows = torch.randn(2, 4, requires_grad=True)
    none.sum(none.softmax(torch.zeros(0)), rows).sum().backward()
    assert not rows.grad.any()
    z = torch.randn(3, 4)
    torch.testing.assert_close(propagate(UserItemGraph(1, 1).edges(), z, 2), z / 3)


def test_pairs_are_distinct_and_padding_is_left_out():
    graph = UserItemGraph(3, 4)
    graph.learn(torch.tensor([2, 0, 0, 2, 1]), torch.tensor([4, 1, 1, 3, 0]))
    assert graph.pairs.tolist() == [[0, 1], [2, 3], [2, 4]]
    grown = UserItemGraph(3, 9)
    grown.load_state_dict(graph.state_dict())
    assert torch.equal(grown.pairs, graph.pairs)
    assert len(grown.edges().into) == 3 + 9 + 1
    assert grown.edges().targets.tolist() == [0, 2, 2, 4, 6, 7]  # item 1 is node 3 + 1


def test_the_toy_of_the_specification():
    weights = toy().pair_weights()
    torch.testing.assert_close(weights.float(), torch.tensor([0.70711, 0.5, 0.5, 0.70711, 1.0]), atol=1e-5, rtol=0)
    chances = weights / weights.sum()
    torch.testing.assert_close(chances.float(), torch.tensor([0.2071, 0.1464, 0.1464, 0.2071, 0.2929]), atol=5e-5, rtol=0)
    edges = toy().edges()
    values = dense(edges, edges.symmetric())
    torch.testing.assert_close(values, values.T)
    torch.testing.assert_close(values[TOY[:, 0], 3 + TOY[:, 1] + 1], weights.float())


def test_pruning_draws_by_weight_without_replacement():
    graph, n = toy(), 4000
    # 5 * (1 - .8) is .9999999999999998 in floating point, and one pair is what was asked for.
    firsts = np.array([TOY.tolist().index([int(u), int(i) - 1]) for s in range(n) for u, i in graph.sample(1 - 0.8, s)])
    chances = (graph.pair_weights() / graph.pair_weights().sum()).numpy()
    chi_square = ((np.bincount(firsts, minlength=5) - n * chances) ** 2 / (n * chances)).sum()
    assert chi_square < 18.5  # the .999 quantile for 4 degrees of freedom
    assert len(firsts) == n


@pytest.mark.parametrize(("kept", "count"), [(0.1, 1), (0.2, 2), (0.5, 5), (0.75, 7), (1 - 0.9, 1), (1.0, 10)])
def test_pruning_keeps_an_exact_count_and_follows_its_seed(kept, count):
    graph = UserItemGraph(4, 9)
    graph.learn(torch.arange(10) % 4, torch.arange(10) % 7 + 1)
    assert len(graph.pairs) == 10
    drawn = graph.sample(kept, 5)
    assert len(drawn) == len({tuple(p) for p in drawn.tolist()}) == count
    assert {tuple(p) for p in drawn.tolist()} <= {tuple(p) for p in graph.pairs.tolist()}
    assert torch.equal(drawn, graph.sample(kept, 5))
    if count == 5:
        assert any(not torch.equal(drawn, graph.sample(kept, s)) for s in range(6, 12))


def test_sampling_leaves_the_global_generator_alone():
    torch.manual_seed(4)
    before = torch.get_rng_state()
    toy().sample(0.5, 2**63 - 1)
    assert torch.equal(before, torch.get_rng_state())


def test_nearest_equals_a_full_sort_whatever_the_block():
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    rows = torch.arange(1, 40)
    unit = torch.nn.functional.normalize(features)
    order = (unit[1:] @ unit[1:].T).argsort(dim=1, descending=True)[:, :5] + 1
    for numbers in (1, 100, 1 << 20):
        assert torch.equal(nearest(features, rows, rows, 5, numbers), order)
    assert torch.equal(nearest(features, rows, rows, 5)[:, 0], rows)


def test_nearest_among_some_rows_only():
    features = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    features[3] = 0
    features[7] = features[5]
    among = torch.tensor([2, 3, 5, 7, 11])
    found = nearest(features, torch.tensor([3, 7, 12]), among, 3)
    assert found[0, 0] == 3  # no direction, yet its own neighbour
    assert found[1].tolist()[:2] == [7, 5]  # itself before its double
    assert set(found[2].tolist()) <= set(among.tolist())
    assert nearest(features, torch.tensor([4]), among[:2], 5).tolist()[0][2:] == [0, 0, 0]
    assert nearest(features, torch.tensor([4]), among[:0], 2).tolist() == [[0, 0]]


def test_memory_makes_again_only_after_a_change():
    memory, calls = Memory(), []
    weight = torch.ones(3)

    def ask(*tensors):
        return memory.get(tensors, lambda: calls.append(1) or len(calls))

    assert [ask(weight), ask(weight)] == [1, 1]
    weight.add_(1)
    assert [ask(weight), ask(weight)] == [2, 2]
    with torch.inference_mode():
        weight.mul_(2)
        assert [ask(weight), ask(weight)] == [3, 3]
    assert ask(weight.clone()) == 4
    assert ask(weight, weight) == 5
    memory.drop()
    assert ask(weight, weight) == 6
    assert copy.deepcopy(memory).get([weight, weight], lambda: "anew") == "anew"
    with torch.inference_mode():
        unversioned = torch.ones(2)
    assert [ask(unversioned), ask(unversioned)] == [7, 8]
