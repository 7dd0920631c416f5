"""A run: what happened.  A folder named by the hash of what was done; the same run is never done twice.

KEY/run.json              values, seed, fingerprint, versions; written last: a folder without it is not finished.
                          It has a result once the test part was opened
KEY/ranks.parquet         written with it: a row per test user with user, target, rank, and what the slices need (cold, repeat, ...)
KEY/log.jsonl             one line per epoch
KEY/weights.safetensors   the weights that did best in validation, or were learned anew with it (refit); or the counts
KEY/claim.lock            locked while a process works on the run
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tmmsrec import metrics, values
from tmmsrec.checkpoint import read_tensors, write_tensors
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut, PaperLeak, Part, Split
from tmmsrec.data.store import atomic_text, read_about
from tmmsrec.fit import Start, describe, learn
from tmmsrec.lists import described, enough, lists
from tmmsrec.loop import Fitted, Watch
from tmmsrec.models.base import Method, Model, learned_numbers
from tmmsrec.own import own_parts
from tmmsrec.processes import Processes
from tmmsrec.ranking import Ranks, rank_shared
from tmmsrec.study.circumstances import peak_memory, versions
from tmmsrec.study.claim import claim
from tmmsrec.training import Training

FORMAT = 1
LEARNING = 2  # raised where the same job would end with other weights: runs from before it are not taken for it
DAY = 86400


@dataclass(frozen=True)
class Job:
    """What is to be done: a value.

    Attributes:
        method: what is trained and tested.
        training: how.
        split: which events are held out.
        seed: of everything random.
        exclude_seen: leave out items that a user has met, in validation and in the test.
    """

    method: Method
    training: Training = field(default_factory=Training)
    split: Split = field(default_factory=LeaveOneOut)
    seed: int = 0
    exclude_seen: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", self.method.under(self.exclude_seen))  # it chooses by rankings such as it is tested by
        if isinstance(self.split, PaperLeak) and self.training.refit:
            raise ValueError("with the paper-leak protocol the validation events are the test events: refit would learn them")

    def key(self, dataset: Dataset) -> str:
        """The name of the run's folder; raises ValueProblem for a part whose name leads to another one."""
        # It was once left out in the test alone, and other epochs were chosen.
        seen = ["in validation too"] if self.exclude_seen else []
        return values.key(self, [dataset.fingerprint, FORMAT, LEARNING, *seen, *own_parts(self)])


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        job: what was done.
        folder: where it lies.
        about: run.json: seconds, versions, and of a tested run the result and what its lists are like (``lists.described``).
    """

    job: Job
    folder: Path
    about: dict[str, Any]

    @cached_property
    def table(self) -> pa.Table:
        """One row per test user: user, target, rank, cold, repeat, length, gap_days; raises DataProblem when not tested."""
        if not self.tested:
            raise DataProblem(f"{self.folder} has not opened the test part: it was trained while settings were being chosen")
        return pq.read_table(self.folder / "ranks.parquet")

    @property
    def tested(self) -> bool:
        """Whether the test part was opened."""
        return "result" in self.about

    @property
    def ranks(self) -> NDArray[np.float64]:
        """[n] test ranks, 0-based."""
        found: NDArray[np.float64] = self.table["rank"].to_numpy()
        return found

    @cached_property
    def asked(self) -> str:
        """What stands for the test users and their targets, eight digits: the same for two runs that were asked the same."""
        found = hashlib.sha256()
        for name in ("user", "target"):
            found.update(self.table[name].to_numpy().astype(np.int64).tobytes())
        return found.hexdigest()[:8]

    @property
    def history(self) -> list[dict[str, Any]]:
        """One record per epoch; empty for a counting model."""
        file = self.folder / "log.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def model(self, dataset: Dataset) -> Model:
        """The model with its kept weights, in evaluation mode."""
        model = self.job.method.build(dataset)
        model.load_state_dict(read_tensors(self.folder / "weights.safetensors")[0])
        return model.eval()


def run(job: Job, dataset: Dataset, root: Path, *, watch: Watch | None = None, wait: bool = True, test: bool = True) -> Run:
    """Do a job, or read what was done: fit on train, choose by valid, rank the test part once.

    A job that was killed is taken up where its checkpoint stands.  Several processes (``processes.joined``) do it together; the
    first of them writes.

    Args:
        job: what to do.
        dataset: what to do it with.
        root: the folder of all runs.
        watch: told of the training.
        wait: where another process is at the same job, wait and read what it did; else raise ``study.claim.Busy``.
        test: open the test part.  While settings are being chosen it stays closed; asked for later, it is opened then.
    """
    folder, processes = Path(root) / job.key(dataset), Processes.here()
    if not processes.agree(is_done(folder, test=test)):
        folder.mkdir(parents=True, exist_ok=True)
        with claim(folder, wait=wait) if processes.first else nullcontext():
            if not processes.agree(is_done(folder, test=test)):
                _do(job, dataset, folder, watch, test)
            processes.wait()
    return read_run(folder)


def is_done(folder: Path, *, test: bool) -> bool:
    """Whether a run is finished, and tested where that is asked for."""
    return (folder / "run.json").exists() and (not test or read_run(folder).tested)


def _do(job: Job, dataset: Dataset, folder: Path, watch: Watch | None, test: bool) -> None:
    processes = Processes.here()
    known = processes.agree((folder / "run.json").exists())
    model = None if known else _fit(job, dataset, folder, watch)
    processes.wait()
    if test:
        done = read_run(folder)
        _test(done, dataset, done.model(dataset) if model is None else model)


def _fit(job: Job, dataset: Dataset, folder: Path, watch: Watch | None) -> Model:
    """Learn, and write down what was learned; the test part stays closed."""
    before = peak_memory()
    parts = job.split.cut(dataset.interactions)
    fitted = learn(
        Start(
            job.method,
            dataset,
            known=lambda method, how: _known(replace(job, method=method, training=how), dataset, folder.parent, watch),
            exclude_seen=job.exclude_seen,
        ),
        train=parts.train,
        valid=parts.valid,
        training=job.training,
        seed=job.seed,
        folder=folder,
        watch=watch,
    )
    if not Processes.here().first:
        return fitted.model
    write_tensors(folder / "weights.safetensors", fitted.model.state_dict())
    about = _about(job, dataset, fitted)
    about["memory"] = {"peak_mb": peak_memory(), "before_mb": before}
    _write(folder, about)
    for checkpoint in folder.rglob("checkpoint.safetensors"):
        checkpoint.unlink()
    return fitted.model


def _known(job: Job, dataset: Dataset, root: Path, watch: Watch | None) -> Fitted:
    """What is within another method's job, as a run of its own: alone or in others, it is never trained twice."""
    done = run(job, dataset, root, watch=watch, test=False)
    told = done.about["fit"]
    best = float("nan") if told["best"] is None else told["best"]
    return Fitted(done.model(dataset), best, told["best_epoch"], done.history, told["seconds"])


def _test(done: Run, dataset: Dataset, model: Model) -> None:
    """Rank the test part and write down the result, and what its lists are like."""
    job, processes = done.job, Processes.here()
    parts = job.split.cut(dataset.interactions)
    begun = time.perf_counter()
    ranks = rank_shared(model, parts.test, processes, history=job.method.history, exclude_seen=job.exclude_seen)
    if not processes.first:
        return
    seconds = {**done.about["seconds"], "rank": round(time.perf_counter() - begun, 3)}
    about_lists = told_of_lists(job, model, dataset, parts.train, parts.test)
    pq.write_table(per_user(ranks, parts.train, parts.test, dataset.n_items), done.folder / "ranks.parquet")
    memory = {**done.about["memory"], "peak_mb": max(filter(None, [done.about["memory"]["peak_mb"], peak_memory()]), default=None)}
    tested = {
        "result": result(ranks.ranks),
        "test_users": len(ranks.ranks),
        "items_ranked": ranks.n_items,
        "seen_excluded": ranks.seen_excluded,
        "lists": about_lists,
    }
    _write(done.folder, {**done.about, **tested, "seconds": seconds, "memory": memory})


def told_of_lists(job: Job, model: Model, dataset: Dataset, train: Part, test: Part) -> dict[str, float | int]:
    """What the lists of a model are like that was just ranked on a test part, see ``lists.described``."""
    users = enough(dataset.n_items)
    given = lists(model, test, history=job.method.history, users=users, exclude_seen=job.exclude_seen, observe=False)
    return described(given, test, train, dataset.features)


def _write(folder: Path, about: dict[str, Any]) -> None:
    atomic_text(folder / "run.json", json.dumps(about, indent=2, ensure_ascii=False))


def read_run(folder: Path) -> Run:
    """A finished run from its folder; raises DataProblem or NewerFormat when it cannot be read."""
    about = read_about(Path(folder) / "run.json", "run", FORMAT)
    return Run(job_of(about["job"]), Path(folder), about)


def job_of(job: Any) -> Job:
    """A Job from its JSON; raises ValueProblem when a part of it is unknown."""
    return Job(
        values.from_json(Method, job["method"]),  # type: ignore[type-abstract]
        values.from_json(Training, job["training"]),
        values.from_json(Split, job["split"]),  # type: ignore[type-abstract]
        job["seed"],
        job["exclude_seen"],
    )


def result(ranks: NDArray[np.float64], cutoffs: tuple[int, ...] = (5, 10, 20)) -> dict[str, float]:
    """Mean HR, NDCG and MRR at each cut-off."""
    names = [f"{name}@{k}" for k in cutoffs for name in ("HR", "NDCG", "MRR")]
    return {name: float(metrics.parse(name)(ranks).mean()) for name in names}


def per_user(ranks: Ranks, train: Part, test: Part, n_items: int) -> pa.Table:
    """A row per test user: user, target, rank, cold, repeat, length, gap_days (NaN without a history)."""
    log, ends = test.interactions, test.ends
    seen_in_training = train.item_counts(n_items) > 0
    last = log.times[ends - 1]
    lengths = test.stop[test.users]
    return pa.table(
        {
            "user": ranks.users,
            "target": ranks.targets,
            "rank": ranks.ranks,
            "cold": ~seen_in_training[ranks.targets],
            "repeat": log.met_before()[ends],
            "length": lengths,
            "gap_days": np.where(lengths > 0, (log.times[ends] - last) / DAY, np.nan),
        }
    )


def _about(job: Job, dataset: Dataset, fitted: Fitted) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "job": values.to_json(job),
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint, **dataset.table2()},
        "fit": describe(fitted),
        "seconds": {"fit": round(fitted.seconds, 2)},
        "parameters": learned_numbers(job.method, fitted.model),
        "versions": versions(),
        "processes": Processes.here().size,
    }
