"""The training loop: resuming after kill -9, early stopping, guards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import DAY, random_features, shrunk, small
from tmmsrec import zoo
from tmmsrec.checkpoint import read_tensors
from tmmsrec.data.catalog import Features
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut, Part
from tmmsrec.fit import fit
from tmmsrec.models.sequential import Entry
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.losses import CrossEntropy, SampledSoftmax
from tmmsrec.nn.time import TIE
from tmmsrec.training import Adam, Training

METHOD = replace(zoo.TMMSREC, width=12, time=TIE(dropout=0.2))


@pytest.fixture
def data():
    return small(users=60)


def train(data, folder=None, method=METHOD, watch=None, seed=0, **how):
    parts = LeaveOneOut().cut(data.interactions)
    training = Training(**{"epochs": 6, "batch": 8, **how})
    return fit(method, data, train=parts.train, valid=parts.valid, training=training, folder=folder, watch=watch, seed=seed)


def same_weights(one, other):
    pairs = zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for (_, a), b in pairs)


SCRIPT = """
import sys
from pathlib import Path
from tests.unit.test_fit import train, small
import tmmsrec.checkpoint as checkpoint
import tmmsrec.loop as loop

slow = loop.Loop.step
def step(self, batch):  # time for the killer to strike anywhere
    import time; time.sleep(0.01)
    return slow(self, batch)
loop.Loop.step = step
due = checkpoint.Saver.__init__
checkpoint.Saver.__init__ = lambda self, folder, job: due(self, folder, job, interval=0.0)
tell = checkpoint.Saver.save_if_due
def always(self, *args): self._due = 0; tell(self, *args)
checkpoint.Saver.save_if_due = always
train(small(users=60), Path(sys.argv[1]))
print("done")
"""


def test_killed_at_any_moment_it_ends_with_the_same_weights(data, tmp_path):
    """kill -9 again and again at different moments, then the same command to the end."""
    straight = train(data)
    script = tmp_path / "go.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path]),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    folder, kills = tmp_path / "job", 0
    for wait in (0.05, 0.3, 0.0, 0.45):
        process = subprocess.Popen([sys.executable, str(script), str(folder)], env=environment, stdout=subprocess.PIPE)
        deadline = time.time() + 60
        before = (folder / "checkpoint.safetensors").stat().st_mtime_ns if kills else 0
        while process.poll() is None and time.time() < deadline:
            file = folder / "checkpoint.safetensors"
            if file.exists() and file.stat().st_mtime_ns != before:
                time.sleep(wait)
                break
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        process.stdout.close()
    assert kills >= 2, "the training was over before it could be killed"
    resumed = train(data, folder)
    assert same_weights(straight, resumed)
    assert straight.best == resumed.best
    assert [r["loss"] for r in straight.history] == [r["loss"] for r in resumed.history]
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in lines] == list(range(len(straight.history)))


class Killed(BaseException):
    pass


BY_ROW = {"optimiser": Adam(tables="rowwise", clip=1.0)}


@pytest.mark.parametrize(
    ("after", "how"), [(1, {}), (4, {}), (7, {}), (11, {}), (1, BY_ROW), (4, BY_ROW), (11, BY_ROW)], ids=lambda v: str(v)[:12]
)
def test_stopped_after_any_step_it_goes_on_bit_for_bit(data, tmp_path, after, how, monkeypatch):
    """The same, step by step: stopped in the middle of an epoch, with every step checkpointed."""
    stopped_and_taken_up(data, tmp_path, after, monkeypatch, **how)


def test_distances_of_neighbours_are_measured_anew_when_it_goes_on(tmp_path, monkeypatch):
    """They are not saved; and the only event that is read of a person gets the same ones as all items measured together."""
    at = np.random.default_rng(0)
    log = Interactions.of(np.repeat(np.arange(24), 4), at.integers(1, 31, 96), at.integers(10_000, 18_000, 96) * DAY)
    features = {"text": random_features(30, 128, 1), "image": random_features(30, 64, 2)}
    for one in features.values():
        one.rows[1::2] += 4 * one.rows[2::2]  # each has one that is all but the same
    wide = replace(small(users=24), interactions=log).with_features(**features)
    stopped_and_taken_up(wide, tmp_path, 1, monkeypatch, method=replace(zoo.TMMSREC_PLUS, length=20), batch=1, epochs=2)


def stopped_and_taken_up(data, tmp_path, after, monkeypatch, **how):
    from tmmsrec import checkpoint, loop
    from tmmsrec import fit as fitting

    straight = train(data, **how)
    real, steps = loop.Loop.step, []

    def counted(self, batch):
        if len(steps) == after:
            saver.save(self.state, self.model, self.optimiser)
            raise Killed
        steps.append(1)
        return real(self, batch)

    saver = None

    class Caught(checkpoint.Saver):
        def __init__(self, *args):
            nonlocal saver
            super().__init__(*args)
            saver = self

    monkeypatch.setattr(fitting, "Saver", Caught)
    monkeypatch.setattr(loop.Loop, "step", counted)
    with pytest.raises(Killed):
        train(data, tmp_path, **how)
    monkeypatch.undo()
    resumed = train(data, tmp_path, **how)
    assert same_weights(straight, resumed)
    assert [r["loss"] for r in straight.history] == [r["loss"] for r in resumed.history]


def test_a_finished_training_is_not_done_again(data, tmp_path, monkeypatch):
    from tmmsrec import loop

    first = train(data, tmp_path)
    monkeypatch.setattr(loop.Loop, "step", lambda *_: pytest.fail("trained again"))
    assert same_weights(first, train(data, tmp_path))


def test_another_jobs_checkpoint_is_refused(data, tmp_path):
    train(data, tmp_path, epochs=1)
    with pytest.raises(DataProblem, match="another training"):
        train(data, tmp_path, epochs=2)


def test_a_damaged_checkpoint_is_named(data, tmp_path):
    train(data, tmp_path, epochs=1)
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataProblem, match=r"checkpoint\.safetensors is damaged"):
        train(data, tmp_path, epochs=1)


def test_a_full_disk_leaves_the_last_good_checkpoint(data, tmp_path, monkeypatch):
    from tmmsrec import checkpoint

    train(data, tmp_path, epochs=1)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()

    def full(tensors, name, metadata=None):
        with open(name, "wb") as out:
            out.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        train(data, tmp_path, epochs=1)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.safetensors", "log.jsonl"]


def test_the_test_part_cannot_be_handed_in(data):
    parts = LeaveOneOut().cut(data.interactions)
    with pytest.raises(ValueError, match="got 'train' and 'test'"):
        fit(METHOD, data, train=parts.train, valid=parts.test)


def test_stops_when_patience_runs_out_and_keeps_the_best(data):
    fitted = train(data, epochs=60, patience=3)
    values = [r["validation"] for r in fitted.history]
    assert fitted.best == max(values) == values[fitted.best_epoch]
    assert len(values) == min(60, fitted.best_epoch + 1 + 3)
    from tmmsrec.metrics import NDCG
    from tmmsrec.ranking import rank

    again = rank(fitted.model, LeaveOneOut().cut(data.interactions).valid, history=50)
    assert (NDCG @ 10)(again.ranks).mean() == pytest.approx(fitted.best, abs=1e-9)


def test_watchers_hear_each_epoch(data):
    heard = []
    fitted = train(data, watch=heard.append, epochs=3)
    ends = [p for p in heard if p.validation is not None]
    assert [p.epoch for p in ends] == [0, 1, 2]
    assert ends[-1].left == 0
    assert all(p.events_per_second > 0 for p in ends)
    assert ends[-1].loss == fitted.history[-1]["loss"]


def test_a_loss_that_is_not_finite_is_said(data):
    rows = np.array(data.features["text"].rows)
    rows[1:] = 3e38
    broken = replace(
        data, catalog=replace(data.catalog, features={**data.features, "text": Features(rows, data.features["text"].present)})
    )
    with pytest.raises(FloatingPointError, match="epoch 0"):
        train(broken)


def test_clipping_bf16_and_other_losses_train(data):
    calm = replace(METHOD, entry=Entry(dropout=0.0), backbone=Attention(dropout=0.0), loss=CrossEntropy())
    for how in ({"optimiser": Adam(clip=0.5)}, {"bf16": True}):
        losses = [r["loss"] for r in train(data, method=calm, **how).history]
        assert np.isfinite(losses).all()
        assert losses[-1] < losses[0]
    for loss in (SampledSoftmax(16), SampledSoftmax(16, by="popularity")):
        losses = [r["loss"] for r in train(data, method=replace(calm, loss=loss)).history]
        assert losses[-1] < losses[0]


def test_the_callers_random_state_is_left_alone(data):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(data, epochs=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("field", ["epochs", "rows", "batch", "patience", "every"])
def test_training_refuses_nonsense(field):
    with pytest.raises(ValueError, match=field):
        Training(**{field: 0})


def test_patience_must_outlast_the_next_validation():
    with pytest.raises(ValueError, match="every=10"):
        Training(patience=9, every=10)


def test_a_metric_that_cannot_be_used_is_refused_before_anything_is_trained():
    with pytest.raises(ValueError, match="like HR@10"):
        Training(metric="HR")


def test_an_epoch_has_so_many_rows_at_the_most(data):
    """17 rows in batches of 8 are three steps; more rows than there are is all of them."""
    whole = train(data, epochs=2).history
    share = train(data, epochs=2, rows=17).history
    assert [r["events"] for r in train(data, epochs=2, rows=10**6).history] == [r["events"] for r in whole]
    assert all(r["events"] < w["events"] for r, w in zip(share, whole, strict=True))
    assert share[0]["events"] != share[1]["events"] or share[0]["loss"] != share[1]["loss"]


def test_checkpoints_hold_no_features(data, tmp_path):
    """Frozen features are data; they are not written again with every checkpoint."""
    train(data, tmp_path, epochs=1)
    tensors, _ = read_tensors(tmp_path / "checkpoint.safetensors")
    assert not [name for name in tensors if "features" in name or "present" in name]


@pytest.mark.slow
def test_compiled_training_gives_the_same_curve(data):
    method = replace(zoo.SASREC, width=6, backbone=Attention(blocks=1, dropout=0.0), entry=Entry(dropout=0.0))
    plain = train(data, method=method, epochs=1).history
    try:
        compiled = train(data, method=method, epochs=1, compile=True).history
    except Exception as problem:  # a machine without a compiler for torch's CPU code
        if "compiler" in str(problem).lower() or "InvalidCxxCompiler" in type(problem).__name__:
            pytest.skip(f"torch.compile does not work here: {problem}")
        raise
    assert compiled[0]["loss"] == pytest.approx(plain[0]["loss"], rel=1e-4)


def test_refit_learns_the_validation_events_too_for_as_many_epochs(data, tmp_path):
    """Equal to training by hand on a part with the validation targets in it; the test items still change nothing."""
    how = {"epochs": 5, "patience": 5}
    plain, again = train(data, **how), train(data, tmp_path / "job", refit=True, **how)
    assert (plain.refit, again.refit) == (False, True)
    assert (again.best, again.best_epoch, len(again.history)) == (plain.best, plain.best_epoch, len(plain.history))
    assert not same_weights(plain, again)
    log = data.interactions
    shorter = replace(data, interactions=Interactions.of(*_without_last(log), log.users))
    grown = Part("train", shorter.interactions, shorter.interactions.lengths, np.flatnonzero(shorter.interactions.lengths >= 2))
    valid = LeaveOneOut().cut(log).valid  # watched in vain: every epoch is run
    training = Training(epochs=plain.best_epoch + 1, batch=8, every=plain.best_epoch + 1)
    by_hand = fit(METHOD, shorter, train=grown, valid=replace(valid, interactions=log), training=training)
    assert same_weights(again, by_hand)


def _without_last(log):
    kept = np.ones(len(log), dtype=bool)
    kept[log.offsets[1:] - 1] = False
    return log.owners[kept], log.items[kept], log.times[kept]


def test_a_refit_that_was_stopped_goes_on(data, tmp_path, monkeypatch):
    from tmmsrec import loop

    how = {"epochs": 3, "refit": True}
    straight, real, steps = train(data, **how), loop.Loop.step, []

    def counted(self, batch):
        if self.valid is None and len(steps) == 3:
            raise Killed
        steps.extend([0] if self.valid is None else [])
        return real(self, batch)

    monkeypatch.setattr(loop.Loop, "step", counted)
    with pytest.raises(Killed):
        train(data, tmp_path / "job", **how)
    monkeypatch.setattr(loop.Loop, "step", real)
    assert same_weights(straight, train(data, tmp_path / "job", **how))


def test_pretraining_can_take_a_share_of_the_rows(data, tmp_path):
    method = replace(zoo.S3REC, width=12, length=10, pretraining_epochs=2, pretraining_rows=11)
    train(data, tmp_path / "share", method=method, epochs=1)
    train(data, tmp_path / "whole", method=replace(method, pretraining_rows=None), epochs=1)
    share, whole = (
        [json.loads(line)["events"] for line in (tmp_path / n / "pretraining" / "log.jsonl").read_text().splitlines()]
        for n in ("share", "whole")
    )
    assert share == [11, 11]
    assert whole[0] == whole[1] > 11
    with pytest.raises(ValueError, match="pretraining_rows"):
        replace(method, pretraining_rows=0)


@pytest.mark.parametrize("name", ["tmmsrec", "tmmsrec-plus"])
def test_what_validation_may_read_is_not_learned_from(data, name):
    """A validation part whose histories go further than training does leaves every epoch what it was."""
    method, log = shrunk(zoo.methods()[name]), data.interactions
    parts = LeaveOneOut().cut(log)
    further = Part("valid", log, parts.test.stop, parts.test.users)
    training = Training(epochs=4, batch=8, optimiser=Adam(lr=0.02))
    near, far = (fit(method, data, train=parts.train, valid=v, training=training) for v in (parts.valid, further))
    assert [one["loss"] for one in near.history] == [one["loss"] for one in far.history]
    assert far.best_epoch >= 0
