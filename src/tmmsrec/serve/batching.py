"""One thread that does whatever waits, together: no thread of the event loop is kept busy, and nobody waits for company."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Done = TypeVar("Done")


class Together(Generic[Job, Done]):
    """A queue with one worker thread.  When the worker is free it takes all that waits, up to ``most``, and does it in one call.

    Args:
        do: jobs -> for each its result, or the exception that is its result.  An exception out of ``do`` itself is everybody's.
        most: jobs of one call.
        name: of the thread.
    """

    def __init__(self, do: Callable[[list[Job]], Sequence[Done | Exception]], most: int, name: str) -> None:
        self._do, self._most = do, most
        self._waiting: SimpleQueue[tuple[Job, asyncio.Future[Done]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether jobs are done."""
        return self._thread.is_alive()

    def submit(self, job: Job) -> asyncio.Future[Done]:
        """The result of a job, to be awaited in the running event loop."""
        future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._waiting.put((job, future))
        return future

    def close(self) -> None:
        """Do what waits, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            taken = [self._waiting.get()]
            while len(taken) < self._most:
                try:
                    taken.append(self._waiting.get_nowait())
                except Empty:
                    break
            closing = None in taken
            jobs = [one for one in taken if one is not None]
            if jobs:
                self._answer(jobs)

    def _answer(self, jobs: list[tuple[Job, asyncio.Future[Done]]]) -> None:
        results: Sequence[Done | Exception]
        try:
            results = self._do([job for job, _ in jobs])
        except Exception as problem:
            results = [problem] * len(jobs)
        by_loop: dict[Any, list[tuple[asyncio.Future[Done], Done | Exception]]] = {}
        for (_, future), result in zip(jobs, results, strict=True):
            by_loop.setdefault(future.get_loop(), []).append((future, result))
        for loop, settled in by_loop.items():
            try:
                loop.call_soon_threadsafe(_settle, settled)  # one wake-up for all
            except RuntimeError:  # the loop has ended, and with it whoever waited
                continue


def _settle(settled: list[tuple[asyncio.Future[Done], Done | Exception]]) -> None:
    for future, result in settled:
        if future.done():  # whoever asked has gone
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
