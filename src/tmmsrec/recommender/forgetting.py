"""Somebody wants to be forgotten: a State without some users."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import Part
from tmmsrec.recommender.state import State, build


def forget(state: State, users: Collection[Any]) -> State:
    """The same weights over a log without these users: neither their events nor their ids are left, and what is counted is counted
    anew.  What was learned from them stays learned.

    Args:
        state: with no events but those of its log.
        users: outside ids.

    Raises:
        UnknownId: one that is not known.
        DataProblem: nobody would be left, or the method has a row for each user, which cannot be taken out of what was learned.
    """
    if state.method.reads_users:
        name = type(state.method).__name__.lstrip("_")
        raise DataProblem(f"{name} has learned a row for each user and cannot forget one: train it anew without those users")
    rows = np.unique([state.dataset.users.row(user) for user in users]).astype(np.int64)
    if len(rows) == state.dataset.n_users:
        raise DataProblem("nobody would be left: remove the bundle itself")
    dataset = _without(state.dataset, rows)
    trained_users = state.trained_users - int((rows < state.trained_users).sum())
    model = build(state.method, dataset, state.trained, trained_users)
    model.load_state_dict(state.model.state_dict())
    model = model.to(state.device).eval()
    model.observe(Part.whole(dataset.interactions))
    return State(state.method, model, dataset, state.trained, trained_users)


def _without(dataset: Dataset, rows: NDArray[np.int64]) -> Dataset:
    log, stays = dataset.interactions, np.ones(dataset.n_users, dtype=np.bool_)
    stays[rows] = False
    lengths = log.lengths
    events = np.repeat(stays, lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths[stays])]).astype(np.int64)
    left = Interactions(offsets, log.items[events], log.times[events])
    ids = Ids(dataset.users.array.filter(stays), first=dataset.users.first, what=dataset.users.what)
    report = {**dataset.report, "users_forgotten": dataset.report.get("users_forgotten", 0) + len(rows)}
    return replace(dataset, interactions=left, users=ids, report=report, folder=None)
