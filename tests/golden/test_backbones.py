"""GRU4Rec, NextItNet and MLP4Rec as backbones, against sheets 14 to 17 of the specification and the public code.

Numbers under ``OFFICIAL`` were made by running the files named there, unchanged, with the weights of ``filled`` and the input of
``stream`` in float64 (the library around them replaced by empty names); ours differed from all of them by less than 4e-15.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import random_features, small
from tmmsrec import values, zoo
from tmmsrec.data.batch import history_batch
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.models.sequential import Sequential
from tmmsrec.nn.backbones import Backbone, newest
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.backbones.gru4rec import GRU4Rec
from tmmsrec.nn.backbones.mlp4rec import CausalMLP4Rec, MLP4Rec
from tmmsrec.nn.backbones.nextitnet import NextItNet
from tmmsrec.nn.backbones.trimlp import TriMLP
from tmmsrec.nn.fusion import MLP, Add, Apart, Linear
from tmmsrec.nn.items import initialise
from tmmsrec.nn.mixing import Mixer, TokenMixer

CAUSAL = [GRU4Rec(), GRU4Rec(layers=1, hidden=7, start="zero", norm=False), NextItNet(), CausalMLP4Rec(), TriMLP()]
every = pytest.mark.parametrize("backbone", [*CAUSAL, MLP4Rec()], ids=lambda b: type(b).__name__)
causal = pytest.mark.parametrize("backbone", CAUSAL, ids=lambda b: type(b).__name__)


def sized(width: int) -> Dataset:
    """800 items as All_Beauty, features as wide as the model so that no map is learned."""
    log = Interactions.of(np.zeros(3, int), np.array([1, 2, 3]), np.arange(3))
    return Dataset.in_memory("sized", log, 800, {m: random_features(800, width, 0) for m in ("text", "image")})


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def drawn(backbone: Backbone, width: int = 12, length: int = 20) -> nn.Module:
    torch.manual_seed(0)
    module = backbone.build(width, length)
    initialise(module)
    return module.eval()


@torch.no_grad()
def filled(module: nn.Module, scale: float = 0.3) -> nn.Module:
    """Every parameter a sine of its index, in float64; gains of layer norms around one."""
    module = module.double().eval().requires_grad_(False)
    for number, (name, p) in enumerate(module.named_parameters()):
        index = torch.arange(p.numel(), dtype=torch.float64)
        p.copy_(scale * torch.sin(0.7 * index + number + 1).view(p.shape))
        if "norm" in name and name.endswith("weight"):
            p.add_(1)
    return module


def stream(batch: int = 2, steps: int = 7, width: int = 6) -> Tensor:
    return torch.cos(0.3 * torch.arange(batch * steps * width, dtype=torch.float64)).view(batch, steps, width)


# Counts: sheet 17.3 at d = 128, n = 50, N = 800.


@pytest.mark.parametrize(
    ("backbone", "count"), [(NextItNet(), 498_816), (GRU4Rec(), 299_648), (MLP4Rec(), 255_258), (CausalMLP4Rec(), 255_258)]
)
def test_parameters_of_the_whole_model(backbone, count):
    method = Sequential(width=128, backbone=backbone, steps="every" if backbone.causal else "last")
    assert parameters(method.build(sized(128))) == count


def test_parameters_of_the_parts():
    assert parameters(GRU4Rec().build(128, 50)) == 197_120
    recbole = GRU4Rec(layers=1, hidden=128, start="zero", norm=False)
    assert parameters(recbole.build(64, 50)) == 81_984
    assert parameters(NextItNet(dilations=(1,)).build(128, 50)) == 99_072
    mixer = Mixer(50, 128, 0.5)
    assert parameters(mixer.tokens) == 20_506
    assert parameters(mixer.channels) == 131_968


# What every backbone keeps.


@causal
@pytest.mark.parametrize("masked", [False, True])
def test_later_steps_do_not_change_earlier_ones(backbone, masked):
    module, x = drawn(backbone), torch.randn(3, 15, 12)
    mask = torch.rand(3, 15) < 0.7 if masked else None
    changed = x.clone()
    changed[:, 9:] += torch.randn(3, 6, 12)  # the same shift in all channels would be lost in a layer norm
    assert torch.equal(module(x, mask)[:, :9], module(changed, mask)[:, :9])
    assert not torch.equal(module(x, mask)[:, 9:], module(changed, mask)[:, 9:])


@every
def test_padding_to_the_right_changes_nothing(backbone):
    module, x = drawn(backbone), torch.randn(3, 8, 12)
    longer = torch.cat([x, torch.zeros(3, 7, 12)], dim=1)
    torch.testing.assert_close(module(longer)[:, :8], module(x), atol=1e-5, rtol=1e-5)
    mask = torch.arange(15).expand(3, -1) < 8
    torch.testing.assert_close(module(longer, mask)[:, :8], module(x), atol=1e-5, rtol=1e-5)


@every
def test_a_gap_is_no_step(backbone):
    """x0 . x1 . . x2 is read as x0 x1 x2; a gap's row is that of the step before it, zero at the start."""
    module, x = drawn(backbone), torch.randn(1, 8, 12)
    mask = torch.tensor([[False, True, False, True, False, False, True, False]])
    gaps = module(x, mask)
    plain = module(torch.cat([x[:, [1, 3, 6]], torch.zeros(1, 5, 12)], dim=1))
    torch.testing.assert_close(gaps[:, 1:], plain[:, [0, 0, 1, 1, 1, 2, 2]], atol=1e-5, rtol=1e-5)
    assert not gaps[:, 0].any()


@every
def test_newest_is_the_row_of_the_newest_step(backbone):
    module, last = drawn(backbone), torch.tensor([0, 6, 9, 3])
    x = torch.randn(4, 10, 12) * (torch.arange(10) <= last[:, None])[..., None]
    rows = torch.arange(4)
    torch.testing.assert_close(newest(module, x, None, last), module(x)[rows, last], atol=1e-5, rtol=1e-5)
    mask = (torch.arange(10) <= last[:, None]) & (torch.rand(4, 10) < 0.6)
    mask[3] = False  # nothing is held
    found = newest(module, x, mask, last)
    torch.testing.assert_close(found, module(x, mask)[rows, last], atol=1e-5, rtol=1e-5)
    assert not found[3].any()


@every
@pytest.mark.parametrize("fusion", [Apart(), Apart(one_encoder=True), Add(), Linear(), MLP()])
def test_inside_tmmsrec(backbone, fusion):
    """All fusions, pictures missing: a user alone scores as in a padded batch, whatever a trained fusion puts into padding."""
    steps = "every" if backbone.causal else "last"
    method = replace(zoo.TMMSREC, width=12, length=20, backbone=backbone, fusion=fusion, steps=steps)
    assert values.from_json(Sequential, values.to_json(method)) == method
    torch.manual_seed(0)
    model = method.build(small(missing=(3, 7))).eval()
    with torch.no_grad():
        for p in model.fusion.parameters():
            p.add_(0.1)
    items = np.array([[4, 7, 8, 0, 0], [3, 9, 2, 5, 7]])
    times = np.where(items > 0, np.arange(1, 6) * 40 * 86400 + 1_400_000_000, 0)
    whole = history_batch(np.array([0, 1]), items, times, np.array([1_500_000_000] * 2))
    alone = history_batch(np.array([0]), items[:1, :3], times[:1, :3], np.array([1_500_000_000]))
    scores = model.score(whole)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores[:1], model.score(alone), atol=1e-5, rtol=1e-5)


@every
def test_a_missing_picture_is_no_step_of_the_stream_of_pictures(backbone):
    steps = "every" if backbone.causal else "last"
    method = Sequential(modalities=("image",), width=12, length=20, backbone=backbone, steps=steps)
    torch.manual_seed(0)
    model = method.build(small(missing=(7,))).eval()
    users, at = np.array([0]), np.array([1_500_000_000])
    with_gap = model.users(history_batch(users, np.array([[4, 7, 8, 7]]), np.ones((1, 4), int), at))
    without = model.users(history_batch(users, np.array([[4, 8]]), np.ones((1, 2), int), at))
    torch.testing.assert_close(with_gap, without, atol=1e-6, rtol=1e-5)


@every
def test_the_gradient_is_finite_where_nothing_is_held(backbone):
    module, x = drawn(backbone), torch.randn(3, 6, 12)
    mask = torch.tensor([[True] * 6, [False, True, True, False, False, False], [False] * 6])
    module(x * mask[..., None], mask).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


# GRU4Rec: sheet 16.


def test_gru_of_one_step_is_the_closed_form():
    """h = (1 - z) tanh(W_n x) from a state of zero, without biases."""
    module, x = drawn(GRU4Rec(layers=1, start="zero", norm=False)), torch.randn(4, 1, 12)
    _, z, new = (module.encoder.layers[0].weight_ih_l0 @ x[:, 0].T).chunk(3)
    torch.testing.assert_close(module(x)[:, 0], ((1 - z.sigmoid()) * new.tanh()).T)


def test_gru_equals_its_recurrence_step_by_step():
    module, x = drawn(GRU4Rec(layers=1)), torch.randn(3, 9, 12)
    layer, state = module.encoder.layers[0], module.encoder.before[0].expand(3, -1)
    for t in range(9):
        reset, z, new = (x[:, t] @ layer.weight_ih_l0.T).chunk(3, dim=1)
        h_reset, h_z, h_new = (state @ layer.weight_hh_l0.T).chunk(3, dim=1)
        z, candidate = (z + h_z).sigmoid(), (new + (reset + h_reset).sigmoid() * h_new).tanh()
        state = (1 - z) * candidate + z * state
        torch.testing.assert_close(module(x)[:, t], module.encoder.norm(state), atol=1e-5, rtol=1e-5)


def test_the_first_state_is_drawn_after_the_general_rule():
    torch.manual_seed(0)
    model = Sequential(width=504, backbone=GRU4Rec()).build(sized(504))
    before = model.backbones[0].encoder.before
    assert before.shape == (2, 1, 504)
    assert float(before.detach().std()) == pytest.approx(1, abs=0.1)  # Xavier would have said .06
    assert drawn(GRU4Rec(start="zero")).encoder.before is None


def test_outputs_of_a_last_norm_are_as_long_as_the_root_of_the_width():
    for backbone in (GRU4Rec(), MLP4Rec(), CausalMLP4Rec()):
        lengths = drawn(backbone)(torch.randn(2, 5, 12)).norm(dim=-1)
        torch.testing.assert_close(lengths, torch.full((2, 5), math.sqrt(12)), atol=1e-3, rtol=0)


# NextItNet: sheet 15.


@pytest.mark.parametrize(("dilations", "field"), [((1, 4) * 2, 61), ((1, 2) * 3, 55), ((1, 4), 31), ((1, 4) * 5, 151)])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_receptive_field(dilations, field, activation):
    module = drawn(NextItNet(dilations=dilations, activation=activation), 32, 200).double()
    x = torch.randn(1, 200, 32, dtype=torch.float64)
    changed = x.clone()
    changed[:, 20] += 10 * torch.randn(32)
    moved = (module(x) != module(changed)).any(-1)[0].nonzero()[:, 0]
    assert (int(moved.min()), int(moved.max())) == (20, 20 + field - 1)


def test_a_silent_convolution_passes_the_stream_on():
    module, x = drawn(NextItNet()), torch.randn(2, 10, 12)
    assert not torch.equal(module(x), x)
    for block in module.encoder:
        for part in (block.first.map.weight, block.second.map.weight, block.first_norm.weight, block.second_norm.weight):
            nn.init.zeros_(part)
    assert torch.equal(module(x), x)


def test_convolutions_start_as_the_official_code_says():
    weight = drawn(NextItNet(), 64).encoder[0].first.map.weight.detach()
    assert float(weight.abs().max()) <= 0.04
    assert float(weight.std()) == pytest.approx(0.02 * 0.88, rel=0.05)  # .88: a normal cut at two deviations


# MLP4Rec: sheet 14.


@pytest.mark.parametrize(("backbone", "leaks"), [(MLP4Rec(), True), (CausalMLP4Rec(), False)])
def test_the_leak(backbone, leaks):
    """A change in slot 40 of 50 moves all 40 earlier outputs, or none."""
    module, x = drawn(backbone, 16, 50), torch.randn(1, 50, 16)
    changed = x.clone()
    changed[:, 40] += torch.randn(16)
    moved = (module(x) != module(changed)).any(-1)[0]
    assert int(moved[:40].sum()) == (40 if leaks else 0)
    assert moved[40:].all()
    assert backbone.causal is not leaks


def test_a_loss_at_every_step_is_refused_where_it_leaks():
    with pytest.raises(ValueError, match=r'MLP4Rec is not causal.*steps="last"'):
        Sequential(backbone=MLP4Rec())
    Sequential(backbone=CausalMLP4Rec())


def test_all_layers_share_one_set_of_weights():
    shallow, deep = MLP4Rec(layers=1).build(12, 20), MLP4Rec(layers=8).build(12, 20)
    assert {n: p.shape for n, p in shallow.named_parameters()} == {n: p.shape for n, p in deep.named_parameters()}
    x = torch.randn(1, 20, 12)
    assert not torch.equal(drawn(MLP4Rec(layers=1))(x), drawn(MLP4Rec(layers=8))(x))


def test_a_causal_mixer_reads_its_weights_through_triangles():
    """The same function, written with whole weights and a zero where a triangle forbids."""
    torch.manual_seed(0)
    n = 6
    causal, plain = TokenMixer(n, 5, 0.5, causal=True).eval(), TokenMixer(n, 5, 0.5).eval()
    lower = torch.ones(n, n).tril()
    plain.load_state_dict(causal.state_dict())
    with torch.no_grad():
        plain.inner.weight.mul_(lower.repeat(4, 1))
        plain.outer.weight.mul_(lower.repeat(1, 4))
    x = torch.randn(2, n, 5)
    torch.testing.assert_close(causal(x), plain(x))
    torch.testing.assert_close(causal(x[:, :4]), plain(x)[:, :4])
    causal(x).sum().backward()
    assert not (causal.inner.weight.grad * (1 - lower.repeat(4, 1))).any()


def test_maps_start_as_in_the_official_code():
    """Over time as torch's convolutions, U(+-1/sqrt(n)) with biases; over channels N(0, .02) without."""
    mixer = drawn(MLP4Rec(), 64, 50).encoder.mixer.requires_grad_(False)
    assert float(mixer.tokens.inner.weight.abs().max()) == pytest.approx(50**-0.5, rel=0.01)
    assert mixer.tokens.inner.bias.any()
    assert float(mixer.channels.inner.weight.std()) == pytest.approx(0.02, rel=0.05)
    assert not mixer.channels.inner.bias.any()


def test_too_many_steps_are_refused():
    for backbone in (CausalMLP4Rec(), TriMLP()):
        with pytest.raises(ValueError, match="20 steps, got 21"):
            drawn(backbone)(torch.zeros(1, 21, 12))
    with pytest.raises(ValueError, match="6 steps, got 5"):
        TokenMixer(6, 4, 0.0)(torch.zeros(1, 5, 4))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: GRU4Rec(layers=0), "at least one layer"),
        (lambda: GRU4Rec(hidden=0), "one hidden unit"),
        (lambda: MLP4Rec(layers=0), "MLP4Rec needs at least one layer"),
        (lambda: CausalMLP4Rec(layers=0), "CausalMLP4Rec needs at least one layer"),
        (lambda: NextItNet(dilations=(1, 0)), "at least 1"),
    ],
)
def test_values_that_make_no_sense_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()


# Against the public code, see the top of this file: the sum of squares over all outputs, and the last row.

OFFICIAL = [
    (  # MICLab-Rec/RecBox 050c97ea, Sequential-Rec/models/rnn_based/gru4rec.py, RNNMixer
        GRU4Rec(),
        7,
        108.200342,
        [0.895912, 0.938787, -1.535296, 1.130956, 0.689398, -1.638445],
    ),
    (  # MICLab-Rec/RecBox 050c97ea, Sequential-Rec/models/cnn_based/nextitnet.py, CNNMixer
        NextItNet(),
        20,
        613.351027,
        [1.995366, 0.482299, 0.605261, 0.969445, 0.700336, 1.514629],
    ),
    (  # RUCAIBox/RecBole 7b02be5e, model/sequential_recommender/nextitnet.py, its residual blocks (b)
        NextItNet(dilations=(1, 2), activation="relu", eps=1e-8),
        20,
        335.456712,
        [1.92376, 1.046785, 0.932086, 0.665953, -0.38928, -0.84904],
    ),
    (  # RUCAIBox/RecBole 7b02be5e, model/layers.py, TransformerEncoder: 2 heads, inner size d, relu, eps 1e-8, causal mask
        Attention(norm="post", heads=2),
        7,
        81.450916,
        [-2.203281, 0.537964, 0.400957, -0.843796, 0.693764, 0.010006],
    ),
]


@pytest.mark.parametrize(("backbone", "steps", "squares", "row"), OFFICIAL, ids=["gru", "nextitnet", "blocks-b", "attention"])
def test_same_numbers_as_the_public_code(backbone, steps, squares, row):
    module = filled(backbone.build(6, steps))
    if isinstance(backbone, Attention):
        module.norm = nn.Identity()  # theirs ends with its last block
    out = module(stream(2, steps))
    assert float(out.square().sum()) == pytest.approx(squares, abs=1e-5)
    assert out[-1, -1].tolist() == pytest.approx(row, abs=1e-5)


def test_same_numbers_as_recboles_gru4rec():
    """RUCAIBox/RecBole 7b02be5e, model/sequential_recommender/gru4rec.py, forward of two histories: hidden 5, one layer."""
    module = filled(GRU4Rec(layers=1, hidden=5, start="zero", norm=False).build(6, 7))
    table = torch.cos(0.3 * torch.arange(66, dtype=torch.float64)).view(11, 6)
    table[0] = 0
    histories, last = torch.tensor([[3, 1, 4, 1, 5, 0, 0], [9, 2, 6, 5, 3, 5, 8]]), torch.tensor([4, 6])
    out = module.newest(table[histories], None, last)
    assert float(out.square().sum()) == pytest.approx(0.620191, abs=1e-5)
    assert out[-1].tolist() == pytest.approx([-0.326421, -0.211152, -0.29881, -0.018025, 0.146621, 0.247797], abs=1e-5)


def test_same_numbers_as_the_official_mlp4rec():
    """Li-Muyang/MLP4Rec 23665728, mlp4rec.py: its PreNormResidual and FeedForward, three layers, histories of 5 and 7 of 7.

    Its forward cannot run without item features, so its parts were called in its order, leaving the feature mixer out.
    """
    module = filled(MLP4Rec(layers=3).build(6, 7))
    x = stream()
    x[0, 5:] = 0
    out = module(x)
    assert float(out.square().sum()) == pytest.approx(95.201889, abs=1e-5)
    assert out[0, 4].tolist() == pytest.approx([0.817463, 0.361202, -0.787408, 1.682448, 0.021304, -1.626065], abs=1e-5)
    assert out[1, 6].tolist() == pytest.approx([0.40574, 0.32015, -1.304945, 1.451534, 0.71813, -1.406051], abs=1e-5)
    torch.testing.assert_close(module.newest(x, None, torch.tensor([4, 6])), out[[0, 1], [4, 6]])
