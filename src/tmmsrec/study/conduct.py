"""Doing a study: jobs in processes of their own, side by side, and the choice of settings by validation."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tmmsrec import values
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem, JobFailed
from tmmsrec.study.gather import Gathering, Results
from tmmsrec.study.run import Job, Run
from tmmsrec.study.runs import Runs
from tmmsrec.study.stages import Listener, Silent
from tmmsrec.study.standing import standing
from tmmsrec.study.study import Setting, Study
from tmmsrec.study.workers import Workers, workers


def conduct(study: Study, dataset: Dataset, root: Path, *, processes: int = 1, listener: Listener | None = None) -> Results:
    """Do a study, or read what was done of it; each job runs in a process of its own, so that its memory is its own.

    Args:
        study: what is asked.
        dataset: a Dataset folder, since other processes open it too.
        root: the folder of the runs.
        processes: jobs side by side; each gets an equal share of the processor's cores.
        listener: told of every job.

    Raises:
        DataProblem: the dataset lies in no folder.
        JobFailed: a job could not be done; its own message is told.
    """
    if dataset.folder is None:
        raise DataProblem("a study needs a Dataset folder, since its jobs run in processes of their own: save the data first")
    listener = listener or Silent()
    gathering = Gathering(study, dataset, Runs(root))
    with workers(processes) as hands:
        _conduct(_Asked(gathering, processes, listener, hands))
        if gathering.beside is not None:
            listener.stage(f"the same once more. {gathering.beside.study.split.said}")
            _conduct(_Asked(gathering.beside, processes, listener, hands))
    return gathering.now()


def _conduct(asked: _Asked) -> None:
    """Settings first, by validation alone; then the test of what was chosen, and the other seeds."""
    study = asked.gathering.study
    asked.all([(_title(n, s, 0), job) for n, s, job in study.tuning()], test=False)
    chosen = asked.gathering.now().chosen
    lucky = {n: s for n, s in chosen.items() if s.method.learned}
    told = [(n, study.job(s, 0)) for n, s in chosen.items()] + list(study.repeats(lucky))
    asked.all([(_title(n, chosen[n], job.seed), job) for n, job in told], test=True)


def _title(name: str, setting: Setting, seed: int) -> str:
    return ", ".join(filter(None, [name, setting.said, f"seed {seed}"]))


@dataclass(frozen=True, eq=False)
class _Asked:
    """What all jobs of a study share."""

    gathering: Gathering
    processes: int
    listener: Listener
    workers: Workers

    def all(self, jobs: Sequence[tuple[str, Job]], *, test: bool) -> None:
        """Do the jobs that are not done; one that another process is at waits until that one has done it or has gone."""
        runs, dataset = self.gathering.runs, self.gathering.dataset
        waiting = deque((title, job) for title, job in jobs if runs.done(job.key(dataset), test=test) is None)
        total, began = len(waiting), time.monotonic()
        under_way: dict[Future[Run | None], tuple[str, Job]] = {}
        with ThreadPoolExecutor(self.processes) as pool:
            while waiting or under_way:
                while waiting and len(under_way) < self.processes:
                    title, job = waiting.popleft()
                    under_way[pool.submit(_do, job, self, test)] = title, job
                for ended in wait(under_way, return_when=FIRST_COMPLETED).done:
                    title, job = under_way.pop(ended)
                    problem = ended.exception()
                    if problem is not None:
                        raise JobFailed(f"{title}: {problem}") from None
                    run = ended.result()
                    if run is None:
                        waiting.append((title, job))
                        continue
                    left = len(waiting) + len(under_way)
                    until = (time.monotonic() - began) / (total - left) * left
                    rest = f"; about {until / 60:.0f} min left" if left and until >= 60 else ""
                    self.listener.stage(f"{total - left} of {total}: {title}: {_line(run, test)}{rest}")
                    self.listener.standing(standing(self.gathering.now()))


def _line(run: Run, test: bool) -> str:
    """What came of a run; while settings are being chosen, of the validation part alone."""
    if test:
        return f"HR@10 {run.about['result']['HR@10']:.4f}"
    best = run.about["fit"]["best"]
    value = f"validation {best:.4f}, " if best is not None else ""
    return f"{value}{run.about['seconds']['fit']:.0f} s"


def _do(job: Job, asked: _Asked, test: bool) -> Run | None:
    """A job, done by a worker; None, after a moment, where another process is at it."""
    runs, dataset = asked.gathering.runs, asked.gathering.dataset
    words = {"job": values.to_json(job), "dataset": str(dataset.folder), "root": str(runs.root), "test": test}
    answer = asked.workers.ask(words)
    if answer.get("busy"):
        time.sleep(1.0)
        return None
    if "problem" in answer:
        raise JobFailed(answer["problem"])
    return runs.read(job.key(dataset))
