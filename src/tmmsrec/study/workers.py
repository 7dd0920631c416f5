"""The workers of a study, from its conductor's side."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tmmsrec.data.problems import JobFailed

ASKER = "TMMSREC_ASKER"  # the conductor's number: a worker that starts when it is gone already could not know whose child it was
COMMAND = (sys.executable, "-m", "tmmsrec.study.worker")


class _Worker:
    """One of them; it starts with its first job."""

    def __init__(self, threads: int) -> None:
        # Threads that spin while they wait would steal the other jobs' cores.
        self._settings = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
        self._settings[ASKER] = str(os.getpid())
        self._process: subprocess.Popen[str] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()

    def ask(self, words: dict[str, Any]) -> dict[str, Any]:
        """What came of a job; raises JobFailed with what the process said when it could not even answer."""
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, stderr=self._said, text=True, env=self._settings)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        code, self._process = self._process.wait(), None
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        raise JobFailed(lines[-1] if lines else f"a worker ended with status {code}")

    def close(self) -> None:
        """No more jobs."""
        if self._process is not None:
            with suppress(BrokenPipeError):
                self._process.communicate()
        self._said.close()


class Workers:
    """Several of them: whoever is free takes the next job."""

    def __init__(self, count: int) -> None:
        threads = max(1, (os.cpu_count() or 1) // count)
        self._all = [_Worker(threads) for _ in range(count)]
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    def ask(self, words: dict[str, Any]) -> dict[str, Any]:
        """What came of a job, asked of whoever is free."""
        worker = self._free.get()
        try:
            return worker.ask(words)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """No more jobs."""
        for worker in self._all:
            worker.close()


@contextmanager
def workers(count: int) -> Iterator[Workers]:
    """Workers for as long as the block runs, each with an equal share of the processor's cores."""
    found = Workers(count)
    try:
        yield found
    finally:
        found.close()
