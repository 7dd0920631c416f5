"""One thread that does whatever waits, together."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.serve.conftest import problem
from tmmsrec.serve.batching import Together


class Gate:
    """Work that stands still until it is let go, and notes what came together."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, jobs: list[int]) -> list[int | Exception]:
        self.batches.append(jobs)
        self.begun.set()
        assert self.go.wait(30)
        return [ValueError(f"{job} is odd") if job % 2 else job * 10 for job in jobs]


def test_what_waits_is_done_together_and_each_has_its_own_result():
    gate = Gate()
    together = Together(gate, 3, "test")

    async def ask() -> list:
        first = together.submit(0)
        await asyncio.to_thread(gate.begun.wait, 30)  # the worker is busy with the first alone
        rest = [together.submit(n) for n in range(1, 6)]
        gate.go.set()
        return await asyncio.gather(first, *rest, return_exceptions=True)

    found = asyncio.run(ask())
    assert gate.batches == [[0], [1, 2, 3], [4, 5]]
    assert [str(one) for one in found] == ["0", "1 is odd", "20", "3 is odd", "40", "5 is odd"]
    assert together.alive
    together.close()
    assert not together.alive


def test_closing_does_what_waits_first():
    gate = Gate()
    together = Together(gate, 8, "test")

    async def ask() -> list:
        futures = [together.submit(0), together.submit(2)]
        closing = asyncio.create_task(asyncio.to_thread(together.close))
        gate.go.set()
        await closing
        return await asyncio.gather(*futures)

    assert asyncio.run(ask()) == [0, 20]


def test_a_failure_of_the_work_is_everybodys_and_the_thread_goes_on():
    def broken(jobs: list[int]) -> list[int | Exception]:
        if 13 in jobs:
            raise RuntimeError("the work failed")
        return list(jobs)

    together = Together(broken, 8, "test")

    async def ask() -> int:
        with pytest.raises(RuntimeError, match="the work failed"):
            await together.submit(13)
        return await together.submit(1)

    assert asyncio.run(ask()) == 1
    together.close()


def test_whoever_stops_waiting_harms_nobody():
    gate = Gate()
    together = Together(gate, 8, "test")

    async def ask() -> int:
        gone, stays = together.submit(2), together.submit(4)
        gone.cancel()
        gate.go.set()
        return await stays

    assert asyncio.run(ask()) == 40
    together.close()


def test_one_question_that_breaks_the_library_does_not_touch_the_others(client, monkeypatch):
    """Whatever a bug may raise in the middle of a batch, only the question that it belongs to fails."""
    from tmmsrec.recommender import Recommender

    real = Recommender.ask

    def ask(self, questions):
        if any(question.k == 13 for question in questions):
            raise ZeroDivisionError
        return real(self, questions)

    monkeypatch.setattr(Recommender, "ask", ask)
    service = client.app.state.service
    from tmmsrec.serve.asks import Ask

    found = service._together("main", [Ask(user="u1", k=2), Ask(user="u1", k=13), Ask(user="zz", k=3)])
    assert [type(one) for one in found] == [bytes, ZeroDivisionError, bytes]
    problem(client.post("/v1/recommend", json={"user": "u1", "k": 13}), 500)
