"""Batches made ahead: while a GPU works on one, a thread makes the next."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def ahead(things: Iterator[T], make: Callable[[T], T], depth: int = 2) -> Iterator[T]:
    """The same things in the same order, each after ``make``, up to ``depth`` of them waiting.

    What the thread raises is raised here, in its place.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(depth)
    stop = threading.Event()

    def put(thing: T | _End) -> bool:
        while not stop.is_set():
            try:
                waiting.put(thing, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for thing in things:
                if not put(make(thing)):
                    return
            put(_End(None))
        except BaseException as problem:  # whatever it was, it belongs to whoever asks for the next one
            put(_End(problem))

    worker = threading.Thread(target=work, name="batches ahead", daemon=True)
    worker.start()
    try:
        while not isinstance(thing := waiting.get(), _End):
            yield thing
        if thing.problem is not None:
            raise thing.problem
    finally:
        stop.set()
        worker.join()


class _End:
    """After the last thing: nothing, or what went wrong."""

    def __init__(self, problem: BaseException | None) -> None:
        self.problem = problem
