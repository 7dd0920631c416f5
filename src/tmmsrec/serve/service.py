"""The service without HTTP: bundles, the thread that answers, the thread that takes what is new, the journal."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tmmsrec.data.problems import DataProblem
from tmmsrec.recommender import AddedEvents, Answer, Question, Search
from tmmsrec.serve import replaying, telling
from tmmsrec.serve.asks import Ask
from tmmsrec.serve.batching import Together
from tmmsrec.serve.errors import Refused
from tmmsrec.serve.journal import Journal
from tmmsrec.serve.keeping import Keeper, Swap, TakeEvents, TakeItems
from tmmsrec.serve.memory import give_back
from tmmsrec.serve.meters import Meters
from tmmsrec.serve.pictures import Gallery
from tmmsrec.serve.shelf import MAIN, Held, Shelf

log = logging.getLogger("tmmsrec.serve")
AHEAD = 86_400  # seconds by which an event may lie in the future: clocks differ


@dataclass(frozen=True)
class Serving:
    """What a person chooses.

    Attributes:
        bundle: the folder of the bundle that answers.
        beside: a second one, to be compared.
        images: a folder or zip of pictures; what the bundles were prepared from if None.
        data: the folder of the journal; beside the bundle if None.
        read_only: take no items and events, and keep no journal.
        together: most questions answered in one batch.
        body: most bytes of a request.
        search: how the best items are found; None for exactly.
        token: what ``Authorization: Bearer`` must bring; None for no authentication.
    """

    bundle: Path
    beside: Path | None = None
    images: str | None = None
    data: Path | None = None
    read_only: bool = False
    together: int = 64
    body: int = 8 * 2**20
    token: str | None = None
    search: Search | None = None

    @property
    def journal(self) -> Path:
        """Where the journal is."""
        return self.data or self.bundle.parent / f"{self.bundle.name}.live"


class Service:
    """All that routes need.  Opening it reads the bundles and what the journal holds.

    Raises:
        DataProblem: a bundle or the journal cannot be used.
    """

    def __init__(self, serving: Serving) -> None:
        self.serving = replace(serving, bundle=Path(serving.bundle).resolve())
        folders = {MAIN: self.serving.bundle, "beside": serving.beside}
        self.shelf = Shelf(
            [Held.open(name, Path(folder), serving.search) for name, folder in folders.items() if folder is not None]
        )
        self.journal = None if serving.read_only else Journal(self.serving.journal)
        if self.journal is not None:
            replaying.compact(self.journal)
        self.gallery = Gallery(serving.images, self.journal)
        for held in self.shelf:
            self.gallery.learn(held.name, held.recommender)
            if self.journal is not None:
                replaying.replay(held.recommender, self.journal)
        for item, name in replaying.pictures(self.journal) if self.journal is not None else ():
            self.gallery.add(item, name)
        self.meters = Meters(self.shelf, self.journal)
        self._keeper = None if self.journal is None else Keeper(self.shelf, self.journal, self.gallery)
        self._asked: Together[Ask | Callable[[], Any], Any] = Together(self._answer, serving.together, "answers")
        self._written = None if self._keeper is None else Together(self._keeper.do, 256, "keeper")
        self._reloading = asyncio.Lock()
        self.closing = False

    @property
    def ready(self) -> bool:
        """Whether questions are answered."""
        return self._asked.alive and not self.closing

    @property
    def writable(self) -> bool:
        """Whether items and events are taken."""
        return self._keeper is not None and not self._keeper.broken

    async def ask(self, ask: Ask) -> bytes:
        """The answer to a question, in JSON."""
        found: bytes = await self._asked.submit(ask)
        return found

    async def call(self, action: Callable[[], Any]) -> Any:
        """The result of what needs the model, done by the thread that answers."""
        return await self._asked.submit(action)

    async def take(self, job: TakeItems | TakeEvents) -> Any:
        """Take items or events; they are on disk when this returns."""
        if self._written is None:
            raise Refused(403, "this service only reads (--read-only): it takes no items and events")
        if isinstance(job, TakeEvents):
            _not_ahead(job)
        return await self._written.submit(job)

    async def reload(self, name: str | None = None) -> list[str]:
        """Open a bundle anew (all if none is named) and put it in the place of the old one, which answers until then.

        Raises:
            Refused: no such bundle, or one that cannot be opened; the old one stays.
        """
        names = [self.shelf.get(name).name] if name else [held.name for held in self.shelf]
        async with self._reloading:
            for one in names:
                await self._reload(self.shelf.get(one))
        return names

    async def _reload(self, old: Held) -> None:
        begun = time.monotonic()
        position = 0 if self.journal is None else self.journal.size
        try:
            fresh = await asyncio.to_thread(self._open, old, position)
        except DataProblem as problem:
            raise Refused(409, f"{problem}; the bundle that was open still answers", "bundle") from None
        if self._written is not None:
            await self._written.submit(Swap(fresh, position))
        else:
            self.shelf.put(fresh)
        log.info("bundle %s opened anew from %s in %.1f s", old.name, old.folder, time.monotonic() - begun)
        del old, fresh
        await asyncio.to_thread(give_back)

    def _open(self, old: Held, position: int) -> Held:
        fresh = Held.open(old.name, old.folder, self.serving.search)
        self.gallery.learn(fresh.name, fresh.recommender)
        if self.journal is not None:
            replaying.replay(fresh.recommender, self.journal, 0, position)
        return fresh

    def close(self) -> None:
        """Finish what waits and let the journal go."""
        self.closing = True
        self._asked.close()
        if self._written is not None:
            self._written.close()
        if self.journal is not None:
            self._leave(self.journal)

    def _leave(self, journal: Journal) -> None:
        try:
            if self.writable:  # else it is not known what of it is on disk
                replaying.compact(journal)
        except DataProblem as problem:
            log.error("%s", problem)
        finally:
            journal.close()

    def _answer(self, jobs: list[Ask | Callable[[], Any]]) -> list[Any]:
        """What the answering thread does: all questions to a bundle in one batch, calls one after the other."""
        results: list[Any] = [None] * len(jobs)
        by_bundle: dict[str, list[int]] = {}
        for n, job in enumerate(jobs):
            if isinstance(job, Ask):
                by_bundle.setdefault(job.bundle or MAIN, []).append(n)
            else:
                results[n] = _result(job)
        for name, own in by_bundle.items():
            told = self._together(name, [jobs[n] for n in own])  # type: ignore[misc]
            for n, one in zip(own, told, strict=True):
                results[n] = one
        return results

    def _together(self, name: str, asks: list[Ask]) -> list[bytes | Exception]:
        try:
            held = self.shelf.get(name)
            known = [ask.user is None or ask.user in held.recommender.people for ask in asks]
            questions = [_question(ask, is_known) for ask, is_known in zip(asks, known, strict=True)]
            self.meters.together.observe(len(asks))
            found = held.recommender.ask(questions)
            return [self._told(answer, held, ask, is_known) for answer, ask, is_known in zip(found, asks, known, strict=True)]
        except Exception as problem:
            if len(asks) == 1:
                return [problem]
            return [self._together(name, [ask])[0] for ask in asks]  # whoever it is, the others are answered

    def _told(self, answer: Answer | DataProblem, held: Held, ask: Ask, known: bool) -> bytes | Exception:
        if isinstance(answer, DataProblem):
            return answer
        known_user = known and ask.user is not None
        return telling.encoded(telling.best(answer, held, self.gallery, reasons=ask.reasons, known=known, known_user=known_user))


def _question(ask: Ask, known: bool) -> Question:
    question = ask.question()
    return question if known else replace(question, user=None, history=())


def _result(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as problem:
        return problem


def _not_ahead(job: TakeEvents) -> None:
    latest = int(time.time()) + AHEAD
    for n, (_, _, at) in enumerate(job.events):
        if at > latest:
            raise Refused(422, f"{telling.iso(at)} lies in the future: an event has happened", f"events[{n}].at")


__all__ = ["AddedEvents", "Service", "Serving"]
