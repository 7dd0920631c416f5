"""The contract that every part keeps: backbones, time encoders, fusions, losses and outputs are found by themselves.

A part that a program defines elsewhere is found too, but those of other tests are left to them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.conftest import small
from tmmsrec import values, zoo
from tmmsrec.data.batch import Pass, ranking_batches, training_batches
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.models.base import Method
from tmmsrec.models.sequential import Entry, Sequential
from tmmsrec.nn.backbones import Backbone, newest
from tmmsrec.nn.fusion import Fusion
from tmmsrec.nn.losses import Loss
from tmmsrec.nn.outputs import Output
from tmmsrec.nn.time import TimeEncoder

WIDTH, LENGTH = 12, 10
PLAIN = Sequential(width=WIDTH, length=LENGTH, entry=Entry(dropout=0.0))


def every(place: str, base: type) -> list[Any]:
    kinds = {name: cls for name, cls in values.offered(base).items() if cls.__module__.startswith("tmmsrec.")}
    assert kinds
    return [pytest.param(place, cls(), id=f"{place}={name}") for name, cls in sorted(kinds.items())]


BACKBONES = every("backbone", Backbone)
PARTS = [
    *BACKBONES,
    *every("time", TimeEncoder),
    *every("fusion", Fusion),
    *every("loss", Loss),
    *every("output", Output),
]
every_part = pytest.mark.parametrize(("place", "part"), PARTS)
every_backbone = pytest.mark.parametrize("backbone", [pytest.param(p.values[1], id=p.id) for p in BACKBONES])


def with_part(place: str, part: Any) -> Sequential:
    """The plain method with the part, and with what it asks for."""
    changes: dict[str, Any] = {place: part}
    if place == "backbone" and not part.causal:
        changes["steps"] = "last"
    if place == "fusion":
        changes["modalities"] = ("id", "text")
    return replace(PLAIN, **changes)


@every_part
def test_a_part_survives_json_and_is_named_in_a_change(place, part):
    method = with_part(place, part)
    assert values.from_json(Method, values.to_json(method)) == method
    named = [f"{place}={type(part).__name__}", *(["steps=last"] if method.steps == "last" else [])]
    changed = values.change_all(replace(PLAIN, modalities=method.modalities), named)
    assert getattr(changed, place) == part
    assert zoo.space("sasrec", method, zoo.training("sasrec"))


@every_part
def test_a_part_is_trained_and_ranks_from_the_seed_alone(place, part):
    data, method = small(), with_part(place, part)
    parts = LeaveOneOut().cut(data.interactions)
    method = method.sized(data.n_items)
    passing = Pass(size=16, length=method.history, per=method.per)
    sampler = Sampler(parts.train, data.n_items, method.negatives)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = method.build(data)
        batch = next(iter(training_batches(parts.train, passing, sampler, seed=(0,))))
        loss = model.loss(batch)
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert loss.isfinite()
        assert gradients
        assert all(g.isfinite().all() for g in gradients)
        asked = next(iter(ranking_batches(parts.test, size=8, length=method.history)))[1]
        with torch.no_grad():
            scores = model.eval().score(asked)
        assert scores.shape == (8, data.n_items + 1)
        assert scores[:, 1:].isfinite().all()
        found.append(scores)
    assert torch.equal(*found)


@every_backbone
def test_what_comes_later_and_what_is_padded_change_nothing(backbone):
    torch.manual_seed(0)
    encoder = backbone.build(WIDTH, LENGTH).eval()
    x = torch.randn(3, LENGTH, WIDTH)
    mask = torch.arange(LENGTH) < torch.tensor([[4], [7], [LENGTH]])
    last = torch.tensor([3, 6, LENGTH - 1])
    other = torch.where(mask[..., None], x, torch.randn_like(x))
    with torch.no_grad():
        states = encoder(x, mask)
        assert states.shape == x.shape
        assert torch.allclose(newest(encoder, x, mask, last), states[torch.arange(3), last], atol=1e-5)
        if backbone.causal:
            assert torch.allclose(encoder(other, mask)[mask], states[mask], atol=1e-5)
