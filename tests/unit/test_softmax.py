"""Cross-entropy in blocks against the plain one, with its gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from tmmsrec.nn import softmax
from tmmsrec.nn.softmax import cross_entropy


def world(steps=37, items=11, width=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(steps, width, generator=generator, dtype=dtype).requires_grad_()
    table = torch.randn(items + 1, width, generator=generator, dtype=dtype).requires_grad_()
    return states, table, torch.randint(1, items + 1, (steps,), generator=generator)


def plain(states, table, targets):
    return functional.cross_entropy((states @ table.T)[:, 1:], targets - 1)


@pytest.fixture(params=[1, 40, 1 << 21], ids=["a step a block", "three steps a block", "one block"])
def block(request, monkeypatch):
    monkeypatch.setitem(softmax._SCORES, "cpu", request.param)


def test_padding_is_left_out():
    states, table = torch.ones(1, 1), torch.tensor([[1e9], [0.0], [1.0], [2.0]])
    expected = -math.log(math.e / (1 + math.e + math.e**2))
    assert float(cross_entropy(states, table, torch.tensor([2]))) == pytest.approx(expected)


def test_value_and_gradients_are_those_of_the_plain_one(block):
    states, table, targets = world()
    ours, theirs = cross_entropy(states, table, targets), plain(states, table, targets)
    torch.testing.assert_close(ours, theirs)
    wanted = torch.autograd.grad(3 * theirs, (states, table))
    torch.testing.assert_close(torch.autograd.grad(3 * ours, (states, table)), wanted)


def test_gradients_by_differences(block):
    states, table, targets = world(steps=7)
    assert torch.autograd.gradcheck(lambda s, t: cross_entropy(s, t, targets), (states, table))


def test_extreme_scores_stay_finite():
    states, table, targets = world(dtype=torch.float32)
    loss = cross_entropy(states * 1e4, table * 1e4, targets)
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert torch.isfinite(states.grad).all()


@pytest.mark.parametrize("frozen", ["states", "table", "both"])
def test_either_side_may_be_frozen(frozen):
    states, table, targets = world()
    wanted = float(plain(states, table, targets).detach())
    states = states.detach() if frozen in ("states", "both") else states
    table = table.detach() if frozen in ("table", "both") else table
    loss = cross_entropy(states, table, targets)
    assert float(loss.detach()) == pytest.approx(wanted)
    assert loss.requires_grad == (frozen != "both")


def test_bfloat16_under_autocast_is_near_float32():
    states, table, targets = world(steps=200, items=300, width=16, dtype=torch.float32)
    wanted = plain(states, table, targets)
    wanted_grads = torch.autograd.grad(wanted, (states, table))
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy(states, table, targets)
    assert loss.dtype == torch.float32
    grads = torch.autograd.grad(loss, (states, table))
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=0.01)
    for ours, theirs in zip(grads, wanted_grads, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 0.02
