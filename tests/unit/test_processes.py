"""Several processes train one model: the same curve as one process with the same batches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import shrunk, small
from tests.together import jobs
from tmmsrec import zoo
from tmmsrec.checkpoint import read_tensors
from tmmsrec.data import store
from tmmsrec.data.ahead import ahead
from tmmsrec.data.batch import Pass, training_batches
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.processes import ALONE, Processes, asked_for
from tmmsrec.study.run import read_run, run

ROOT = Path(__file__).parents[2]
STILL = ["entry.dropout=0", "backbone.dropout=0", "time.dropout=0", "width=12"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    to = tmp_path_factory.mktemp("data") / "small"
    store.save(small(users=39), to)
    return to


def torchrun(processes: int, *command: object) -> list[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    return start + [str(word) for word in command]


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}


def do(command: list[str], status: int = 0) -> str:
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def together(folder, tmp_path_factory) -> Path:
    """All jobs by two processes."""
    runs = tmp_path_factory.mktemp("two")
    do(torchrun(2, "tests.together", folder, runs, *jobs()))
    return runs


@pytest.mark.parametrize("name", list(jobs()))
def test_two_processes_train_to_the_curve_of_one(name, folder, together, tmp_path):
    data, job = store.load(folder), jobs()[name]
    alone, two = run(job, data, tmp_path), read_run(together / job.key(data))
    assert two.about["processes"] == 2
    assert alone.about["processes"] == 1
    # bfloat16 has 8 bits, and sums of two shares round elsewhere than one sum does
    near = 2e-2 if job.training.bf16 else 5e-5
    for mine, theirs in zip(alone.history, two.history, strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=near)
        assert theirs["events"] == mine["events"]
        if not job.training.bf16:
            assert theirs["validation"] == pytest.approx(mine["validation"], abs=1e-9)
    if not job.training.bf16:
        np.testing.assert_array_equal(two.ranks, alone.ranks)
        weights = read_tensors(two.folder / "weights.safetensors")[0]
        for key, value in read_tensors(alone.folder / "weights.safetensors")[0].items():
            if key.endswith("key_value.bias"):
                continue  # softmax does not see what all keys have in common: its gradient is rounding, and Adam makes that large
            np.testing.assert_allclose(weights[key].float(), value.float(), rtol=1e-3, atol=1e-4, err_msg=key)
    assert not list(together.rglob("checkpoint.safetensors"))


@pytest.mark.slow
def test_a_killed_training_goes_on_with_another_number_of_processes(folder, tmp_path):
    """Three processes are killed on their way; two go on, are killed too, and one ends what they began."""
    fit = ["tmmsrec", "fit", "tmmsrec", folder, "--quiet", "--training", "epochs=80", "--training", "patience=80"]
    fit += ["--training", "batch=10", "--training", "every=20"]
    fit += [word for one in STILL for word in ("--set", one)]
    for processes in (3, 2):
        before = sum(1 for _ in _log(tmp_path / "killed"))
        going = subprocess.Popen(
            torchrun(processes, "tests.unit.hurried", *fit[1:], "--runs", tmp_path / "killed"),
            env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while sum(1 for _ in _log(tmp_path / "killed")) < before + 10 and going.poll() is None:
                time.sleep(0.02)
        finally:
            going.send_signal(signal.SIGKILL)
            going.wait()
            # What torchrun started are no children of this process.
            subprocess.run(["pkill", "-9", "-f", str(tmp_path / "killed")], check=False)
    assert not list((tmp_path / "killed").rglob("run.json")), "it was too quick to be killed"
    said = do([sys.executable, "-m", *map(str, fit), "--runs", str(tmp_path / "killed")])
    do([sys.executable, "-m", *map(str, fit), "--runs", str(tmp_path / "whole")])
    assert "run:" in said
    killed, whole = (read_run(next((tmp_path / name).rglob("run.json")).parent) for name in ("killed", "whole"))
    assert len(killed.history) == len(whole.history) == 80
    for mine, theirs in zip(whole.history[:40], killed.history[:40], strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-3)


def _log(runs: Path) -> list[str]:
    found = list(runs.rglob("log.jsonl"))
    return found[0].read_text().splitlines() if found else []


def test_only_the_first_speaks_and_other_verbs_are_refused(folder, tmp_path):
    fit = ["tmmsrec", "fit", "popularity", folder, "--runs", tmp_path]
    said = do(torchrun(2, *fit))
    assert said.count("test users, all") == 1
    assert json.loads(next(tmp_path.rglob("run.json")).read_text())["processes"] == 2
    said = do(torchrun(2, "tmmsrec", "audit", folder), status=1)
    assert "'audit' is done by one process: start it without torchrun, which is for" in said


def test_what_torchrun_says_must_make_sense(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(ValueError, match="WORLD_SIZE is 'many'"):
        asked_for()


def test_shares_laid_together_are_the_batch(folder):
    data = store.load(folder)
    train, how = LeaveOneOut().cut(data.interactions).train, jobs()["bce"].method.negatives
    sampler = Sampler(train, data.n_items, how)
    common = train, Pass(size=2, length=20), sampler
    whole = list(training_batches(*common, seed=(1, 2)))
    shares = [list(training_batches(*common, seed=(1, 2), share=Processes(rank, 3).share)) for rank in range(3)]
    assert any(not len(batch.users) for batch in shares[2])
    for number, batch in enumerate(whole):
        assert batch.events == int((batch.targets != 0).sum())
        for rank in range(3):
            share, width = shares[rank][number], shares[rank][number].items.shape[1]
            assert share.events == batch.events
            for name in ("items", "times", "now", "targets", "negatives"):
                np.testing.assert_array_equal(getattr(share, name), getattr(batch, name)[rank::3, :width])


@pytest.mark.parametrize(
    "method",
    [shrunk(zoo.VBPR, maps=0.1), shrunk(zoo.MAML), shrunk(zoo.MGAT, loss="sum"), shrunk(zoo.MGAT), shrunk(zoo.FREEDOM)],
    ids=["vbpr and maps", "maml", "mgat sum", "mgat", "freedom"],
)
def test_gradients_of_shares_sum_to_that_of_the_batch(method, folder):
    """Each share's loss by its number of targets, as processes do it: also where a part of a loss is no mean over targets."""
    data = store.load(folder)
    part = LeaveOneOut().cut(data.interactions).train
    torch.manual_seed(0)
    model = method.build(data).double().eval()
    model.prepare(part)
    sampler = Sampler(part, data.n_items, method.negatives)
    common = part, Pass(7, method.history, method.per), sampler
    whole = next(training_batches(*common, seed=(1,)))
    shares = [next(training_batches(*common, seed=(1,), share=Processes(rank, 3).share)) for rank in range(3)]
    parameters = [p for p in model.parameters() if p.requires_grad]

    def gradient(batch):
        found = torch.autograd.grad(model.loss(batch), parameters, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]

    expected, summed = gradient(whole), [torch.zeros_like(p) for p in parameters]
    for share in shares:
        for total, one in zip(summed, gradient(share), strict=True):
            total += one * len(share.asked) / whole.events
    for total, one in zip(summed, expected, strict=True):
        torch.testing.assert_close(total, one)


def test_a_process_on_its_own_talks_to_nobody():
    assert Processes.here() == ALONE
    assert ALONE.first
    assert ALONE.agree(7) == 7
    np.testing.assert_array_equal(ALONE.gather(np.arange(3.0), 3), np.arange(3.0))


def test_ahead_keeps_the_order_and_raises_in_its_place():
    def things():
        yield from range(5)
        raise FloatingPointError("here")

    made = ahead(things(), lambda n: n * 10)
    assert [next(made) for _ in range(5)] == [0, 10, 20, 30, 40]
    with pytest.raises(FloatingPointError, match="here"):
        next(made)


def test_ahead_stops_its_thread_when_nobody_asks_on():
    import threading

    going = ahead(iter(range(10**9)), lambda n: n)
    assert [next(going) for _ in range(3)] == [0, 1, 2]
    going.close()
    assert not [t for t in threading.enumerate() if t.name == "batches ahead"]
