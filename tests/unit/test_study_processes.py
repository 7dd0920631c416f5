"""Studies that are killed, and studies that two processes do at once."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import small
from tmmsrec import values, zoo
from tmmsrec.data import store
from tmmsrec.study import run as running
from tmmsrec.study import workers
from tmmsrec.study.claim import Busy, claim
from tmmsrec.study.conduct import conduct
from tmmsrec.study.render.markdown import markdown
from tmmsrec.study.results import document
from tmmsrec.study.run import Job
from tmmsrec.study.study import Entrant, Study
from tmmsrec.training import Training

LITTLE = replace(zoo.SASREC, width=12, length=10)
STUDY = Study(
    "Small",
    {
        "popularity": Entrant(zoo.POPULARITY),
        "sasrec": Entrant(LITTLE, Training(epochs=6, batch=8), (("training.optimiser.lr=0.001",), ("training.optimiser.lr=0.01",))),
        "tmmsrec-id-tie": Entrant(replace(zoo.TMMSREC_ID_TIE, width=12), Training(epochs=6, batch=8)),
    },
    seeds=2,
)
JOBS = 1 + 2 + 1 + 2

# Does the study with workers that note what they do; each step takes a moment, so that killers and rivals find work under way.
SCRIPT = """
import sys
from pathlib import Path
from tests.unit.test_study_processes import STUDY
from tmmsrec.data import store
from tmmsrec.study import conduct, workers
from tmmsrec.study.render.markdown import markdown
from tmmsrec.study.results import document

folder = Path(sys.argv[1])
workers.COMMAND = (sys.executable, str(folder / "worker.py"))
done = conduct.conduct(STUDY, store.load(folder / "data"), folder / "runs", processes=2)
(folder / sys.argv[2]).write_text(markdown(document([done])))
"""
WORKER = """
import os, time
from pathlib import Path
from tmmsrec import loop
from tmmsrec.study import run, worker

step, learn, test, notes = loop.Loop.step, run._fit, run._test, Path(__file__).with_name("notes")

def slow(self, batch):
    time.sleep(0.02)
    return step(self, batch)

def note(what, folder):
    with notes.open("a") as file:
        file.write(f"{what} {folder.name}\\n")

def learning(job, dataset, folder, watch):
    note("learn", folder)
    return learn(job, dataset, folder, watch)

def testing(done, dataset, model):
    note("test", done.folder)
    time.sleep(0.3)
    return test(done, dataset, model)

loop.Loop.step, run._fit, run._test = slow, learning, testing
worker.main()
"""


@pytest.fixture
def place(tmp_path):
    data = small(users=50)
    store.save(replace(data, catalog=replace(data.catalog, features={})), tmp_path / "data")
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "study.py").write_text(SCRIPT)
    return tmp_path


def started(place: Path, table: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(place / "study.py"), str(place), table]
    return subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE)


def noted(place: Path) -> list[list[str]]:
    file = place / "notes"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def test_workers_end_with_whoever_asked_them(place):
    """Also when that one was killed outright: a job under way is left to the next who wants it."""
    (place / "worker.py").write_text(WORKER.replace("sleep(0.02)", "sleep(30)"))  # no job would end by itself
    study = started(place, "table.md")
    while not noted(place):
        time.sleep(0.05)
        assert study.poll() is None, study.stderr.read()
    if not Path("/proc/self/task/").exists():
        study.kill()
        pytest.skip("this system does not tell a process' children")
    theirs = children(study.pid)
    theirs += [one for pid in theirs for one in children(pid)]
    study.kill()
    study.wait()
    assert len(theirs) >= 2
    waited = 0.0
    while any(alive(pid) for pid in theirs):
        time.sleep(0.1)
        waited += 0.1
        assert waited < 60, "a worker goes on though nobody waits for it"


def children(pid: int) -> list[int]:
    """Processes that any thread of one has started."""
    return [int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and was not asked for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def without_costs(text: str) -> list[list[str]]:
    """The cells of all tables but for seconds and memory, which no two runs share."""
    found: list[list[str]] = []
    left_out: set[int] = set()
    before = ""
    for line in text.splitlines():
        cells = line.split("|")
        if line.startswith("|") and not before.startswith("|"):  # the head of a table
            left_out = {i for i, head in enumerate(cells) if head.strip() in ("seconds", "MB")}
        if line.startswith("|"):
            found.append([cell for i, cell in enumerate(cells) if i not in left_out])
        before = line
    return found


@pytest.mark.slow
def test_killed_ten_times_a_study_ends_with_the_table_of_one_that_was_not(place, tmp_path_factory):
    rng, killed = random.Random(0), 0
    for _ in range(10):
        study, begun = started(place, "killed.md"), len(noted(place))
        while len(noted(place)) == begun and study.poll() is None:  # torch takes its time to load
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 0.5))
        everything = rng.random() < 0.5  # or the conductor alone; its workers end by themselves
        killed += study.poll() is None
        if everything:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(study.pid, signal.SIGKILL)
        else:
            study.kill()
        study.wait()
    assert killed >= 5
    study = started(place, "killed.md")
    assert study.wait(timeout=300) == 0, study.stderr.read().decode()
    whole = tmp_path_factory.mktemp("whole")
    straight = conduct(STUDY, store.load(place / "data"), whole / "runs", processes=2)
    assert without_costs((place / "killed.md").read_text()) == without_costs(markdown(document([straight])))
    for file in (whole / "runs").glob("*/run.json"):
        again = json.loads((place / "runs" / file.parent.name / "run.json").read_text())
        once = json.loads(file.read_text())
        assert again.get("result") == once.get("result")  # none where the setting was not chosen
        assert again["fit"]["best"] == once["fit"]["best"]


@pytest.mark.slow
def test_two_processes_share_a_study_and_do_nothing_twice(place):
    one, two = started(place, "one.md"), started(place, "two.md")
    assert one.wait(timeout=300) == 0, one.stderr.read().decode()
    assert two.wait(timeout=300) == 0, two.stderr.read().decode()
    learned, tested = ([name for what, name in noted(place) if what == kind] for kind in ("learn", "test"))
    assert len(learned) == len(set(learned)) == JOBS
    assert len(tested) == len(set(tested)) == JOBS - 1  # one setting was not chosen
    assert (place / "one.md").read_text() == (place / "two.md").read_text()


def test_a_claim_is_held_by_one_and_ends_with_its_process(tmp_path):
    code = (
        "import sys, time, pathlib\nfrom tmmsrec.study.claim import claim\n"
        "with claim(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(Busy, match="another process"), claim(tmp_path, wait=False):
        pass
    process.kill()
    process.wait()
    with claim(tmp_path, wait=False):
        pass


def test_who_waited_for_another_process_reads_what_it_did(dataset, tmp_path, monkeypatch):
    """Whoever held the claim has finished in the meantime: nothing is trained again."""
    job, waited = Job(zoo.POPULARITY), []
    first = running.run(job, dataset, tmp_path / "elsewhere")

    def arriving(folder, *, wait):
        waited.append(wait)
        for file in first.folder.iterdir():
            shutil.copy(file, folder)
        return claim(folder, wait=wait)

    monkeypatch.setattr(running, "claim", arriving)
    monkeypatch.setattr(running, "_do", lambda *_: pytest.fail("trained again"))
    again = running.run(job, dataset, tmp_path / "runs", wait=True)
    assert waited == [True]
    np.testing.assert_array_equal(again.ranks, first.ranks)


def test_a_worker_does_many_jobs_each_in_a_child_whose_end_is_told(place):
    """A job that is killed, one that fails and one that another process is at are told apart, and the worker goes on."""
    job = {"test": True, "dataset": str(place / "data"), "root": str(place / "runs")}
    done = {**job, "job": values.to_json(Job(zoo.POPULARITY))}
    wrong = {**job, "job": values.to_json(Job(replace(LITTLE, backbone=replace(LITTLE.backbone, heads=5))))}
    with workers.workers(1) as hands:
        assert hands.ask(done) == {}
        assert "5 heads do not divide the width 12" in hands.ask(wrong)["problem"]
        folder = place / "runs" / Job(zoo.MARKOV).key(store.load(place / "data"))
        folder.mkdir()
        with claim(folder):
            assert hands.ask({**job, "job": values.to_json(Job(zoo.MARKOV))}) == {"busy": True}
        assert hands.ask({**job, "job": values.to_json(Job(zoo.MARKOV))}) == {}
        long = {**job, "job": values.to_json(Job(LITTLE, Training(epochs=100_000, patience=100_000)))}
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(hands.ask, long)
            (worker,) = [w._process.pid for w in hands._all]
            while not (children := Path(f"/proc/{worker}/task/{worker}/children").read_text().split()):
                time.sleep(0.02)
            os.kill(int(children[0]), signal.SIGKILL)
            assert "SIGKILL" in asked.result(timeout=60)["problem"]
        assert hands.ask({**job, "job": values.to_json(Job(zoo.REPEAT))}) == {}


def test_a_worker_that_cannot_start_says_why(monkeypatch):
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, "-c", "raise SystemExit('no such thing')"))
    with workers.workers(1) as hands, pytest.raises(RuntimeError, match="no such thing"):
        hands.ask({})


def test_the_memory_of_a_job_is_its_own_not_its_parents():
    """A process that a large one starts counts what it holds itself."""
    held = np.ones(100_000_000)  # 800 MB
    code = "from tmmsrec.study.circumstances import peak_memory; print(peak_memory())"
    own = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert running.peak_memory() > held.nbytes / 2**20
    assert 50 < own < 700
