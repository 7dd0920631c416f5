"""MMMLP against sheet 13 of the specification and the official code."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import small
from tests.golden.test_backbones import parameters, sized
from tmmsrec.data.batch import Batch, Pass, history_batch, training_batches
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.models.mmmlp import MMMLP, MMMLPModel
from tmmsrec.nn.losses import BPR, SampledSoftmax

SMALL = MMMLP(width=12, length=20)


def histories(*rows: list[int]) -> Batch:
    longest = max(map(len, rows))
    items = np.array([row + [0] * (longest - len(row)) for row in rows])
    return history_batch(np.arange(len(rows)), items, (items > 0) * 10**9, np.full(len(rows), 2 * 10**9))


def built(method: MMMLP, dataset: Dataset) -> MMMLPModel:
    torch.manual_seed(0)
    return method.build(dataset).eval()


def training_batch(method: MMMLP, dataset: Dataset) -> Batch:
    train = LeaveOneOut().cut(dataset.interactions).train
    sampler = Sampler(train, dataset.n_items, method.negatives)
    return next(iter(training_batches(train, Pass(size=64, length=20, per=method.per), sampler, seed=(0,))))


def test_parameters():
    assert parameters(MMMLP().build(sized(128))) == 610_766
    by_formula = 3 * (8 * 50**2 + 5 * 50 + 2 * 128 + 8 * 128**2 + 7 * 128) + 12 * 128 + 3 * 128**2 + 128 + 801 * 128
    assert by_formula == 610_766


def test_shared_depth_needs_no_more_weights_and_own_depth_does():
    data = sized(12)
    one, many = replace(SMALL, layers=1), replace(SMALL, layers=8, feature_layers=3)
    assert parameters(one.build(data)) == parameters(many.build(data))
    mixer = sum(p.numel() for p in SMALL.build(data).branches[0].mixers.parameters())
    own = replace(many, share_depth=False)
    assert parameters(own.build(data)) - parameters(one.build(data)) == (7 + 2 + 2) * mixer
    batch = histories([4, 8, 15])
    assert not torch.equal(built(one, data).users(batch), built(many, data).users(batch))


def test_features_change_what_is_asked_for_and_not_the_items():
    data = small()
    model = built(SMALL, data)
    other = Dataset.in_memory("other", data.interactions, data.n_items, {**data.features, "image": small(seed=5).features["text"]})
    changed = built(replace(SMALL, width=12), other)
    batch = histories([4, 8, 15])
    assert not torch.allclose(model.users(batch), changed.users(batch))
    assert torch.equal(model.items(), model.tables[0].table.weight)
    assert not model.items()[0].any()


def test_features_of_zeros_still_teach_the_item_rows():
    data = small()
    empty = {m: Features(np.zeros_like(f.rows), f.present) for m, f in data.features.items()}
    model = built(SMALL, Dataset.in_memory("zero", data.interactions, data.n_items, empty))
    model.loss(training_batch(SMALL, data)).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert model.tables[0].table.weight.grad[1:].any(1).all()
    assert not model.tables[0].table.weight.grad[0].any()


def test_an_item_without_a_modality_has_a_zero_vector_there():
    model = built(SMALL, small(missing=(3, 7)))
    vectors = model.tables[2](torch.tensor([3, 7, 0, 4]))
    assert not vectors[:3].any()
    assert vectors[3].any()
    assert model.score(histories([3, 7], [7])).isfinite().all()


def test_mixing_sees_later_steps_and_padding():
    """Why its rows are single events, and why n must stay what it was: the weights at padded steps are used too."""
    model = built(SMALL, small())
    mixer, x = model.branches[0].mixers[0], torch.randn(1, 20, 12)
    changed = x.clone()
    changed[:, 15] += torch.randn(12)
    assert (mixer(x) != mixer(changed)).any(-1)[0, :15].all()
    assert SMALL.per == "event"
    nn.init.ones_(mixer.tokens.norm.bias)
    model.users(histories([4, 8, 15])).square().sum().backward()
    assert mixer.tokens.inner.weight.grad[:, 3:].any()


def test_how_far_a_batch_is_padded_changes_nothing():
    model = built(SMALL, small())
    with torch.no_grad():
        for branch in model.branches:
            nn.init.ones_(branch.norm.bias)  # as training may leave it: padding is then no longer zero inside
    together = model.users(histories([4, 8], [1, 2, 3, 4, 5, 6, 7]))
    torch.testing.assert_close(together[:1], model.users(histories([4, 8])), atol=1e-5, rtol=1e-5)


def test_the_item_branchs_norm_is_applied_to_the_result():
    data = small()
    model = built(SMALL, data)
    users = model.users(histories([4, 8, 15], [1, 2]))
    torch.testing.assert_close(users.norm(dim=-1), torch.full((2,), math.sqrt(12)), atol=1e-3, rtol=0)
    nn.init.zeros_(model.branches[0].norm.weight)
    nn.init.ones_(model.branches[0].norm.bias)
    torch.testing.assert_close(model.users(histories([4, 8, 15])), torch.ones(1, 12))


def test_starts_as_in_the_official_code():
    model = built(MMMLP(), sized(128))
    table = model.tables[0].table.weight.detach()
    assert not table[0].any()
    assert float(table[1:].std()) == pytest.approx(0.02, rel=0.02)
    assert float(model.fusion[1].weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert not model.fusion[1].bias.any()
    assert built(MMMLP(), small()).tables[1].map.weight.shape == (128, 12)


@pytest.mark.parametrize(("loss", "negatives"), [(BPR(negatives=3), (3, 0)), (SampledSoftmax(16), (0, 16))])
def test_other_losses(loss, negatives):
    method, data = replace(SMALL, loss=loss), small()
    assert (method.negatives.per_step, method.negatives.shared) == negatives
    assert built(method, data).loss(training_batch(method, data)).isfinite()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"modalities": ("id", "text")}, "beside the item rows"),
        ({"modalities": ("text", "text")}, "distinct"),
        ({"layers": 0}, "needs a mixer"),
        ({"feature_layers": 0}, "needs a mixer"),
    ],
)
def test_values_that_make_no_sense_are_refused(fields, says):
    with pytest.raises(ValueError, match=says):
        MMMLP(**fields)


def test_a_missing_modality_is_named():
    data = small()
    only_text = Dataset.in_memory("bare", data.interactions, data.n_items, {"text": data.features["text"]})
    with pytest.raises(ValueError, match=r"bare has no 'image' features \(it has: text\); run 'tmmsrec extract'"):
        MMMLP().build(only_text)
    replace(SMALL, modalities=("text",)).build(only_text)


def test_same_numbers_as_the_official_code():
    """Applied-Machine-Learning-Lab/MMMLP d5dc757a, mmmlp.py, its forward on two histories padded to 50, in float64.

    Run with what its file lacks filled in: the library around it empty, features from a dictionary, no GPU, no unused picture
    encoder.  Equal weights, made by the formula below, differed by less than 2e-15.
    """
    index = np.arange(11 * 128)
    rows = {m: (0.5 * np.sin(0.11 * index + k)).reshape(11, 128).astype(np.float32) for k, m in enumerate(("text", "image"))}
    for matrix in rows.values():
        matrix[0] = 0
    log = Interactions.of(np.zeros(3, int), np.array([1, 2, 3]), np.arange(3))
    data = Dataset.in_memory("ten", log, 10, {m: Features(matrix, np.arange(11) > 0) for m, matrix in rows.items()})
    model = MMMLP().build(data).eval().double()
    with torch.no_grad():
        for number, (name, p) in enumerate(model.named_parameters()):
            k = torch.arange(p.numel(), dtype=torch.float64)
            if p.dim() > 1:
                p.copy_(torch.sin(0.7 * k + 0.013 * k * k + number + 1).view(p.shape) / math.sqrt(p.shape[-1]))
            else:
                p.copy_(0.1 * torch.sin(0.7 * k + number) + float("norm" in name and name.endswith("weight")))
        model.tables[0].table.weight[0] = 0
    users = model.users(histories([3, 1, 4, 1], [9, 2, 6, 5, 3, 10]))
    assert float(users.square().sum()) == pytest.approx(281.370847, abs=1e-4)
    assert users[0, :6].tolist() == pytest.approx([0.464399, -0.014527, -1.000549, 0.083451, -1.234027, -0.897107], abs=1e-5)
    assert users[1, :6].tolist() == pytest.approx([1.341123, 1.004936, -0.712221, 0.347141, -1.30397, -0.924011], abs=1e-5)
    scores = (users @ model.items().T)[:, 1:5]
    assert scores[0].tolist() == pytest.approx([-0.07442, 0.77117, -0.88725, 0.65136], abs=2e-5)
