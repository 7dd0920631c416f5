"""Tuning: what may be tried is legal, validation alone decides, and a tuning that was killed ends like one that was not."""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import small
from tmmsrec import checkpoint, loop, zoo
from tmmsrec.cli import app
from tmmsrec.data import store
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem
from tmmsrec.space import Axis, Choice, Option, Range
from tmmsrec.study import run as running
from tmmsrec.study.claim import claim
from tmmsrec.study.run import read_run
from tmmsrec.study.trials import budgets, cost, every_trial, page
from tmmsrec.study.tune import tune
from tmmsrec.study.tuning import Tuned, Tuning
from tmmsrec.values import ValueProblem

TRAINED = [name for name in zoo.methods() if name not in zoo.FLOORS]
SETS, TRAININGS = ("width=12", "length=10"), ("epochs=4", "batch=16")
LITTLE = Tuning("sasrec", SETS, TRAININGS, trials=5)
STEPS = 3  # of an epoch: 38 users to learn from, in batches of 16
SMALL = [word for c in SETS for word in ("--set", c)] + [word for c in TRAININGS for word in ("--training", c)]

# The command line, which stands still for ever after so many steps, and saves a checkpoint after every epoch.
HELD = """
import sys, time
from tmmsrec import checkpoint, loop
from tmmsrec.cli import app

step, left = loop.Loop.step, [int(sys.argv.pop(1))]

def counted(self, batch):
    if left[0] == 0:
        print("held", flush=True)
        time.sleep(3600)
    left[0] -= 1
    return step(self, batch)

loop.Loop.step = counted
checkpoint.Saver.save_if_due = checkpoint.Saver.save
app()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return store.save(small(users=50), tmp_path_factory.mktemp("tune") / "data")


@pytest.fixture(scope="module")
def done(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuned, Path]:
    """Five trials, not interrupted."""
    out = tmp_path_factory.mktemp("done")
    return tune(LITTLE, data, out), out


def without_costs(tuned: Tuned) -> list[Any]:
    return [replace(trial, seconds=0.0) for trial in tuned.trials]


def call(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


# Spaces


def ends(axis: Axis) -> tuple[Option, ...]:
    return (axis.lo, axis.hi) if isinstance(axis, Range) else axis.of


def drawn(axis: Axis, rng: np.random.Generator) -> Option:
    if isinstance(axis, Choice):
        return axis.of[rng.integers(len(axis.of))]
    if axis.log:
        return float(np.exp(rng.uniform(np.log(axis.lo), np.log(axis.hi))))
    return axis.lo + axis.step * float(rng.integers(round((axis.hi - axis.lo) / axis.step) + 1))


@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_method_has_a_space_in_which_every_point_is_legal(name: str, dataset: Dataset) -> None:
    tuning, rng = Tuning(name), np.random.default_rng(0)
    space = tuning.space
    assert space == zoo.space(name, tuning.method, tuning.training), "the zoo's own value must be one of those to search"
    assert isinstance(space["training.optimiser.lr"], Range)
    assert tuning.changes(tuning.own) == ()
    lowest, highest = ({path: ends(axis)[at] for path, axis in space.items()} for at in (0, -1))
    edges = [{**tuning.own, path: option} for path, axis in space.items() for option in ends(axis)]
    points = [tuning.own, lowest, highest, *edges, *({path: drawn(a, rng) for path, a in space.items()} for _ in range(20))]
    jobs = [tuning.job(tuning.changes(point)) for point in points]
    assert jobs[0].method == zoo.methods()[name]
    assert jobs[0].training == zoo.training(name)
    assert len(set(jobs[3:])) > len(edges)
    narrow = {path: option for path, option in lowest.items() if path.endswith("width")}
    for point in (lowest, {**highest, **narrow}):  # sessions that do not divide a length are refused only now
        tuning.job(tuning.changes(point)).method.build(dataset)


@pytest.mark.parametrize("name", zoo.FLOORS)
def test_floors_have_none(name: str) -> None:
    with pytest.raises(ValueProblem, match="nothing to tune"):
        Tuning(name)


def test_what_was_given_is_not_searched() -> None:
    searched = set(Tuning("sasrec").space)
    assert {"width", "loss", "backbone.blocks", "entry.dropout", "training.optimiser.decay"} < searched
    assert searched - set(Tuning("sasrec", ("width=66",)).space) == {"width"}
    assert searched - set(Tuning("sasrec", ("width=12",)).space) == {"width"}
    assert searched - set(Tuning("sasrec", ("loss.negatives=5",)).space) == {"loss"}
    assert searched - set(Tuning("sasrec", (), ("optimiser.lr=0.01", "epochs=3")).space) == {"training.optimiser.lr"}
    assert "backbone.layers" in Tuning("sasrec", ("backbone=GRU4Rec",)).space
    given = Tuning("sasrec", ('backbone={"kind": "GRU4Rec", "layers": 1}',)).space
    assert not any(path.startswith("backbone.") for path in given)
    with pytest.raises(ValueProblem, match="did you mean 'sasrec'"):
        Tuning("sasrek")
    with pytest.raises(ValueProblem, match="at least one trial"):
        Tuning("sasrec", trials=0)


def test_ranges_and_choices_refuse_what_they_cannot_be() -> None:
    assert Range(0.0, 0.8, step=0.1).holds(0.30000000000000004)
    assert not Range(0.0, 0.8, step=0.1).holds(0.25)
    assert not Range(1e-4, 1e-2, log=True).holds(0.1)
    for wrong in (lambda: Range(1.0, 1.0), lambda: Range(0.0, 1.0, log=True), lambda: Range(0, 1, step=-1)):
        with pytest.raises(ValueError, match="a Range goes from"):
            wrong()
    with pytest.raises(ValueError, match="two different values"):
        Choice((1, 1))


# What is done


def test_the_first_trial_is_the_method_as_it_is_and_the_best_is_the_best(done: tuple[Tuned, Path]) -> None:
    tuned, _ = done
    assert len(tuned.trials) == 5
    assert tuned.trials[0].changes == ()
    assert tuned.best.value == max(trial.value for trial in tuned.trials) >= tuned.trials[0].value
    assert len({trial.run for trial in tuned.trials}) == 5


def test_each_trial_is_a_run_that_has_not_opened_the_test_part(done: tuple[Tuned, Path]) -> None:
    tuned, out = done
    runs = {file.parent.name: read_run(file.parent) for file in (out / "runs").glob("*/run.json")}
    assert set(runs) == {trial.run for trial in tuned.trials}
    for trial in tuned.trials:
        one = runs[trial.run]
        assert not one.tested
        assert one.job == tuned.tuning.job(trial.changes)
        assert (one.about["fit"]["best"], len(one.history)) == (trial.value, trial.epochs)


def test_the_test_items_change_nothing(done: tuple[Tuned, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned, _ = done
    log = tuned.dataset.interactions
    items = log.items.copy()
    items[log.offsets[1:] - 1] = np.random.default_rng(1).permutation(items[log.offsets[1:] - 1])
    assert (items != log.items).any()
    swapped = replace(tuned.dataset, interactions=Interactions(log.offsets, items, log.times))
    assert swapped.fingerprint != tuned.dataset.fingerprint
    monkeypatch.setattr(running, "_test", lambda *_: pytest.fail("the test part was opened"))
    again = tune(LITTLE, swapped, tmp_path)
    assert [replace(trial, run="") for trial in without_costs(again)] == [replace(trial, run="") for trial in without_costs(tuned)]


def test_the_budget_counts_all_trials_not_those_of_a_call(done: tuple[Tuned, Path], data: Dataset, tmp_path: Path) -> None:
    tuned, out = done
    shutil.copytree(out / "runs", tmp_path / "runs")
    three = tune(replace(LITTLE, trials=3), data, tmp_path)
    assert without_costs(three) == without_costs(tuned)[:3]
    five = tune(LITTLE, data, tmp_path)
    assert without_costs(five) == without_costs(tuned)
    assert five.trials[:3] == three.trials
    assert tune(replace(LITTLE, trials=2), data, tmp_path).trials == three.trials[:2]
    assert [t.changes for t in tune(replace(LITTLE, seed=1, trials=2), data, tmp_path).trials][1] != tuned.trials[1].changes
    assert len(list((tmp_path / "trials").iterdir())) == 2
    with claim(next((out / "trials").iterdir())), pytest.raises(DataProblem, match="another process"):
        tune(LITTLE, data, out)


def test_killed_within_an_epoch_the_command_goes_on_and_ends_alike(
    done: tuple[Tuned, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned, straight = done
    arguments = ["tune", "sasrec", str(tuned.dataset.folder), "--trials", "5", "--out", str(tmp_path), *SMALL]
    (tmp_path / "held.py").write_text(HELD)
    before = 2 * 4 * STEPS + STEPS + 2  # within the second epoch of the third trial
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tmp_path / "held.py"), str(before), *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.wait()
    journal = next(tmp_path.glob("trials/*/journal.jsonl"))
    with journal.open("a") as file:
        file.write('{"op_code":7,"wor')
    assert len(list(tmp_path.glob("runs/*/run.json"))) == 2
    assert len(list(tmp_path.glob("runs/*/checkpoint.safetensors"))) == 1
    step, steps = loop.Loop.step, []
    monkeypatch.setattr(loop.Loop, "step", lambda self, batch: steps.append(1) or step(self, batch))
    call(*arguments)
    assert len(steps) == 5 * 4 * STEPS - (before - 2)  # its first epoch is not done again
    once, again = (list(csv.DictReader(every_trial(tuned).splitlines())), list(csv.DictReader((tmp_path / "sasrec.csv").open())))
    assert [{**row, "seconds": ""} for row in again] == [{**row, "seconds": ""} for row in once]
    assert {p.parent.name for p in tmp_path.glob("runs/*/run.json")} == {p.parent.name for p in straight.glob("runs/*/run.json")}
    assert len(list((tmp_path / "runs").iterdir())) == 5
    assert not list(tmp_path.glob("runs/*/checkpoint.safetensors"))


class Killed(BaseException):
    pass


def test_killed_after_any_line_of_the_journal_it_ends_alike(
    done: tuple[Tuned, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.storages.journal import JournalFileBackend

    tuned, out = done
    append, left = JournalFileBackend.append_logs, [0]

    def appended(self: Any, logs: Any) -> None:
        append(self, logs)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(JournalFileBackend, "append_logs", appended)
    shutil.copytree(out / "runs", tmp_path / "runs")  # so that nothing is trained
    asked, at, killed = replace(LITTLE, trials=2), 0, 1
    while killed:  # at the first line, at the second, ... until it ends without
        at, killed, left[0] = at + 1, 0, at + 1
        shutil.rmtree(tmp_path / "trials", ignore_errors=True)
        try:
            tune(asked, tuned.dataset, tmp_path)
        except Killed:
            killed = 1
            assert without_costs(tune(asked, tuned.dataset, tmp_path)) == without_costs(tuned)[:2]
    assert at > 25


# Trials that end early


def test_trials_that_others_left_behind_are_stopped_and_counted(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init, begun = loop.Loop.__init__, []

    def hopeless(self: Any, *arguments: Any) -> None:
        """From the sixth training on, every other one ranks nobody's item in time."""
        init(self, *arguments)
        begun.append(self)
        if len(begun) in (6, 8):
            metric = self.valid.metric
            self.valid = replace(self.valid, metric=lambda ranks: 0 * metric(ranks))

    monkeypatch.setattr(loop.Loop, "__init__", hopeless)
    monkeypatch.setattr(checkpoint.Saver, "save_if_due", checkpoint.Saver.save)
    tuned = tune(replace(LITTLE, trials=8), data, tmp_path)
    assert [trial.number for trial in tuned.trials if trial.state == "pruned"] == [6, 8]
    assert tuned.count("finished") == 6
    for trial in (tuned.trials[5], tuned.trials[7]):
        assert (trial.epochs, trial.value) == (2, 0.0)  # of four, a quarter of which says little
        folder = tmp_path / "runs" / trial.run
        assert {file.name for file in folder.iterdir()} == {"log.jsonl", "claim.lock"}
    assert "6 finished, 2 stopped early (pruned by epoch): 28 epochs" in cost(tuned)
    assert len(list(tmp_path.glob("runs/*/run.json"))) == 6
    assert [row["state"] for row in csv.DictReader(every_trial(tuned).splitlines())] == [trial.state for trial in tuned.trials]
    assert tune(replace(LITTLE, trials=8), data, tmp_path).trials == tuned.trials
    assert len(begun) == 8


def test_a_loss_that_explodes_counts_and_the_same_trial_is_not_made_twice(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "space", lambda *_: {"training.optimiser.lr": Choice((0.001, 1e30))})
    with np.errstate(all="ignore"):
        tuned = tune(replace(LITTLE, trials=10), data, tmp_path)
        first = {trial.changes: trial.number for trial in reversed(tuned.trials)}
        assert set(first) == {(), ("training.optimiser.lr=1e+30",)}
        for trial in tuned.trials:
            assert trial.state == ("diverged" if trial.changes else "finished")
            assert trial.same_as == (None if trial.number == first[trial.changes] else first[trial.changes])
            assert (trial.epochs == 0) == (trial.same_as is not None or trial.state == "diverged")
        assert "8 of them the same as an earlier one" in cost(tuned)
        assert "diverged, the same as" in page(tuned, "")
        assert tuned.ranked == [tuned.trials[0]]
        monkeypatch.undo()
        with pytest.raises(DataProblem, match="every trial of sasrec"):
            tune(replace(LITTLE, trainings=(*TRAININGS, "optimiser.lr=1e30"), trials=2), data, tmp_path)


# What is said


@pytest.mark.parametrize("more", [["--protocol", "cold-items=0.2"], ["--exclude-seen"]])
def test_the_printed_command_tests_the_best_without_training_it_again(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    asked = ["--trials", 3, "--seed", 2, *more, "--out", tmp_path / "with space"]
    said = call("tune", "sasrec", data.folder, *asked, *SMALL)
    assert said.stderr.count(" of 3: sasrec") == 3
    (command,) = [line for line in said.stdout.splitlines() if line.startswith("tmmsrec fit ")]
    assert command in (tmp_path / "with space" / "sasrec.md").read_text()
    assert "Budget of sasrec: 3 trials, each with seed 2 and at most 4 epochs" in said.stdout
    rows = list(csv.DictReader((tmp_path / "with space" / "sasrec.csv").open()))
    best = max(rows, key=lambda row: float(row["validation"]))
    monkeypatch.setattr(loop.Loop, "run", lambda *_: pytest.fail("trained again"))
    tested = call(*shlex.split(command)[1:])
    assert "this run was done before" in tested.stderr
    assert ("seen items left out" in tested.stdout) == ("--exclude-seen" in more)
    assert tested.stdout.splitlines()[-1] == f"run: {tmp_path / 'with space' / 'runs' / best['run']}"
    assert read_run(tmp_path / "with space" / "runs" / best["run"]).tested
    assert [row["run"] for row in rows if read_run(tmp_path / "with space" / "runs" / row["run"]).tested] == [best["run"]]
    assert call("tune", "sasrec", data.folder, *asked, *SMALL, "--quiet").stderr == ""


def test_several_methods_have_the_same_budget_and_a_table(data: Dataset, tmp_path: Path) -> None:
    said = call("tune", "gru4rec", "sasrec", data.folder, "--trials", 2, "--out", tmp_path, *SMALL, "--training", "refit=true")
    assert said.stdout.count("Budget of") == 1
    assert "Budget of gru4rec, sasrec: 2 trials" in said.stdout
    page = (tmp_path / "methods.md").read_text()
    assert [line.split(" |")[0] for line in page.splitlines()[-2:]] == ["| gru4rec", "| sasrec"]
    assert {p.name for p in tmp_path.iterdir()} == {
        "gru4rec.md",
        "gru4rec.csv",
        "sasrec.md",
        "sasrec.csv",
        "methods.md",
        "runs",
        "trials",
    }
    assert not any(read_run(p.parent).about["fit"]["refit"] for p in tmp_path.glob("runs/*/run.json"))
    assert "--training refit=true" in said.stdout


def test_a_leak_is_named(done: tuple[Tuned, Path]) -> None:
    from tmmsrec.data.split import PaperLeak

    clean, leak = (budgets([replace(done[0], tuning=replace(LITTLE, split=split))])[0] for split in (LITTLE.split, PaperLeak()))
    assert "the test part stayed closed" in clean
    assert "LEAK" in leak
    assert "stayed closed" not in leak


def test_problems_are_one_message(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = [data.folder, "--out", tmp_path]
    assert "nothing to tune in popularity" in call("tune", "popularity", *common, code=2).stderr
    assert "did you mean 'sasrec'" in call("tune", "sasrek", *common, code=2).stderr
    assert "did you mean 'width'" in call("tune", "sasrec", *common, "--set", "widht=12", code=2).stderr
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "pip install 'tmmsrec[tune]'" in call("tune", "sasrec", *common, code=2).stderr
