"""A process that does jobs of a study: ``python -m tmmsrec.study.worker`` reads each as a line of JSON and answers with a line.

What a job needs is imported once; where the system can fork, each job then has a child of its own, so that its memory is its own
and a job that is killed takes nothing with it.  An answer is empty, or says ``busy`` or what the ``problem`` was.  When whoever
asked is gone, a job under way ends too: its checkpoint is there for the next who wants it, and nobody's cores are kept.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tmmsrec.data import store
from tmmsrec.study.claim import Busy
from tmmsrec.study.run import job_of, run
from tmmsrec.study.workers import ASKER

Answer = dict[str, Any]
_LOOK = 1.0  # seconds between two looks whether the parent is there


def main() -> None:
    """Do jobs until there are no more."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a job prints is no answer
    importlib.import_module("torch._dynamo")  # by the first optimiser else, in every child
    for line in sys.stdin:
        asked = json.loads(line)
        answers.write(json.dumps(_told(partial(_answer, asked))) + "\n")
        answers.flush()


def _answer(asked: Answer) -> Answer:
    job, dataset = job_of(asked["job"]), store.load(Path(asked["dataset"]))

    def do() -> Answer:
        run(job, dataset, Path(asked["root"]), wait=False, test=asked["test"])
        return {}

    return _in_a_child(do) if hasattr(os, "fork") else do()


def _told(do: Callable[[], Answer]) -> Answer:
    """What came of it, problems too."""
    try:
        return do()
    except Busy:
        return {"busy": True}
    except Exception as problem:
        return {"problem": f"{type(problem).__name__}: {problem}"}


def _in_a_child(do: Callable[[], Answer]) -> Answer:
    told, tell = os.pipe()
    worker, asker = os.getpid(), int(os.environ.get(ASKER, os.getppid()))
    child = os.fork()
    if not child:
        os.close(told)
        threading.Thread(target=_end_with, args=(worker,), daemon=True).start()
        try:
            with os.fdopen(tell, "w", encoding="utf-8") as out:
                out.write(json.dumps(_told(do)))
        finally:
            os._exit(0)  # what the parent has still to do at its end is not the child's
    os.close(tell)
    while not select.select([told], [], [], _LOOK)[0]:
        if os.getppid() != asker:
            os._exit(1)  # the child sees it, and ends as well
    with os.fdopen(told, encoding="utf-8") as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    if text:
        found: Answer = json.loads(text)
        return found
    ended = f"was killed ({signal.Signals(os.WTERMSIG(status)).name})" if os.WIFSIGNALED(status) else "ended without a word"
    return {"problem": f"its process {ended}; with SIGKILL the machine may be short of memory"}


def _end_with(parent: int) -> None:
    """End this process when its parent is gone."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


if __name__ == "__main__":
    main()
