"""Tuning: settings of one method are tried, and the best is chosen by the validation part alone.

OUT/runs/KEY/            a run for every trial (study.run); the test part stays closed
OUT/trials/NAME-KEY/     journal.jsonl: every trial and every validation value, as optuna keeps them

What is tried next is a function of the seed and of the trials before.  So a trial whose process died is proposed again, its run is
taken up where its checkpoint stands, and tuning ends as if nothing had happened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.extract.hub import need
from tmmsrec.loop import Progress, Watch
from tmmsrec.space import Axis, Range
from tmmsrec.study.claim import Busy, claim
from tmmsrec.study.run import Job, run
from tmmsrec.study.stages import Listener, Silent
from tmmsrec.study.tuning import AS_IT_IS, State, Trial, Tuned, Tuning

if TYPE_CHECKING:
    import optuna

# A trial is stopped at an epoch where its best value lies below the median of the finished trials' values at the same epoch: not
# before five trials have finished, not in its first epochs, which say little of a low rate, and not beside fewer than three values.
STARTUP, WARMUP, BESIDE = 5, 10, 3


def tune(tuning: Tuning, dataset: Dataset, out: Path, *, listener: Listener | None = None) -> Tuned:
    """Make the trials that are missing, and read the others.

    Args:
        tuning: what is asked.
        dataset: what it is asked of.
        out: the folder of runs and trials.
        listener: told of every trial.

    Raises:
        MissingExtra: optuna is not installed.
        DataProblem: another process is at the same, or every trial diverged.
    """
    need("optuna", "tune", "tuning")
    folder = Path(out) / "trials" / tuning.key(dataset)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        work = _Work(tuning, dataset, Path(out) / "runs", _opened(tuning, folder), listener or Silent())
        while len(done := _made(work.study)) < tuning.trials:
            work.another(done)
    found = Tuned(tuning, dataset, done[: tuning.trials])
    if not found.ranked:
        raise DataProblem(f"the loss of every trial of {tuning.name} became infinite: lower the rate or set a clip (--training)")
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    # So a trial that the journal has under way is one whose process died.
    try:
        with claim(folder, wait=False):
            yield
    except Busy:
        raise DataProblem(f"another process is at this tuning ({folder})") from None


class _Held:
    """The lock of a journal whose folder is claimed anyway; optuna's own would outlive a process that is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


def _opened(tuning: Tuning, folder: Path) -> optuna.Study:
    """The trials so far; those that died are marked as failed, and do not count."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = folder / "journal.jsonl"
    if journal.exists():
        lines = journal.read_bytes()
        if not lines.endswith(b"\n"):  # its process died while it wrote
            journal.write_bytes(lines[: lines.rfind(b"\n") + 1])
    study = optuna.create_study(
        study_name=folder.name,
        storage=JournalStorage(JournalFileBackend(str(journal), _Held())),  # type: ignore[arg-type]
        pruner=optuna.pruners.MedianPruner(STARTUP, min(WARMUP, tuning.training.epochs // 4), n_min_trials=BESIDE),
        direction="maximize",
        load_if_exists=True,
    )
    for dead in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(dead.number, state=TrialState.FAIL)
    return study


def _made(study: optuna.Study) -> list[Trial]:
    """The trials that count, in the order in which they were made."""
    from optuna.trial import TrialState

    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    told = [trial.user_attrs["trial"] for trial in found]
    return [Trial(**{**about, "changes": tuple(about["changes"])}) for about in told]


def _next(study: optuna.Study, tuning: Tuning, number: int) -> optuna.Trial:
    """What is tried next: first the method as it is, then nine at random, then what TPE proposes."""
    import optuna
    from optuna.trial import TrialState

    if number == 1 and not study.get_trials(states=(TrialState.WAITING,)):
        study.enqueue_trial(dict(tuning.own))
    # A sampler for each trial: one for all would after a restart draw what it had drawn before.
    seed = int(np.random.SeedSequence((tuning.seed, number)).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    return study.ask({path: _distribution(axis) for path, axis in tuning.space.items()})


def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(axis, Range):
        return FloatDistribution(axis.lo, axis.hi, log=axis.log, step=axis.step)
    return CategoricalDistribution(axis.of)


@dataclass(frozen=True, eq=False)
class _Work:
    """What all trials of a tuning share."""

    tuning: Tuning
    dataset: Dataset
    runs: Path
    study: optuna.Study
    listener: Listener

    def another(self, before: Sequence[Trial]) -> None:
        """Make one more trial, write it down and tell of it."""
        from optuna.trial import TrialState

        number = len(before) + 1
        trial = _next(self.study, self.tuning, number)
        changes = self.tuning.changes(trial.params)
        job = self.tuning.job(changes)
        key = job.key(self.dataset)
        same = next((t for t in before if t.run == key), None)
        title = " ".join([f"{number} of {self.tuning.trials}: {self.tuning.name}", *(changes or [AS_IT_IS])])
        report = _Report(trial, self.runs / key, job.training.epochs, self.listener.training(title))
        state = self._state(job, report) if same is None else same.state
        report.rest()
        epochs, seconds = (len(report.history), _seconds(report.folder)) if same is None else (0, 0.0)
        best = max(report.values.values(), default=None)
        made = Trial(number, changes, state, best, epochs, seconds, key, same.number if same is not None else None)
        trial.set_user_attr("trial", asdict(made))
        if state == "finished":
            self.study.tell(trial, best)
        else:
            self.study.tell(trial, state=TrialState.PRUNED)
        self.listener.stage(f"{title}: {_line(made)}")

    def _state(self, job: Job, report: _Report) -> State:
        """Do a job, or read what was done of it, and say how it ended."""
        import optuna

        try:
            run(job, self.dataset, self.runs, watch=report, test=False)
            return "finished"
        except optuna.TrialPruned:
            state: State = "pruned"
        except FloatingPointError:
            state = "diverged"
        with suppress(Busy), claim(report.folder, wait=False):
            for checkpoint in report.folder.rglob("checkpoint.safetensors"):
                checkpoint.unlink()
        return state


class _Report:
    """Watches a trial: tells optuna of every validation, and stops the trial when others have left it behind.

    Attributes:
        values: epoch -> what the watched metric was.
    """

    def __init__(self, trial: optuna.Trial, folder: Path, epochs: int, watch: Watch | None) -> None:
        self.trial, self.folder, self.epochs, self.watch = trial, folder, epochs, watch
        self.values: dict[int, float] = {}

    def __call__(self, now: Progress) -> None:
        import optuna

        if self.watch is not None:
            self.watch(now)
        if now.validation is None:
            return
        self.rest()
        if now.epoch + 1 < self.epochs and self.trial.should_prune():
            raise optuna.TrialPruned

    def rest(self) -> None:
        """Tell of the epochs in the run's log that were not told of: of all before a checkpoint, and of a run found done."""
        for record in self.history:
            if record["validation"] is not None and record["epoch"] not in self.values:
                self.values[record["epoch"]] = record["validation"]
                self.trial.report(record["validation"], record["epoch"])

    @property
    def history(self) -> list[dict[str, Any]]:
        """A record per epoch so far."""
        return _epochs(self.folder / "log.jsonl")


def _epochs(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def _seconds(folder: Path) -> float:
    """Spent in all epochs of a run, those of a pretraining too."""
    return round(sum(float(epoch["seconds"]) for log in folder.rglob("log.jsonl") for epoch in _epochs(log)), 2)


def _line(trial: Trial) -> str:
    if trial.same_as is not None:
        return f"the same as trial {trial.same_as}, {trial.state}"
    value = f"validation {trial.value:.4f}, " if trial.value is not None else ""
    ended = "" if trial.state == "finished" else f", {trial.state}"
    return f"{value}{trial.epochs} epochs, {trial.seconds:.0f} s{ended}"
