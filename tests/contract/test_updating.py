"""Every method of the zoo goes on with new events, items and users.  Methods are found by themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from tests.conftest import DAY, all_methods, small
from tmmsrec import zoo
from tmmsrec.data import worlds
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.merge import NewEvents, reordered
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut, Part
from tmmsrec.fit import fit
from tmmsrec.models.terms import Alike, Lately, Similar
from tmmsrec.nn.items import LearnedRows
from tmmsrec.recommender import Recommender, bundle
from tmmsrec.recommender.growing import alike, carry, first_items, with_log
from tmmsrec.recommender.state import State, build
from tmmsrec.study import going_on
from tmmsrec.study.going_on import COUNTED, NEW_WEIGHTS, OLD_WEIGHTS, Going, learn
from tmmsrec.study.keeping import Past, Verdict
from tmmsrec.study.news import Brought, taken
from tmmsrec.study.stages import Silent
from tmmsrec.training import Adam, Training

FIRST = 26  # items that are there from the start; the other four come later
TRAINING = Training(epochs=2, batch=16, optimiser=Adam(lr=3e-3))
every_method = pytest.mark.parametrize("method", all_methods())


def first_and_rest() -> tuple[Dataset, NewEvents, pa.Table]:
    """A shop as it was, and what came: four events each for half of its users, one new user, four items with texts only."""
    whole = small(missing=(3, 7))
    log, at = whole.interactions, np.random.default_rng(5)
    items = at.integers(1, FIRST + 1, len(log)).astype(np.int32)
    was = first_items(replace(whole, interactions=Interactions(log.offsets, items, log.times)), FIRST)
    users = np.concatenate([np.repeat(np.arange(0, 40, 2), 4), np.full(5, 77)])
    met = at.integers(1, whole.n_items + 1, len(users))
    times = (18_000 + np.arange(len(users))) * DAY
    events = NewEvents(pa.array(users), pa.array(met), times, "rest.csv", len(users))
    new = np.unique(met[met > FIRST])
    titles = whole.catalog.fields["title"].take(new - 1)
    return was, events, pa.table({"id": pa.array(new), "title": titles})


@every_method
def test_goes_on(method, tmp_path):
    was, events, items = first_and_rest()
    parts = LeaveOneOut().cut(was.interactions)
    fitted = fit(method, was, train=parts.train, valid=parts.valid, training=replace(TRAINING, epochs=1))
    Recommender(method, fitted.model, was).save(tmp_path / "first")
    state, _, encoders = bundle.read(tmp_path / "first")
    news = taken(state, encoders, Brought(events, items), Silent())
    after, told = learn(news, Past(), TRAINING, Going(tolerance=1.0), tmp_path / "work", "first", Silent())
    assert told["kept"] in ((NEW_WEIGHTS, OLD_WEIGHTS) if state.model.trainable else (COUNTED,))
    assert_shown_the_whole_log(after)
    new_ones = (0,) if told["kept"] == OLD_WEIGHTS else (4,) if told["kept"] == COUNTED else (1, 2, 3, 4)
    assert after.trained - FIRST in new_ones
    bundle.write(tmp_path / "second", after, {}, encoders)
    held = Recommender.load(tmp_path / "second")
    assert (held.dataset.n_users, held.dataset.n_items) == (41, FIRST + len(items))
    for user in (0, 1, 77):
        answer = held.recommend(user, k=5)
        assert len(answer) == 5
        assert answer[0].basis == "model"
        assert all(np.isfinite(one.score) for one in answer)
    old, new = (next(g for g in told["groups"] if g["group"] == name) for name in ("old", "new"))
    assert (old["users"], new["users"]) == (20, 21)
    assert all(0 <= group["before"]["HR@10"][0] <= 1 for group in (old, new))


def assert_shown_the_whole_log(state: State) -> None:
    """To be shown it once more changes nothing."""
    held = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    state.model.observe(Part.whole(state.dataset.interactions))
    again = state.model.state_dict()
    assert all(torch.equal(held[name], again[name]) for name in held)


@pytest.mark.parametrize("outcome", ["new", "old", "nothing"])
def test_whatever_is_kept_has_counted_the_whole_log(outcome, tmp_path, monkeypatch):
    """New weights; old ones, because the verdict was so; old ones, because only items came."""
    was, events, items = first_and_rest()
    method = replace(zoo.TMMSREC_PLUS, lately=Lately(), similar=Similar())  # little to learn by heart: six epochs beat none
    Recommender(method, method.build(was), was).save(tmp_path / "first")
    state, _, encoders = bundle.read(tmp_path / "first")
    if outcome == "nothing":
        events = events.without(pc.unique(events.items))
    news = taken(state, encoders, Brought(events, items), Silent())
    assert_shown_the_whole_log(news.state)
    monkeypatch.setattr(going_on, "verdict", lambda *_: Verdict(outcome == "new", "it was decided so"))
    training = replace(TRAINING, epochs=6, optimiser=Adam(lr=0.05))
    after, told = learn(news, Past(), training, Going(), tmp_path / "work", "first", Silent())
    assert told["kept"] == (NEW_WEIGHTS if outcome == "new" else OLD_WEIGHTS)
    assert outcome == "nothing" or "decided" in told["why"]
    assert int(after.model.popular.counts.sum()) == len(after.dataset.interactions)
    assert_shown_the_whole_log(after)


def test_users_too_short_to_learn_from_may_be_read_in_validation(tmp_path):
    """So it reads more pairs of items than training counted, and the weights kept hold more of them than they began with."""
    whole = worlds.markov(users=150, items=30, length=11).dataset
    log = whole.interactions
    users, items, times = (column.reshape(150, 11) for column in (log.owners, log.items, log.times))
    first = Interactions.of(users[:, :8].ravel(), items[:, :8].ravel(), times[:, :8].ravel())
    was = replace(whole, interactions=first, report={"preparation": {"min_events": 5}})
    events = NewEvents(
        pa.array(np.append(users[:, 8:].ravel(), [500, 500, 501, 501])),
        pa.array(np.append(items[:, 8:].ravel(), [1, 9, 2, 17]).astype(np.int64)),
        np.append(times[:, 8:].ravel(), np.full(4, times.max())),
        "rest.csv",
        454,
    )
    method = zoo.TMMSREC_PLUS.reading(())
    Recommender(method, method.build(was), was).save(tmp_path / "first")
    state, _, encoders = bundle.read(tmp_path / "first")
    news = taken(state, encoders, Brought(events, pa.table({"id": pa.array([], pa.int64())})), Silent())
    training = Training(epochs=3, batch=16, optimiser=Adam(lr=0.02))
    after, told = learn(news, Past(), training, Going(tolerance=1.0), tmp_path / "work", "first", Silent())
    assert told["kept"] == NEW_WEIGHTS
    assert_shown_the_whole_log(after)


def test_neighbours_go_along_when_items_move():
    """Each item has the neighbours that it had, by their outside ids, whatever the rows of those that came are now."""
    whole = small()
    method = replace(zoo.TMMSREC_PLUS, alike=Alike(most=5))
    model = method.build(whole)
    model.prepare(Part.whole(whole.interactions))
    state = State(method, model.eval(), whole, FIRST)
    rows = np.concatenate([np.arange(1, FIRST + 1), [29, 27, 30, 28]])
    moved = with_log(state, reordered(whole, rows))

    def neighbours(one: State) -> dict[int, list[int]]:
        near, ids = one.model.alike.near.tolist(), [None, *one.dataset.catalog.ids]
        return {ids[row]: [ids[other] for other in near[row]] for row in range(1, len(ids))}

    assert neighbours(moved) == neighbours(state)
    moved.model.alike.find(moved.model._likenesses)
    assert neighbours(moved) == neighbours(state)


def test_items_that_were_trained_may_not_move_nor_others_come():
    whole = small()
    state = State(zoo.MARKOV, zoo.MARKOV.build(whole).eval(), whole, FIRST)
    with pytest.raises(DataProblem, match="first 26 items have rows that were trained"):
        with_log(state, reordered(whole, np.arange(30, 0, -1)))
    with pytest.raises(DataProblem, match="same items"):
        with_log(state, first_items(whole, 29))
    others = replace(whole.catalog, ids=Ids(list(range(101, 131)), first=1, what="item"))
    with pytest.raises(DataProblem, match="same items"):
        with_log(state, replace(whole, catalog=others))


@every_method
def test_what_was_learned_is_carried_over_and_nothing_else(method, tmp_path):
    was, events, items = first_and_rest()
    torch.manual_seed(3)
    model = method.build(was)
    model.prepare(LeaveOneOut().cut(was.interactions).train)
    model.observe(LeaveOneOut().cut(was.interactions).train)
    Recommender(method, model, was).save(tmp_path / "first")
    state, _, encoders = bundle.read(tmp_path / "first")
    news = taken(state, encoders, Brought(events, items), Silent())
    grown_text = small(missing=(3, 7)).features["text"]
    grown_data = news.state.dataset.with_features(text=grown_text)
    state = with_log(replace(news.state, dataset=grown_data), grown_data)
    fresh = build(method, grown_data, grown_data.n_items)
    begun = {name: p.detach().clone() for name, p in fresh.named_parameters()}
    carry(state, fresh, grown_data.n_items)
    old, grown = dict(model.named_parameters()), dict(fresh.named_parameters())
    tables = {f"{name}.table.weight" for name, part in fresh.named_modules() if isinstance(part, LearnedRows)}
    like, has = alike(grown_data, FIRST, grown_data.n_items)
    assert has.all()
    for name, was_there in old.items():
        rows = min(len(was_there), len(grown[name]))
        torch.testing.assert_close(grown[name][:rows], was_there[:rows], rtol=0, atol=0)
        if len(grown[name]) == grown_data.n_items + 1 and len(was_there) == FIRST + 1:  # a row of each item
            late = was_there[like].mean(1) if name in tables else begun[name][FIRST + 1 :]
            torch.testing.assert_close(grown[name][FIRST + 1 :], late)
        elif len(grown[name]) == 41 and len(was_there) == 40:  # a row of each user
            torch.testing.assert_close(grown[name][40], was_there.mean(0))
        elif len(grown[name]) != len(was_there):
            assert "attributes" in name  # words of S3-Rec's pretraining, which is over


def test_a_new_item_is_like_those_of_its_kind():
    """By all modalities; one without any is like nobody."""
    was, _, _ = first_and_rest()
    rows, present = was.features["text"].rows.copy(), was.features["text"].present.copy()
    rows[25], rows[26], present[26] = rows[4] * 3, 0, False
    lone = replace(was, catalog=replace(was.catalog, features={"text": Features(rows, present)}))
    like, has = alike(lone, 24, 26)
    assert like.shape == (2, 10)
    assert like[0, 0] == 4
    assert has.tolist() == [True, False]
    bare = replace(was, catalog=replace(was.catalog, features={}))
    assert not alike(bare, 24, 26)[1].any()
