"""Tables stepped by rows: by hand, against a dense gradient, and no further than what a batch reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import shrunk, small
from tmmsrec import values, zoo
from tmmsrec.data.batch import Pass, training_batches
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.nn.losses import BCE, CrossEntropy, SampledSoftmax
from tmmsrec.optimiser import clip, optimiser
from tmmsrec.training import Adam, Training

BY_ROW = Adam(lr=0.1, tables="rowwise")


def built(loss=None, name="sasrec"):
    data = small(items=200)
    part = LeaveOneOut().cut(data.interactions).train
    torch.manual_seed(0)
    method = replace(shrunk(zoo.methods()[name]), loss=loss or BCE())
    model = method.build(data)
    sampler = Sampler(part, 200, method.negatives)
    batches = training_batches(part, Pass(size=6, length=20), sampler, seed=(0, 0))
    return model, list(batches)


def test_two_steps_by_hand():
    model, _ = built()
    table = model.tables[0].table.weight
    steps, before = optimiser(model, replace(BY_ROW, weight_decay=0.5)), table.detach().clone()
    row, slopes = before[3].clone(), [torch.linspace(-1, 2, 12), torch.linspace(0, 1, 12)]
    squares = 0.0
    for slope in slopes:
        steps.zero_grad()
        model.tables[0](torch.tensor([3, 3, 0])).mul(slope / 2).sum().backward()  # read twice: the halves add up
        assert table.grad.is_sparse
        steps.step()
        whole = slope + 0.5 * row
        squares += float(whole.square().mean())
        row = row - 0.1 * whole / (squares**0.5 + 1e-8)
    assert torch.allclose(table[3], row, atol=1e-6)
    others = torch.arange(201) != 3
    assert torch.equal(table[others], before[others])
    assert steps.state[table]["squares"].shape == (201,)
    assert torch.equal(steps.state[table]["squares"].nonzero()[:, 0], torch.tensor([3]))


@pytest.mark.parametrize("loss", [BCE(), SampledSoftmax(20), SampledSoftmax(20, "mixed")])
def test_only_rows_that_a_batch_reads_are_moved(loss):
    model, batches = built(loss)
    steps, table, batch = optimiser(model, BY_ROW), model.tables[0].table.weight, batches[0]
    before = table.detach().clone()
    model.loss(batch).backward()
    steps.step()
    read = torch.cat([batch.items.flatten(), batch.targets.flatten(), batch.negatives.flatten()]).unique()
    moved = (table != before).any(1).nonzero()[:, 0]
    assert len(moved) < 150
    assert set(moved.tolist()) <= set(read.tolist()) - {0}
    assert table.grad.is_sparse


@pytest.mark.parametrize("method", ["sasrec", "tmmsrec-mlp"])
def test_a_sparse_gradient_steps_as_the_same_dense_one(method):
    found = []
    for sparse in (True, False):
        model, batches = built(name=method)
        steps = optimiser(model, BY_ROW)
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                module.sparse &= sparse
        for batch in batches[:3]:
            torch.manual_seed(1)
            steps.zero_grad()
            model.loss(batch).backward()
            clip(list(model.parameters()), 0.01)
            steps.step()
        found.append(model.state_dict())
    for name in found[0]:
        one, other = (state[name] for state in found)
        if name.endswith("key_value.bias"):  # softmax does not see the keys' bias: its slope is rounding, which Adam makes steps of
            one, other = (bias[len(bias) // 2 :] for bias in (one, other))
        assert torch.allclose(one, other, atol=2e-6), name


def test_gradients_are_clipped_to_the_norm_of_what_adds_up():
    model, batches = built()
    optimiser(model, BY_ROW)
    model.loss(batches[0]).backward()
    clip(list(model.parameters()), 0.01)
    dense = [p.grad.to_dense() for p in model.parameters() if p.grad is not None]
    assert float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in dense]))) == pytest.approx(0.01, rel=1e-3)


def test_a_loss_over_all_items_is_learned_too():
    data = small(users=60)
    parts = LeaveOneOut().cut(data.interactions)
    method = replace(shrunk(zoo.SASREC), loss=CrossEntropy())
    training = Training(epochs=8, batch=16, optimiser=Adam(lr=0.02, tables="rowwise"))
    losses = [r["loss"] for r in fit(method, data, train=parts.train, valid=parts.valid, training=training).history]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_the_choice_is_no_part_of_older_keys():
    """Runs that were done before there was a choice are found again."""
    assert "tables" not in values.canonical(Adam())
    assert '"tables":"rowwise"' in values.canonical(Adam(tables="rowwise"))
    assert values.change(Training(), "optimiser.tables", "rowwise").optimiser.tables == "rowwise"
