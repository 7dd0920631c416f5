"""Losses against closed forms and against each other."""

from __future__ import annotations

import math

import pytest
import torch

from tmmsrec.nn.dots import dots
from tmmsrec.nn.losses import (
    BCE,
    BPR,
    GBCE,
    BySize,
    CrossEntropy,
    Drawn,
    Hinge,
    InfoNCE,
    SampledSoftmax,
    bce,
    bpr,
    gbce,
    hinge,
    info_nce,
    sampled_softmax,
)

EMPTY = torch.zeros(0)


def world(steps=400, items=30, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(steps, width, generator=generator, dtype=torch.float64)
    table = torch.randn(items + 1, width, generator=generator, dtype=torch.float64)
    targets = torch.randint(1, items + 1, (steps,), generator=generator)
    return states, table, targets, lambda rows=None: table if rows is None else table[rows]


def test_by_size_takes_the_loss_that_is_meant():
    chosen = BySize(bound=100, small=BCE(), large=BySize(bound=1000, small=GBCE(8), large=SampledSoftmax(64)))
    assert [chosen.for_items(n) for n in (100, 101, 1000, 1001)] == [BCE(), GBCE(8), GBCE(8), SampledSoftmax(64)]
    assert CrossEntropy().for_items(10**7) == CrossEntropy()
    with pytest.raises(ValueError, match="for_items"):
        _ = chosen.shared
    states, _, targets, items = world()
    drawn = Drawn(torch.zeros(0, dtype=torch.long), EMPTY, 30)
    assert BySize()(states, targets, drawn, items) == CrossEntropy()(states, targets, drawn, items)


@pytest.mark.parametrize("asked", [5, 400])
def test_sampled_softmax_is_the_same_by_the_rows_that_are_asked_for_and_by_all(asked):
    """As values and as gradients; 400 steps over 30 items ask for all of them, 5 for those that they need."""
    states, table, targets, _ = world(steps=asked)
    negatives, expected = torch.arange(1, 9), torch.full((8,), 0.5, dtype=torch.float64)
    found = []
    for among in (0, 10**6):
        learned, seen = table.clone().requires_grad_(), []

        def items(rows=None, learned=learned, seen=seen):
            seen.append(rows)
            return learned if rows is None else learned[rows]

        loss = SampledSoftmax(8)(states, targets, Drawn(negatives, expected, among), items)
        loss.backward()
        found.append((loss.detach(), learned.grad))
        assert [rows is None for rows in seen] == [among == 0]
    assert torch.allclose(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1])


def test_bce_by_hand_and_at_zero():
    assert float(bce(torch.zeros(5), torch.zeros(5, 1))) == pytest.approx(2 * math.log(2))
    positive, negative = torch.tensor([2.0, -1.0]), torch.tensor([[0.5], [1.5]])
    s = torch.sigmoid
    by_hand = (-s(positive).log() - (1 - s(negative[:, 0])).log()).mean()
    assert float(bce(positive, negative)) == pytest.approx(float(by_hand))
    assert math.isfinite(float(bce(torch.tensor([-1e4]), torch.tensor([[1e4]]))))


def test_bce_value_scores_targets_and_negatives():
    states, table, targets, items = world()
    negatives = torch.randint(1, 31, (len(targets), 3))
    expected = bce((states * table[targets]).sum(-1), (states[:, None] * table[negatives]).sum(-1))
    assert float(BCE(3)(states, targets, Drawn(negatives, EMPTY, 6), items)) == pytest.approx(float(expected))


@pytest.mark.parametrize("by", ["uniform", "popularity"])
def test_sampled_softmax_with_logq_comes_to_the_full_one(by):
    """With ever more draws it is cross-entropy, whatever the draws prefer; without the correction it is not."""
    states, _, targets, items = world()
    full = float(CrossEntropy()(states, targets, Drawn(torch.zeros(0, dtype=torch.long), EMPTY, 6), items))
    weights = torch.ones(30, dtype=torch.float64) if by == "uniform" else torch.arange(1.0, 31.0, dtype=torch.float64) ** 2
    p = torch.cat([torch.zeros(1, dtype=torch.float64), weights / weights.sum()])
    draws = 60_000
    negatives = torch.multinomial(p, draws, replacement=True, generator=torch.Generator().manual_seed(1))
    drawn = Drawn(negatives, draws * p[negatives], 30)
    corrected = float(SampledSoftmax(draws, by=by)(states, targets, drawn, items))
    assert corrected == pytest.approx(full, rel=0.02)
    plain = float(SampledSoftmax(draws, by=by, logq=False)(states, targets, drawn, items))
    assert abs(plain - full) > 1


def test_sampled_softmax_leaves_the_targets_own_draw_out():
    got = sampled_softmax(torch.tensor([0.0]), torch.tensor([[-math.inf, 0.0]]))
    assert float(got) == pytest.approx(math.log(2))


def test_bpr_and_hinge_by_hand():
    positive, negative = torch.tensor([2.0, -1.0]), torch.tensor([[0.5, 3.0], [1.5, -2.0]])
    by_hand = [-math.log(1 / (1 + math.exp(-x))) for x in (1.5, -1.0, -2.5, 1.0)]
    assert float(bpr(positive, negative)) == pytest.approx(sum(by_hand) / 4)
    assert float(bpr(torch.zeros(3), torch.zeros(3, 1))) == pytest.approx(math.log(2))
    assert float(hinge(positive, negative, 1.0)) == pytest.approx((0 + 2 + 3.5 + 0) / 4)
    assert float(hinge(torch.full((3,), 5.0), torch.zeros(3, 2), 4.0)) == 0


def test_gbce_with_no_calibration_is_bce_and_beta_is_as_published():
    positive, negative = torch.randn(50), torch.randn(50, 4)
    assert float(gbce(positive, negative, 100, 0.0)) == pytest.approx(float(bce(positive, negative)), rel=1e-6)
    alpha = 4 / 99
    for t in (0.25, 0.75, 1.0):
        beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
        by_hand = -(torch.sigmoid(positive) ** beta).log().mean() - torch.log1p(-torch.sigmoid(negative)).sum(1).mean()
        assert float(gbce(positive, negative, 100, t)) == pytest.approx(float(by_hand), rel=1e-5)
    assert float(gbce(positive, torch.randn(50, 99), 100, 1.0)) > 0  # every negative drawn: beta is 1 again


def test_gbce_calibrated_learns_the_true_probabilities():
    """One state, five items with known shares: with t = 1 the fitted sigmoid is the share itself, with t = 0 it is far above."""
    shares, among = torch.tensor([0.5, 0.25, 0.15, 0.07, 0.03], dtype=torch.float64), 5
    generator = torch.Generator().manual_seed(0)
    targets = torch.multinomial(shares, 40_000, replacement=True, generator=generator)
    negatives = (targets + torch.randint(1, among, targets.shape, generator=generator)) % among  # one of the other four

    def fitted(t):
        logits = torch.zeros(among, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Adam([logits], lr=0.05)
        for _ in range(400):
            loss = gbce(logits[targets], logits[negatives][:, None], among, t)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return torch.sigmoid(logits.detach())

    torch.testing.assert_close(fitted(1.0), shares, atol=0.03, rtol=0)
    assert float(fitted(0.0)[0]) > 0.7


def test_info_nce_is_cross_entropy_over_the_targets_of_the_batch():
    states, table, _, items = world(steps=6)
    targets = torch.tensor([1, 2, 3, 4, 5, 6])
    expected = torch.nn.functional.cross_entropy(states @ table[1:7].T / 0.5, torch.arange(6))
    drawn = Drawn(torch.zeros(0, dtype=torch.long), EMPTY, 30)
    assert float(InfoNCE(0.5)(states, targets, drawn, items)) == pytest.approx(float(expected))
    twice = torch.tensor([7, 7])  # the other one is right too, so nothing is left to tell apart
    assert float(info_nce(torch.randn(2, 2), twice, 1.0)) == pytest.approx(0)


@pytest.mark.parametrize("loss", [BCE(3), GBCE(3), BPR(3), Hinge(3), InfoNCE(), CrossEntropy()])
def test_every_loss_pulls_the_target_up_and_is_smallest_when_it_is_far_ahead(loss):
    table = torch.randn(31, 8, requires_grad=True)
    states, targets = torch.randn(20, 8), torch.arange(1, 21)
    drawn = Drawn(torch.randint(21, 31, (20, 3)), EMPTY, 30)
    optimiser = torch.optim.Adam([table], lr=0.1)
    first = None
    for _ in range(150):
        value = loss(states, targets, drawn, lambda rows=None: table if rows is None else table[rows])
        first = float(value.detach()) if first is None else first
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    assert float(value) < 0.5 * first


@pytest.mark.parametrize("wrong", [lambda: BPR(0), lambda: GBCE(calibration=1.5), lambda: InfoNCE(0.0)])
def test_senseless_fields_are_refused(wrong):
    with pytest.raises(ValueError, match=r"at least one|between|above"):
        wrong()


@pytest.mark.parametrize("others", [1, 2, 65])
def test_products_of_rows_with_a_few_others_are_the_same_by_either_way(others):
    rows, them = torch.randn(7, 12, dtype=torch.float64), torch.randn(7, others, 12, dtype=torch.float64)
    expected = torch.stack([other @ row for row, other in zip(rows, them, strict=True)])
    torch.testing.assert_close(dots(rows, them), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sampled_softmax_stays_in_the_type_of_its_scores(dtype):
    """Expectations are counted in float64, in which a step would take three times as long."""
    scores = torch.zeros(3, dtype=dtype), torch.zeros(3, 5, dtype=dtype)
    assert sampled_softmax(*scores, torch.full((5,), 0.5, dtype=torch.float64)).dtype == dtype
