"""The paths of a GPU where there is none: on a device that is not there (``tests/elsewhere.py``), and through torch.compile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import shrunk, small
from tmmsrec import zoo
from tmmsrec.data.batch import Pass, training_batches
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.nn.losses import CrossEntropy, SampledSoftmax

#: Each device has a GRU of its own in torch, cuDNN's or MIOpen's, and none that could be computed for it.
GRUS = {"gru4rec", "tmmsrec-gru4rec"}
MIXED = """
from tests.elsewhere import ELSEWHERE, Elsewhere
import torch
with Elsewhere():
    x = torch.arange(6.0, device=ELSEWHERE).view(2, 3).requires_grad_()
    (x * x).sum().backward()
    assert x.grad.device == ELSEWHERE and x.grad.tolist() == [[0, 2, 4], [6, 8, 10]]
    for wrong in (lambda: x + torch.ones(2, 3), lambda: x.detach().numpy(), lambda: torch.cat([x, torch.ones(1, 3)])):
        try:
            wrong()
        except (RuntimeError, TypeError):
            continue
        raise SystemExit("nobody minded")
print("refused")
"""


def alone(*args: str) -> str:
    where = Path(__file__).parents[2]
    way = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(where), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-W", "ignore", *args], cwd=where, env=way, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().splitlines()[-1]


def test_what_is_mixed_is_refused_there():
    assert alone("-c", MIXED) == "refused"


def test_every_method_trains_ranks_and_answers_there():
    found = json.loads(alone("-m", "tests.trying_elsewhere"))
    assert set(zoo.methods()) <= set(found)
    assert {name: what for name, what in found.items() if what and name not in GRUS} == {}
    assert all("gru" in found[name] for name in GRUS)


@pytest.mark.parametrize("loss", [zoo.TMMSREC.loss, CrossEntropy(), SampledSoftmax(negatives=8)], ids=["bce", "softmax", "sampled"])
@pytest.mark.parametrize("name", ["sasrec", "tmmsrec"])
def test_a_compiled_step_is_one_graph(name, loss):
    """Between two graphs torch goes back to Python, and what lies on either side is not fused."""
    data, method = small(), replace(shrunk(zoo.methods()[name]), loss=loss)
    part = LeaveOneOut().cut(data.interactions).train
    sampler = Sampler(part, data.n_items, method.negatives)
    batch = next(training_batches(part, Pass(size=8, length=20), sampler, seed=(0,)))
    torch._dynamo.reset()
    told = torch._dynamo.explain(method.build(data).loss)(batch)
    assert told.graph_count == 1, [str(one.reason) for one in told.break_reasons]
