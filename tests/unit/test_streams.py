"""Streams read as one computation, as on a GPU, are those read one after another."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.conftest import shrunk, small
from tmmsrec import values, zoo
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.nn import streams
from tmmsrec.nn.backbones import Backbone
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.fusion import Apart
from tmmsrec.nn.time import TIE
from tmmsrec.training import Adam, Training

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch, of its attention for a processor under vmap
STACKS = [kind() for kind in values.offered(Backbone).values() if kind().stacks]


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(streams, "_pays", lambda x: True)


def made(backbone: Backbone, encoders: int):
    torch.manual_seed(0)
    return [backbone.build(12, 20) for _ in range(encoders)]


def given(held: bool):
    torch.manual_seed(1)
    x = [torch.randn(5, 7, 12, requires_grad=True) for _ in range(3)]
    masks = [None, torch.rand(5, 7) < 0.6, torch.rand(5, 7) < 0.3] if held else [None] * 3
    return x, [(one, mask, None) for one, mask in zip(x, masks, strict=True)]


def test_some_backbone_stacks():
    assert Attention() in STACKS


@pytest.mark.parametrize("encoders", [3, 1])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("backbone", STACKS, ids=repr)
def test_vectors_and_gradients_are_those_of_streams_apart(backbone, held, last, encoders, at_once):
    found = []
    for stacks in (False, True):
        modules, (x, ways) = made(backbone, encoders), given(held)
        for one in modules:
            one.eval()
        vectors = streams.read(modules, ways, torch.tensor([6, 0, 3, 2, 6]) if last else None, stacks=stacks)
        torch.stack(vectors).square().sum().backward()
        found.append([*vectors, *(one.grad for one in x), *(p.grad for one in modules for p in one.parameters())])
    assert all(one is not None for one in found[0])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_streams_drop_apart(at_once):
    one = Attention(dropout=0.5).build(12, 20)
    x = torch.randn(5, 7, 12)
    first, second = streams.read([one, one], [(x, None, None)] * 2, stacks=True)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("fusion", [Apart(), Apart(one_encoder=True)], ids=["an encoder each", "one for all"])
@pytest.mark.parametrize("how", [{}, {"bf16": True}], ids=["float32", "bf16"])
def test_a_training_has_the_same_curve(fusion, how, monkeypatch):
    still = replace(zoo.TMMSREC.entry, dropout=0.0)
    method = replace(shrunk(zoo.TMMSREC), entry=still, backbone=Attention(dropout=0.0), time=TIE(dropout=0.0), fusion=fusion)
    data = small()
    parts = LeaveOneOut().cut(data.interactions)
    training = Training(epochs=2, batch=10, optimiser=Adam(lr=0.01), **how)
    apart = fit(method, data, train=parts.train, valid=parts.valid, training=training)
    read = []
    monkeypatch.setattr(streams, "_pays", lambda x: read.append(x.shape) or True)
    together = fit(method, data, train=parts.train, valid=parts.valid, training=training)
    assert read
    assert set(together.model.state_dict()) == set(apart.model.state_dict())
    curves = [[epoch["loss"] for epoch in one.history] for one in (together, apart)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-2 if how else 1e-4)
