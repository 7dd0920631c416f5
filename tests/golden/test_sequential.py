"""SASRec and TMMSRec against the counts and identities of the specification (sheets 2.6, 3 and 5)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import random_features
from tmmsrec import zoo
from tmmsrec.data.batch import Pass, history_batch, training_batches
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.models.sequential import Entry, Sequential
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.fusion import Add, Apart
from tmmsrec.nn.losses import CrossEntropy
from tmmsrec.nn.time import TIE, Clock, Learned, Nothing
from tmmsrec.ranking import rank
from tmmsrec.training import Adam, Training


def beauty_sized(width: int) -> Dataset:
    """800 items as All_Beauty, features as wide as the model so that no map is learned."""
    log = Interactions.of(np.zeros(3, int), np.array([1, 2, 3]), np.arange(3))
    features = {m: random_features(800, width, i) for i, m in enumerate(("text", "image"))}
    return Dataset.in_memory("sized", log, 800, features)


def parameters(method, width: int) -> int:
    return sum(p.numel() for p in method.build(beauty_sized(width)).parameters() if p.requires_grad)


@pytest.mark.parametrize(("d", "count"), [(768, 7_094_784), (126, 193_284), (132, 211_992)])
def test_encoder_parameters(d, count):
    assert sum(p.numel() for p in Attention(blocks=2).build(d, 50).parameters()) == count


@pytest.mark.parametrize(
    ("d", "one_encoder", "count"), [(768, True, 7_709_952), (768, False, 21_899_520), (126, False, 680_778), (132, False, 741_708)]
)
def test_tmmsrec_parameters(d, one_encoder, count):
    assert parameters(replace(zoo.TMMSREC, width=d, fusion=Apart(one_encoder)), d) == count


@pytest.mark.parametrize(("d", "count"), [(50, 73_700), (128, 308_480), (126, 300_636), (768, 7_749_120)])
def test_sasrec_parameters(d, count):
    assert parameters(replace(zoo.SASREC, width=d), d) == count


def test_sasrec_without_output_map_has_the_official_count():
    official = 68_550  # it has n positions, ours n + 1: one row more
    assert parameters(replace(zoo.SASREC, width=50, backbone=Attention(output=False)), 50) == official + 50


def histories(dataset: Dataset, items: list[list[int]], times: list[list[int]] | None = None):
    longest = max(map(len, items))
    rows = np.array([r + [0] * (longest - len(r)) for r in items])
    when = np.array([r + [0] * (longest - len(r)) for r in times]) if times else np.where(rows > 0, 1_400_000_000, 0)
    return history_batch(np.arange(len(items)), rows, when, when.max(1))


def test_late_fusion_is_one_inner_product():
    torch.manual_seed(0)
    data = beauty_sized(12)
    model = replace(zoo.TMMSREC, width=12).build(data).eval()
    batch = histories(data, [[5, 6, 7], [9, 2]])
    states = model.users(batch)
    summed = sum(states[:, at] @ model.items()[:, at].T for at in model.shares().values())
    torch.testing.assert_close(model.score(batch), summed, atol=1e-4, rtol=1e-5)
    rows = torch.tensor([[3, 4], [800, 1]])
    shares = model.shares_of_score(batch, rows)
    assert set(shares) == {"id", "text", "image"}
    torch.testing.assert_close(sum(shares.values()), model.score(batch).gather(1, rows), atol=1e-4, rtol=1e-5)


def test_adding_commutes_with_tie():
    """TMMSRec-add is the same whether time is added before or after the sum (2.6)."""
    torch.manual_seed(0)
    rows = [torch.randn(2, 3, 12) for _ in range(3)]
    tie = TIE().build(12, 50)
    times, mask = torch.full((2, 3), 1_400_000_000), torch.ones(2, 3, dtype=torch.bool)
    before = Add().build(12, 3)([x + tie(x, Clock(times, times, mask)) for x in rows])[0]
    whole = torch.stack(rows).sum(0)
    torch.testing.assert_close(before, whole + tie(whole, Clock(times, times, mask)), atol=1e-4, rtol=1e-5)


def test_one_block_without_position_forgets_order_and_two_do_not():
    torch.manual_seed(0)
    data = beauty_sized(24)
    for blocks, order_matters in ((1, False), (2, True)):
        model = Sequential(width=24, backbone=Attention(blocks=blocks)).build(data).eval()
        users = model.users(histories(data, [[1, 2, 3, 4, 9], [3, 1, 4, 2, 9]]))
        assert (float((users[0] - users[1]).detach().abs().max()) > 0.01) is order_matters


def test_vectors_start_with_norm_root_d_and_loss_with_two_log_two():
    torch.manual_seed(0)
    data = beauty_sized(126)
    model = zoo.SASREC.build(data).eval()
    users = model.users(histories(data, [[1, 2, 3], [7]]))
    torch.testing.assert_close(users.norm(dim=-1), torch.full((2,), 126**0.5), atol=1e-3, rtol=0)
    rng = np.random.default_rng(0)
    log = Interactions.of(np.repeat(np.arange(100), 10), rng.integers(1, 801, 1000), np.tile(np.arange(10), 100))
    part = LeaveOneOut().cut(log).train
    sampler = Sampler(part, 800, zoo.SASREC.negatives)
    batch = next(training_batches(part, Pass(size=100, length=50), sampler, seed=(0,)))
    assert float(model.loss(batch).detach()) == pytest.approx(2 * np.log(2), abs=0.1)


def test_row_zero_stays_zero_and_features_stay_as_they_are(dataset):
    method = replace(zoo.TMMSREC, width=12)
    parts = LeaveOneOut().cut(dataset.interactions)
    fitted = fit(method, dataset, train=parts.train, valid=parts.valid, training=Training(epochs=2, batch=8))
    tables = dict(zip(method.modalities, fitted.model.item_tables, strict=True))
    for name, table in tables.items():
        assert not table(torch.tensor([0])).any(), name
    for name in ("text", "image"):
        assert torch.equal(tables[name].features, torch.tensor(dataset.features[name].rows))
        assert not tables[name].features.requires_grad
        missing = torch.tensor(np.flatnonzero(~dataset.features[name].present))
        assert not tables[name](missing).any()


def test_swapping_text_and_image_with_their_encoders_changes_nothing():
    torch.manual_seed(0)
    data = beauty_sized(12)
    one = replace(zoo.TMMSREC, width=12).build(data).eval()
    other = replace(zoo.TMMSREC, width=12, modalities=("id", "image", "text")).build(data).eval()
    swap = {"0": "0", "1": "2", "2": "1"}
    state = {}
    for name, tensor in one.state_dict().items():
        group, _, rest = name.partition(".")
        at, _, tail = rest.partition(".")
        state[f"{group}.{swap[at]}.{tail}" if at in swap else name] = tensor
    other.load_state_dict(state)
    batch = histories(data, [[5, 6, 7], [9, 2]])
    torch.testing.assert_close(one.score(batch), other.score(batch), atol=1e-5, rtol=1e-5)


def test_tmmsrec_with_one_modality_and_positions_is_sasrec():
    data = beauty_sized(24)
    sasrec = Sequential(width=24, time=Learned(), entry=Entry(dropped="streams", scaled=True))
    as_tmmsrec = replace(zoo.TMMSREC, modalities=("id",), width=24, time=Learned(), entry=Entry(dropped="streams", scaled=True))
    assert sasrec == as_tmmsrec == replace(zoo.SASREC, width=24)
    models = []
    for method in (sasrec, as_tmmsrec):
        torch.manual_seed(5)
        models.append(method.build(data).eval())
    batch = histories(data, [[1, 2, 3]])
    assert torch.equal(models[0].score(batch), models[1].score(batch))


def test_learning_rate_falls_as_the_paper_says(dataset):
    parts = LeaveOneOut().cut(dataset.interactions)
    how = Training(epochs=11, patience=50, batch=64)
    fitted = fit(replace(zoo.SASREC, width=12), dataset, train=parts.train, valid=parts.valid, training=how)
    rates = [record["lr"] for record in fitted.history]
    assert rates[0] == 1e-3
    assert rates[1] == pytest.approx(9.0e-4)
    assert rates[10] == pytest.approx(3.5e-4, rel=0.01)


def test_overfits_a_cycle():
    """20 users, each walking round a cycle of 10 items: every next item is certain (5.8)."""
    users, length = 20, 12
    owner = np.repeat(np.arange(users), length)
    items = (owner % 10 + np.tile(np.arange(length), users)) % 10 + 1
    data = Dataset.in_memory("cycle", Interactions.of(owner, items, np.tile(np.arange(length), users)), 11)
    parts = LeaveOneOut().cut(data.interactions)
    how = Training(epochs=200, batch=20, patience=200, optimiser=Adam(lr=3e-3, decay=1.0))
    method = Sequential(width=24, time=Nothing(), loss=CrossEntropy(), entry=Entry(dropout=0.1), backbone=Attention(dropout=0.1))
    fitted = fit(method, data, train=parts.train, valid=parts.valid, training=how)
    assert (rank(fitted.model, parts.test, history=50).ranks < 1).all()


@pytest.mark.parametrize("norm", ["original", "pre", "post"])
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_forks_of_sasrec_are_causal(norm, heads):
    torch.manual_seed(0)
    module = Attention(norm=norm, heads=heads).build(12, 10).eval()
    x = torch.randn(2, 10, 12)
    changed = x.clone()
    changed[:, 7] = torch.randn(2, 12)  # a layer norm takes away what is added to all coordinates alike
    before, after = module(x), module(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert (before[:, 7:] != after[:, 7:]).any(-1).all()


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="do not divide"):
        Attention(heads=5).build(12, 10)


def test_a_step_without_the_modality_is_not_attended_to():
    """Masked keys change nothing for the others, whatever stands in their place, and no row becomes NaN."""
    torch.manual_seed(0)
    module = Attention().build(12, 10).eval()
    x = torch.randn(1, 4, 12)
    mask = torch.tensor([[False, True, False, True]])
    other = x.clone()
    other[:, 0], other[:, 2] = 9.0, -9.0
    assert torch.equal(module(x, mask)[:, [1, 3]], module(other, mask)[:, [1, 3]])
    assert module(x, torch.zeros(1, 4, dtype=torch.bool)).isfinite().all()


@pytest.mark.parametrize("norm", ["original", "pre", "post"])
def test_without_the_key_mask_it_is_left_padded_code_that_looks_at_its_padding(norm):
    """Against zero vectors really put before the events, causal mask only, slots set to zero after every block (sheet 4, D9)."""
    torch.manual_seed(0)
    value, length = Attention(blocks=2, heads=2, norm=norm, dropout=0.0), 9
    masked, seeing = value.build(12, length), replace(value, key_mask=False).build(12, length)
    for parameter in masked.parameters():  # norms and biases too, so that an empty slot's key is not zero
        nn.init.normal_(parameter, std=0.3)
    seeing.load_state_dict(masked.state_dict())
    lengths = [3, 9, 1, 6]
    x = torch.zeros(4, 9, 12)
    left = torch.zeros(4, 9, 12)
    for row, n in enumerate(lengths):
        x[row, :n] = torch.randn(n, 12)
        left[row, 9 - n :] = x[row, :n]
    real = left.ne(0).any(-1, keepdim=True)
    expected = left
    for block in masked.blocks:
        expected = block(expected, None) * real
    expected = masked.norm(expected)
    got = seeing(x)
    for row, n in enumerate(lengths):
        torch.testing.assert_close(got[row, :n], expected[row, 9 - n :], atol=1e-5, rtol=1e-5)
    last = torch.tensor([2, 8, 0, 5])
    torch.testing.assert_close(seeing.newest(x, None, last), expected[:, -1], atol=1e-5, rtol=1e-5)
    full = [1]
    torch.testing.assert_close(got[full], masked(x)[full], atol=1e-5, rtol=1e-5)  # nothing to look at where nothing is empty
    assert not torch.allclose(got[0, :3], masked(x)[0, :3], atol=1e-2)


# Scores of pmixer/SASRec.pytorch (commit fde8a9c, run as it stands on torch 2.13) with the weights of ``formula`` below: 9 items,
# d = 6, 5 positions, 2 blocks, 2 heads, histories 3 1 4 1 5 and 9 2 6 5 3.
PMIXER = {
    "pre": [
        [-0.214270, 0.583660, -0.358022, -0.232612, 0.586103, -0.342074, -0.250692, 0.587883, -0.325740],
        [-0.784640, 0.086936, 0.699397, -0.772710, 0.058262, 0.715583, -0.759907, 0.029522, 0.730960],
    ],
    "post": [
        [-0.515351, 0.703508, -0.174454, -0.532452, 0.696535, -0.150516, -0.548951, 0.688774, -0.126407],
        [-0.906156, 0.300649, 0.611363, -0.900104, 0.271208, 0.634178, -0.893033, 0.241461, 0.656276],
    ],
}


def formula(number, *shape):
    n = int(np.prod(shape))
    return (torch.sin(torch.arange(n, dtype=torch.float64) * 0.7 + number) * 0.4).reshape(shape).float()


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_equal_weights_give_the_scores_of_a_public_sasrec(norm):
    method = replace(
        zoo.SASREC, width=6, length=5, backbone=Attention(blocks=2, heads=2, norm=norm), entry=Entry(dropped="streams", scaled=True)
    )
    data = Dataset.in_memory("none", Interactions.of(np.zeros(1, int), np.ones(1, int), np.zeros(1, int)), 9)
    model = method.build(data).eval()
    with torch.no_grad():
        model.tables[0].table.weight[1:] = formula(1, 10, 6)[1:]
        model.time[0].table.weight[1:] = formula(2, 6, 6)[1:]
        for number, block in enumerate(model.backbones[0].blocks, 1):
            k = 10 * number
            block.query.weight[:], block.query.bias[:] = formula(k + 1, 6, 6), formula(k + 1.5, 6)
            block.key_value.weight[:] = torch.cat([formula(k + 2, 6, 6), formula(k + 3, 6, 6)])
            block.key_value.bias[:] = torch.cat([formula(k + 2.5, 6), formula(k + 3.5, 6)])
            block.output.weight[:], block.output.bias[:] = formula(k + 4, 6, 6), formula(k + 4.5, 6)
            block.inner.weight[:], block.inner.bias[:] = formula(k + 7, 6, 6), formula(k + 7.5, 6)
            block.outer.weight[:], block.outer.bias[:] = formula(k + 8, 6, 6), formula(k + 8.5, 6)
            for at, layer in ((5, block.attention_norm), (6, block.forward_norm)):
                layer.weight[:], layer.bias[:] = 1 + formula(k + at, 6), formula(k + at + 0.5, 6)
        last = model.backbones[0].norm
        last.weight[:], last.bias[:] = 1 + formula(3, 6), formula(3.5, 6)
    items = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    batch = history_batch(np.array([0, 0]), items, np.ones_like(items), np.array([2, 2]))
    torch.testing.assert_close(model.score(batch)[:, 1:].detach(), torch.tensor(PMIXER[norm]), atol=1e-5, rtol=1e-5)
