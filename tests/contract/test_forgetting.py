"""Whoever wants to be forgotten is: no events, no id, no count; the others are answered as a model that never counted them says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import all_methods, small
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem, UnknownId
from tmmsrec.data.split import Part
from tmmsrec.recommender import Recommender, bundle
from tmmsrec.recommender.forgetting import forget
from tmmsrec.recommender.state import State

GONE = (3, 0)


@pytest.mark.parametrize("method", all_methods())
def test_every_method_forgets_or_says_that_it_cannot(method, tmp_path):
    was = small()
    model = method.build(was).eval()
    model.prepare(Part.whole(was.interactions))
    model.observe(Part.whole(was.interactions))
    state = State(method, model, was, was.n_items)
    if method.reads_users:
        with pytest.raises(DataProblem, match="a row for each user and cannot forget one: train it anew"):
            forget(state, GONE)
        return
    after = forget(state, GONE)
    stays = [user for user in range(was.n_users) if user not in GONE]
    log, ids = after.dataset.interactions, after.dataset.users
    assert list(ids) == [was.users[user] for user in stays]
    for row, user in enumerate(stays):
        own = slice(*was.interactions.offsets[user : user + 2])
        assert np.array_equal(log.items[log.offsets[row] : log.offsets[row + 1]], was.interactions.items[own])
        assert np.array_equal(log.times[log.offsets[row] : log.offsets[row + 1]], was.interactions.times[own])
    assert len(log) == sum(was.interactions.lengths[stays])
    assert list(was.users) == list(range(was.n_users))  # nothing was changed in place
    other = method.build(was).eval()
    other.load_state_dict(model.state_dict())
    kept = np.isin(was.interactions.owners, stays)
    columns = was.interactions.owners[kept], was.interactions.items[kept], was.interactions.times[kept]
    never = replace(was, interactions=Interactions.of(*columns, was.n_users))
    other.observe(Part.whole(never.interactions))
    expected = Recommender(method, other, never).recommend(7, k=10, at=2_000_000_000)
    found = Recommender(method, after.model, after.dataset).recommend(7, k=10, at=2_000_000_000)
    assert {one.basis for one in found} == {one.basis for one in expected}
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-5)
    bundle.write(tmp_path / "bundle", after, {}, {})
    with pytest.raises(UnknownId):
        Recommender.load(tmp_path / "bundle").recommend(3)


def test_users_who_came_after_training_are_forgotten_too():
    method, was = all_methods()[0].values[0], small()
    state = State(method, method.build(was).eval(), was, was.n_items, trained_users=was.n_users - 2)
    after = forget(state, [0, was.n_users - 1, 0])
    assert (after.dataset.n_users, after.trained_users) == (was.n_users - 2, was.n_users - 3)
    assert after.dataset.report["users_forgotten"] == 2
    assert forget(after, [1]).dataset.report["users_forgotten"] == 3


def test_nobody_left_and_nobody_known():
    method, was = all_methods()[0].values[0], small()
    state = State(method, method.build(was).eval(), was, was.n_items)
    with pytest.raises(DataProblem, match="nobody would be left"):
        forget(state, list(was.users))
    with pytest.raises(UnknownId, match="unknown user 'nobody'"):
        forget(state, ["nobody"])
    assert torch.equal(torch.tensor(state.dataset.interactions.offsets), torch.tensor(replace(was).interactions.offsets))
