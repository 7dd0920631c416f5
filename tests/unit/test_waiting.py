"""No step waits for its device: what would make a GPU be waited for is caught here, on a processor."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.conftest import shrunk, small
from tmmsrec import zoo
from tmmsrec.data.batch import Pass, training_batches
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.lesson import Lesson
from tmmsrec.loop import Loop
from tmmsrec.nn.losses import BCE, GBCE, CrossEntropy, InfoNCE, SampledSoftmax
from tmmsrec.training import Adam, Training

aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.unique_dim.default,
}


class NoWaiting(TorchDispatchMode):
    """Refuses operations whose result a program can only read, or whose size it can only know, when the device has come so far."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in WAITS, f"{func} waits for the device"
        if func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default):
            masks = [one for one in args[1] if one is not None and one.dtype == torch.bool]
            assert not masks, f"{func} by a mask waits for the device"
        return func(*args, **(kwargs or {}))


METHODS = {
    "sasrec": zoo.methods()["sasrec"],
    "tmmsrec": zoo.TMMSREC,
    "tmmsrec, complete": replace(zoo.TMMSREC, modalities=("id", "text")),
    "cross-entropy": replace(zoo.TMMSREC, loss=CrossEntropy()),
    "sampled softmax": replace(zoo.TMMSREC, loss=SampledSoftmax(negatives=8)),
    "gBCE": replace(zoo.TMMSREC, loss=GBCE(negatives=4)),
    "InfoNCE": replace(zoo.TMMSREC, loss=InfoNCE()),
    "gru4rec": zoo.methods()["gru4rec"],
    "tie asks now": zoo.methods()["tmmsrec-tie-now"],
    "rotary": zoo.methods()["tmmsrec-rotary"],
    "gap": zoo.methods()["tmmsrec-gap"],
    "vbpr": zoo.VBPR,
}


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", list(METHODS))
def test_a_step_does_not_wait(name, bf16):
    data, method = small(), shrunk(METHODS[name])
    part = LeaveOneOut().cut(data.interactions).train
    torch.manual_seed(0)
    model = method.build(data)
    model.prepare(part)
    model.observe(part)
    sampler = Sampler(part, data.n_items, method.negatives)
    how, cut = Training(optimiser=Adam(clip=1.0), bf16=bf16), Pass(8, method.history, method.per)
    loop = Loop(model, Lesson(model.loss, part, sampler, cut), None, how, 0)
    first, second = list(training_batches(part, cut, sampler, seed=(0,)))[:2]
    loop.step(first)
    with NoWaiting():
        loss = loop.step(second)
    assert torch.isfinite(loss)


def test_what_waits_is_caught():
    x = torch.arange(4.0)
    for wait in (lambda: float(x.sum()), lambda: x[x > 1], lambda: x.nonzero(), lambda: x.masked_select(x > 1)):
        with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
            wait()


def test_the_loss_is_a_mean_over_the_targets():
    """With one row each, the batch's loss is the rows' mean, counted by targets: what shares of a batch rest on."""
    data, method = small(), replace(shrunk(zoo.methods()["sasrec"]), loss=BCE())
    part = LeaveOneOut().cut(data.interactions).train
    model = method.build(data).eval()
    batch = next(training_batches(part, Pass(size=8, length=20), Sampler(part, data.n_items, method.negatives), seed=(0,)))
    rows = [batch.only(torch.tensor([n])) for n in range(len(batch.users))]
    with torch.no_grad():
        together = sum(model.loss(row) * len(row.asked) for row in rows) / batch.events
        torch.testing.assert_close(model.loss(batch), together)
