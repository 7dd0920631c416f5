"""Doing a study: jobs in processes of their own, side by side, and the choice of settings by validation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tmmsrec import values
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.study.gather import Results, gather
from tmmsrec.study.run import Job, Run, is_done, read_run
from tmmsrec.study.stages import Listener, Silent
from tmmsrec.study.standing import standing
from tmmsrec.study.study import Study
from tmmsrec.study.worker import BUSY

_WORKER = (sys.executable, "-m", "tmmsrec.study.worker")


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
        RuntimeError: a job failed; its own message is told.
    """
    if dataset.folder is None:
        raise DataProblem("a study needs a Dataset folder, since its jobs run in processes of their own: save the data first")
    listener = listener or Silent()
    study = study.fitting(dataset)
    asked = _Asked(study, dataset, root, processes, listener)
    asked.all([(_title(n, s.changes, 0), job) for n, s, job in study.tuning()], test=False)
    chosen = gather(study, dataset, root).chosen
    # What needs no training has no luck: one run is all there is.
    lucky = {n: s for n, s in chosen.items() if read_run(root / study.job(s, 0).key(dataset)).about["parameters"]}
    told = [(n, study.job(s, 0)) for n, s in chosen.items()] + list(study.repeats(lucky))
    asked.all([(_title(n, chosen[n].changes, job.seed), job) for n, job in told], test=True)
    if study.beside is not None:
        listener.stage(f"the same once more. {study.beside.said}")
        conduct(study.under(study.beside), dataset, root, processes=processes, listener=listener)
    return gather(study, dataset, root)


def _title(name: str, changes: Sequence[str], seed: int) -> str:
    return " ".join([name, *changes, f"seed {seed}"])


@dataclass(frozen=True, eq=False)
class _Asked:
    """What all jobs of a study share."""

    study: Study
    dataset: Dataset
    root: Path
    processes: int
    listener: Listener

    def all(self, jobs: Sequence[tuple[str, Job]], *, test: bool) -> None:
        """Do the jobs that are not done; one that another process is at waits until that one has done it or has gone."""
        waiting = deque((title, job) for title, job in jobs if not is_done(self.root / job.key(self.dataset), test=test))
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
                        raise RuntimeError(f"{title}: {problem}") from None
                    run = ended.result()
                    if run is None:
                        waiting.append((title, job))
                        continue
                    left = len(waiting) + len(under_way)
                    until = (time.monotonic() - began) / (total - left) * left
                    rest = f"; about {until / 60:.0f} min left" if left and until >= 60 else ""
                    self.listener.stage(f"{total - left} of {total}: {title}: {_line(run, test)}{rest}")
                    self.listener.standing(standing(gather(self.study, self.dataset, self.root)))


def _line(run: Run, test: bool) -> str:
    """What came of a run; while settings are being chosen, of the validation part alone."""
    if test:
        return f"HR@10 {run.about['result']['HR@10']:.4f}"
    best = run.about["fit"]["best"]
    value = f"validation {best:.4f}, " if best is not None else ""
    return f"{value}{run.about['seconds']['fit']:.0f} s"


def _do(job: Job, asked: _Asked, test: bool) -> Run | None:
    """A job in a process of its own; None, after a moment, where another process is at it."""
    words = {"job": values.to_json(job), "dataset": str(asked.dataset.folder), "root": str(asked.root), "test": test}
    threads = max(1, (os.cpu_count() or 1) // asked.processes)
    # Threads that spin while they wait would steal the other jobs' cores.
    settings = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(_WORKER, input=json.dumps(words), capture_output=True, text=True, env=settings, check=False)
    if done.returncode == BUSY:
        time.sleep(1.0)
        return None
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.returncode}")
    return read_run(asked.root / job.key(asked.dataset))
