"""Losses against closed forms and against each other."""

from __future__ import annotations

import math

import pytest
import torch

from tmmsrec.nn.losses import BCE, CrossEntropy, Drawn, SampledSoftmax, bce, cross_entropy, sampled_softmax

EMPTY = torch.zeros(0)


def world(steps=400, items=30, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(steps, width, generator=generator, dtype=torch.float64)
    table = torch.randn(items + 1, width, generator=generator, dtype=torch.float64)
    targets = torch.randint(1, items + 1, (steps,), generator=generator)
    return states, table, targets, lambda rows=None: table if rows is None else table[rows]


def test_bce_by_hand_and_at_zero():
    assert float(bce(torch.zeros(5), torch.zeros(5, 1))) == pytest.approx(2 * math.log(2))
    positive, negative = torch.tensor([2.0, -1.0]), torch.tensor([[0.5], [1.5]])
    s = torch.sigmoid
    by_hand = (-s(positive).log() - (1 - s(negative[:, 0])).log()).mean()
    assert float(bce(positive, negative)) == pytest.approx(float(by_hand))
    assert math.isfinite(float(bce(torch.tensor([-1e4]), torch.tensor([[1e4]]))))


def test_cross_entropy_leaves_padding_out():
    scores = torch.tensor([[1e9, 0.0, 1.0, 2.0]])
    expected = -math.log(math.e / (1 + math.e + math.e**2))
    assert float(cross_entropy(scores, torch.tensor([2]))) == pytest.approx(expected)


def test_bce_value_scores_targets_and_negatives():
    states, table, targets, items = world()
    negatives = torch.randint(1, 31, (len(targets), 3))
    expected = bce((states * table[targets]).sum(-1), (states[:, None] * table[negatives]).sum(-1))
    assert float(BCE(3)(states, targets, Drawn(negatives, EMPTY), items)) == pytest.approx(float(expected))


@pytest.mark.parametrize("by", ["uniform", "popularity"])
def test_sampled_softmax_with_logq_comes_to_the_full_one(by):
    """With ever more draws it is cross-entropy, whatever the draws prefer; without the correction it is not."""
    states, _, targets, items = world()
    full = float(CrossEntropy()(states, targets, Drawn(torch.zeros(0, dtype=torch.long), EMPTY), items))
    weights = torch.ones(30, dtype=torch.float64) if by == "uniform" else torch.arange(1.0, 31.0, dtype=torch.float64) ** 2
    p = torch.cat([torch.zeros(1, dtype=torch.float64), weights / weights.sum()])
    draws = 60_000
    negatives = torch.multinomial(p, draws, replacement=True, generator=torch.Generator().manual_seed(1))
    drawn = Drawn(negatives, draws * p[negatives])
    corrected = float(SampledSoftmax(draws, by=by)(states, targets, drawn, items))
    assert corrected == pytest.approx(full, rel=0.02)
    plain = float(SampledSoftmax(draws, by=by, logq=False)(states, targets, drawn, items))
    assert abs(plain - full) > 1


def test_sampled_softmax_leaves_the_targets_own_draw_out():
    got = sampled_softmax(torch.tensor([0.0]), torch.tensor([[-math.inf, 0.0]]))
    assert float(got) == pytest.approx(math.log(2))
