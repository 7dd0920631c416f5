"""TriMLP against sheet 7 of the specification and the official code."""

from __future__ import annotations

import pytest
import torch

from tests.golden.test_backbones import drawn, filled, parameters, sized, stream
from tmmsrec.models.sequential import Sequential
from tmmsrec.nn.backbones.trimlp import TriMLP
from tmmsrec.nn.losses import CrossEntropy
from tmmsrec.nn.outputs import Classifier


def kernels(length: int, sessions: int):
    with torch.no_grad():
        return drawn(TriMLP(sessions), 3, length).encoder.kernels()


@pytest.mark.parametrize(("length", "count"), [(50, 210_857), (32, 207_905)])
def test_parameters_of_the_whole_model(length, count):
    method = Sequential(width=128, length=length, backbone=TriMLP(), loss=CrossEntropy(), output=Classifier())
    assert parameters(method.build(sized(128))) == count


def test_kernels_of_four_steps_are_those_of_the_sheet():
    over_all, in_session = kernels(4, 2)
    third = 1 / 3
    expected = torch.tensor([[0.25] * 4, [0, third, third, third], [0, 0, 0.5, 0.5], [0, 0, 0, 1]])
    torch.testing.assert_close(over_all, expected)
    torch.testing.assert_close(over_all.sum(0), torch.tensor([0.25, 0.5833, 1.0833, 2.0833]), atol=1e-4, rtol=0)
    torch.testing.assert_close(in_session.sum(0), torch.tensor([0.5, 1.5, 0.5, 1.5]))


@pytest.mark.parametrize("sessions", [1, 2, 5, 10])
def test_rows_of_kernels_sum_to_one_and_the_last_column_to_the_harmonic_number(sessions):
    module = drawn(TriMLP(sessions), 3, 50).encoder
    assert torch.equal(module.over_all, torch.ones(50, 50))  # the general rule draws matrices; start() comes after it
    over_all, in_session = kernels(50, sessions)
    harmonic = sum(1 / k for k in range(1, 51))
    assert float(over_all[:, -1].sum()) == pytest.approx(harmonic, abs=1e-5) == pytest.approx(4.4992, abs=1e-4)
    for kernel in (*filled(module).kernels(), over_all, in_session):
        torch.testing.assert_close(kernel.sum(1), torch.ones(50, dtype=kernel.dtype))
        assert not kernel.tril(-1).any()


@pytest.mark.parametrize("act", ["sigmoid", "gelu", "identity"])
def test_a_stream_of_ones_gives_the_closed_form(act):
    """The first mixing gives act(column sums); the second mixes those within sessions."""
    of = {"sigmoid": torch.sigmoid, "gelu": torch.nn.functional.gelu, "identity": lambda x: x}[act]
    module = drawn(TriMLP(act=act), 3, 4)
    first = of(torch.tensor([0.25, 0.25 + 1 / 3, 0.25 + 1 / 3 + 0.5, 0.25 + 1 / 3 + 1.5]))
    second = of(torch.stack([first[0] / 2, first[0] / 2 + first[1], first[2] / 2, first[2] / 2 + first[3]]))
    torch.testing.assert_close(module(torch.ones(1, 4, 3))[0], second[:, None].expand(-1, 3))


def test_masked_entries_get_no_gradient():
    module = drawn(TriMLP(sessions=2), 3, 6)
    module(torch.randn(2, 6, 3)).square().sum().backward()
    kernel = module.encoder
    assert not kernel.over_all.grad.tril(-1).any()
    assert not kernel.over_all.grad[-1].any()  # the last row is one entry, always one
    assert kernel.over_all.grad.triu()[:-1].any(1).all()
    outside = torch.ones(6, 6, dtype=torch.bool)
    outside[:3, :3] = outside[3:, 3:] = torch.ones(3, 3, dtype=torch.bool).tril(-1)
    assert not kernel.in_session.grad[outside].any()
    assert kernel.in_session.grad[0, :3].any()


def test_sessions_are_apart_in_the_local_layer_and_not_in_the_whole():
    module, x = drawn(TriMLP(sessions=2), 3, 6), torch.randn(1, 6, 3)
    changed = x.clone()
    changed[:, :3] += 1
    _, local = kernels(6, 2)
    assert torch.equal((local.T @ x)[:, 3:], (local.T @ changed)[:, 3:])
    assert not torch.equal((local.T @ x)[:, :3], (local.T @ changed)[:, :3])
    assert (module(x)[:, 3:] != module(changed)[:, 3:]).all()  # the global layer reaches back over all sessions


def test_a_shorter_stream_is_a_padded_one_cut():
    module, x = filled(TriMLP().build(6, 50)), stream(2, 9)
    whole = torch.cat([x, torch.zeros(2, 41, 6, dtype=x.dtype)], dim=1)
    torch.testing.assert_close(module(x), module(whole)[:, :9])


def test_the_sigmoids_states_are_positive():
    x = torch.randn(2, 10, 12)
    out = drawn(TriMLP())(x)
    assert (out > 0).all()
    assert (out < 1).all()
    assert (drawn(TriMLP(act="identity"))(x) < 0).any()


@pytest.mark.parametrize(("sessions", "length"), [(3, 50), (2, 25), (0, 50)])
def test_sessions_must_divide_the_length(sessions, length):
    with pytest.raises(ValueError, match=f"{length} positions into {sessions} sessions.*change 'sessions', or 'length'"):
        TriMLP(sessions).build(12, length)


def test_same_numbers_as_the_official_code():
    """jiangyiheng1/TriMLP 999e23d6, model/layers.py, TriMixer(8, 2): weights of ``filled`` on its diagonals and above."""
    out = filled(TriMLP().build(6, 8))(stream(2, 8))
    assert float(out.square().sum()) == pytest.approx(37.260911, abs=1e-5)
    assert out[-1, -1].tolist() == pytest.approx([0.726102, 0.714311, 0.70339, 0.694503, 0.688328, 0.685159], abs=1e-5)
