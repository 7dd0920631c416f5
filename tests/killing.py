"""Processes that are killed at a chosen moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable


def killed(target: object, name: str, call: int, work: Callable[[], object]) -> None:
    """Do something in a process of its own, which is killed before the so-many-th call of a function."""

    def child() -> None:
        whole, calls = getattr(target, name), [0]

        def once(*given: object, **named: object) -> object:
            calls[0] += 1
            if calls[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(*given, **named)

        setattr(target, name, once)
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(timeout=100)
    assert process.exitcode == -signal.SIGKILL
