"""The estimate: exact where it can be, near the measured peak, and a refusal that says what to set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import all_methods, random_features, shrunk, small
from tmmsrec import machine, memory, zoo
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.nn.losses import BySize, CrossEntropy, SampledSoftmax
from tmmsrec.training import Adam, Training

GIB = 1 << 30


def size(tensors) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


@pytest.mark.parametrize("method", all_methods())
def test_what_is_kept_of_every_method_is_known_before_it_is_built(method):
    data = small(users=200, items=400)
    found, model = memory.need(method, data, Training()), method.build(data)
    kept, learned = size(model.state_dict().values()), size(p for p in model.parameters() if p.requires_grad)
    # S3-Rec marks items by words that stand in enough of them: how many do is no straight line.
    assert found.parameters == pytest.approx(kept, rel=0.02 if "S3Rec" in type(method).__name__ else 0)
    assert found.optimiser == pytest.approx(2 * learned, rel=0.02)
    assert (found.step > 0) == (found.gradients > 0) == model.trainable


def test_one_line_has_every_part():
    found = memory.Need(*(n * GIB for n in range(1, 11)))
    assert found.total == (1 + 2 + 3 + 4 + 5 + 6 + 8) * GIB + 10 * GIB
    assert found.said(24 * GIB) == (
        "memory: about 39.0 GiB of 24.0 GiB (so far 1.0, parameters 2.0, gradients 3.0, optimiser 4.0, best weights 5.0, "
        "features 6.0, the log 8.0, a step 9.0, ranking 10.0; features of 7.0 GiB stay on disk)"
    )


def large(items=400_000) -> Dataset:
    rng = np.random.default_rng(0)
    log = Interactions.of(np.repeat(np.arange(500), 6), rng.integers(1, items + 1, 3000), rng.integers(0, 10**8, 3000))
    return Dataset.in_memory("large", log, items)


def test_what_does_not_fit_is_refused_with_what_to_set(monkeypatch):
    data, method = large(), replace(zoo.SASREC, loss=CrossEntropy())
    parts = LeaveOneOut().cut(data.interactions)
    monkeypatch.setenv("TMMSREC_MEMORY", "1GiB")
    with pytest.raises(
        DataProblem, match=r"about \d\.\d GiB of 1\.0 GiB .* does not fit: set --training optimiser\.tables=rowwise"
    ) as no:
        fit(method, data, train=parts.train, valid=parts.valid)
    assert "--set loss=BySize" in str(no.value)
    assert "TMMSREC_MEMORY" in str(no.value)
    for enough in ("100GB", "unlimited"):
        monkeypatch.setenv("TMMSREC_MEMORY", enough)
        memory.check(method, data, Training())
    monkeypatch.setenv("TMMSREC_MEMORY", "9GiB")
    monkeypatch.setattr(memory, "need", None)
    memory.check(method, small(), Training())  # what is small is not looked at where there is room
    monkeypatch.undo()
    monkeypatch.setenv("TMMSREC_MEMORY", "1 MB")
    with pytest.raises(DataProblem, match="does not fit"):
        memory.check(method, small(), Training())
    monkeypatch.setenv("TMMSREC_MEMORY", "plenty")
    with pytest.raises(ValueError, match="'plenty' is no amount of memory"):
        machine.memory()


def test_stepping_by_rows_takes_the_optimiser_away_and_features_on_disk_are_no_part_of_the_sum():
    data = large().with_features(text=random_features(400_000, 8, 0))
    method = replace(zoo.SASREC, width=12, modalities=("id", "text"))
    whole, by_row = (memory.need(method, data, Training(optimiser=Adam(tables=t))) for t in ("whole", "rowwise"))
    table = 400_001 * 12 * 4
    assert whole.optimiser - by_row.optimiser == pytest.approx(2 * table - 400_001 * 4, rel=1e-3)
    assert whole.gradients - by_row.gradients == table
    assert (whole.stored, whole.features) == (0, pytest.approx(400_001 * 33, rel=1e-3))
    stay = data.with_features(text=replace(data.features["text"], held=False))
    on_disk = memory.need(method, stay, Training())
    assert on_disk.stored == data.features["text"].rows.nbytes
    assert on_disk.features == pytest.approx(400_001, rel=1e-3)  # which items have the modality
    content = memory.need(replace(method, modalities=("text",)), stay, Training())
    assert content.parameters < 1e6 < by_row.parameters


def test_a_loss_by_size_is_decided_and_told():
    data, method = large(3000), replace(shrunk(zoo.SASREC), loss=BySize(bound=2999))
    assert method.build(data).value.loss == SampledSoftmax(1024, "mixed")
    lines = memory.told(method, data, Training())
    assert lines[0].startswith("memory: about ")
    assert lines[1] == "loss: SampledSoftmax(negatives=1024, by='mixed', logq=True), for 3,000 items"
    assert len(memory.told(replace(method, loss=CrossEntropy()), data, Training())) == 1
    within = memory.told(shrunk(replace(zoo.TMMSREC_PLUS_SASREC, modalities=(), alike=None)), data, Training())
    assert within[1] == "loss: CrossEntropy(), for 3,000 items"  # of a sum of terms it is the network that has one
    parts = LeaveOneOut().cut(data.interactions)
    fitted = fit(method, data, train=parts.train, valid=parts.valid, training=Training(epochs=1))
    # Nothing is known yet: the estimated sum over all items is that of 3,000 equal scores.
    assert fitted.history[0]["loss"] == pytest.approx(np.log(3000), rel=0.02)


SCRIPT = """
import json, sys
from dataclasses import replace
from tests.unit.test_memory import large
from tmmsrec import memory, zoo
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.nn.losses import BySize, BCE
from tmmsrec.study.circumstances import peak_memory
from tmmsrec.training import Adam, Training

data = large(1_000_000)
parts = LeaveOneOut().cut(data.interactions)
valid = replace(parts.valid, users=parts.valid.users[:50])
loss, tables = {"dense": (BCE(), "whole"), "rows": (BySize(), "rowwise")}[sys.argv[1]]
method = replace(zoo.SASREC, width=66, loss=loss)
training = Training(epochs=2, rows=256, optimiser=Adam(tables=tables))
estimate = memory.need(method, data, training, len(valid)).total
fit(method, data, train=parts.train, valid=valid, training=training)
print(json.dumps([estimate, peak_memory() * (1 << 20)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["dense", "rows"])
def test_the_estimate_is_within_a_fifth_of_the_measured_peak(how):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path]), "OMP_NUM_THREADS": "1"}
    said = subprocess.run([sys.executable, "-c", SCRIPT, how], env=environment, capture_output=True, text=True, check=True).stdout
    estimate, peak = json.loads(said.splitlines()[-1])
    assert 0.8 < estimate / peak < 1.2
