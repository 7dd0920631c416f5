"""Take people out of a bundle and out of what a service has kept beside it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from tmmsrec.data.problems import UnknownId
from tmmsrec.recommender import bundle
from tmmsrec.recommender.forgetting import forget
from tmmsrec.serve.journal import Journal
from tmmsrec.serve.replaying import Settled
from tmmsrec.study.update import workplace


@dataclass(frozen=True)
class Forgotten:
    """What is gone.

    Attributes:
        events: of the bundle's log.
        sent: events that had been sent to its service since.
    """

    events: int
    sent: int


def forget_users(folder: Path, users: Collection[str], data: Path | None = None) -> Forgotten:
    """Rewrite a bundle without some users, and the journal of its service.

    The bundle is written first, as a whole or not at all; cut short in between, the same again finishes it.

    Args:
        folder: the bundle.
        users: outside ids, as text.
        data: the folder of the journal; the one beside the bundle if None.

    Raises:
        UnknownId: a user whom neither the bundle nor the journal knows; nothing is changed.
        DataProblem: no bundle, a method that cannot forget, a service that has the journal, or an update under way, which would
            bring them back.
    """
    folder = Path(folder).resolve()
    with workplace(folder):
        return _forget(folder, users, data or folder.parent / f"{folder.name}.live")


def _forget(folder: Path, users: Collection[str], kept: Path) -> Forgotten:
    state, about, encoders = bundle.read(folder)
    journal = Journal(kept) if (kept / "journal.jsonl").exists() else None  # whoever serves from it has it
    try:
        told = Settled() if journal is None else Settled.of(journal.read())
        gone = {str(user) for user in users}
        sent = [event for event in told.events if str(event[0]) in gone]
        known = [user for user in users if user in state.dataset.users]
        for user in gone - {str(one) for one in known} - {str(event[0]) for event in sent}:
            try:
                state.dataset.users.row(user)
            except UnknownId as problem:
                raise UnknownId(f"{problem}; nobody was forgotten") from None
        before = len(state.dataset.interactions)
        if known:
            state = forget(state, known)
            bundle.write(folder, state, about, encoders)
        if journal is not None and sent:
            left = [event for event in told.events if str(event[0]) not in gone]
            journal.rewrite(replace(told, events=left).entries())
        return Forgotten(before - len(state.dataset.interactions), len(sent))
    finally:
        if journal is not None:
            journal.close()
