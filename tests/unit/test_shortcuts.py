"""Two shortcuts of the hot paths: dropout from shared random words, and the newest row without the others."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import small
from tmmsrec.data.batch import ranking_batches
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.models.sequential import Sequential
from tmmsrec.nn.backbones import newest
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.dropout import Dropout
from tmmsrec.nn.fusion import Add, Apart
from tmmsrec.nn.time import TIE


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_dropout_keeps_its_chance_and_the_mean(p):
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(1000, 1003))
    n = out.numel()
    assert abs((out == 0).double().mean() - p) < 5 * (p * (1 - p) / n) ** 0.5
    assert abs(out.double().mean() - 1) < 5 * (p / (1 - p) / n) ** 0.5
    assert len(out.unique()) == 2


def test_dropout_of_neighbours_is_independent():
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(1_000_000)) == 0).double() - 0.5
    for apart in (1, 2, 3, 4, 8):
        assert abs(4 * (dropped[apart:] * dropped[:-apart]).mean()) < 5e-3  # five deviations


def test_dropout_repeats_with_the_seed_and_stops_in_evaluation():
    layer, x = Dropout(0.5), torch.randn(7, 5, requires_grad=True)
    torch.manual_seed(1)
    once = layer(x)
    torch.manual_seed(1)
    assert torch.equal(once, layer(x))
    once.sum().backward()
    assert torch.equal(x.grad != 0, once != 0)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_of_all(p):
    assert Dropout(p)(torch.ones(10)).sum() == 10 * (1 - p)


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_dropout_refuses_what_is_no_chance(p):
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dropout(p)


@pytest.mark.parametrize("norm", ["original", "pre", "post"])
@pytest.mark.parametrize("blocks", [0, 1, 3])
@pytest.mark.parametrize("fusion", [Apart(), Add()], ids=["apart", "add"])
def test_users_are_the_newest_states(norm, blocks, fusion):
    """Also for items without a picture, which are masked in that stream."""
    dataset = small()
    value = Sequential(("id", "text", "image"), 12, 20, TIE(), fusion, Attention(blocks=blocks, heads=2, norm=norm))
    torch.manual_seed(0)
    model = value.build(dataset).eval()
    with torch.no_grad():
        for _, batch in ranking_batches(LeaveOneOut().cut(dataset.interactions).test, size=16, length=20):
            expected = model.states(batch)[torch.arange(len(batch.users)), batch.last]
            torch.testing.assert_close(model.users(batch), expected, atol=1e-5, rtol=1e-5)


def test_a_backbone_without_a_shorter_way_is_read_whole():
    class Doubling(torch.nn.Module):
        def forward(self, x, mask=None):
            return 2 * x

    x = torch.randn(3, 4, 2)
    assert torch.equal(newest(Doubling(), x, None, torch.tensor([0, 3, 1])), 2 * x[[0, 1, 2], [0, 3, 1]])
