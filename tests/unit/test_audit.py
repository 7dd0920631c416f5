"""The leak report finds each leak that is planted, and stays calm where there is none."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import DAY, random_features, small
from tmmsrec import zoo
from tmmsrec.cli import app
from tmmsrec.data import store
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.split import ByTime, PaperLeak
from tmmsrec.study.audit import audit
from tmmsrec.study.run import Job, run

ITEMS = 400


def clean(users: int = 30, events: int = 6) -> Dataset:
    """Nobody meets an item twice, no two events share their time, and everybody's last two events come after all others."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(users), events)
    items = np.concatenate([rng.permutation(ITEMS)[:events] + 1 for _ in range(users)])
    order = np.tile(np.arange(events), users)
    times = np.where(order < events - 2, order * users, 10_000 + order * users) + owner
    return Dataset.in_memory("clean", Interactions.of(owner, items, times * DAY), ITEMS, {}, None)


def with_log(data: Dataset, *, items=None, times=None) -> Dataset:
    log = data.interactions
    return replace(
        data, interactions=Interactions(log.offsets, log.items if items is None else items, log.times if times is None else times)
    )


def finding(data: Dataset, what: str, **how):
    return next(f for f in audit(data, **how) if f.what == what)


def test_a_clean_log_has_no_leak():
    assert [f.what for f in audit(clean()) if f.verdict == "leak"] == []
    assert finding(clean(), "order in time").verdict == "fine"
    assert finding(clean(), "repeats").numbers == {"in_history": 0, "equal_to_last": 0}


def test_an_epoch_chosen_by_the_test_items_is_found():
    assert finding(clean(), "what chooses the epoch").verdict == "fine"
    found = finding(clean(), "what chooses the epoch", split=PaperLeak())
    assert (found.verdict, found.numbers["share"]) == ("leak", 1.0)


def test_ties_are_counted_within_users_and_at_the_target():
    data = clean()
    times = data.interactions.times.copy()
    for user in (0, 1, 2):
        end = data.interactions.offsets[user + 1]
        times[end - 1] = times[end - 2]
    found = finding(with_log(data, times=times), "order in time")
    assert found.verdict == "know"
    assert found.numbers == {"neighbours": 30 * 5, "equal": 3, "targets_tied": 0.1}
    told = replace(with_log(data, times=times), report={"ties": {"order": "by hash"}})
    assert "by hash" in finding(told, "order in time").said


def test_a_target_that_may_be_read_is_found():
    data = clean()
    items, times = data.interactions.items.copy(), data.interactions.times.copy()
    end = data.interactions.offsets[5]
    items[end - 1], times[end - 1] = items[end - 2], times[end - 2]
    found = finding(with_log(data, items=items, times=times), "test events among what may be read")
    assert (found.verdict, found.numbers["targets"]) == ("leak", 1)
    assert finding(with_log(data, items=items), "test events among what may be read").verdict == "fine"  # another day
    repeats = finding(with_log(data, items=items), "repeats").numbers
    assert repeats == {"in_history": pytest.approx(1 / 30), "equal_to_last": pytest.approx(1 / 30)}


def test_the_same_person_under_two_ids_is_found():
    data = clean()
    log = data.interactions
    # User 30 did all that user 4 did, and twice more.
    double = slice(log.offsets[4], log.offsets[5])
    offsets = np.append(log.offsets, log.offsets[-1] + 8)
    late = log.times.max() + np.array([1, 2]) * DAY
    items = np.concatenate([log.items, log.items[double], [1, 2]]).astype(np.int32)
    times = np.concatenate([log.times, log.times[double], late])
    twin = Dataset.in_memory("twins", Interactions(offsets, items, times), ITEMS, {}, None)
    found = finding(twin, "the same person twice")
    assert (found.verdict, found.numbers["users"]) == ("leak", 1)
    times = np.concatenate([log.times, log.times[double] + 1, late])
    shifted = Dataset.in_memory("no twins", Interactions(offsets, items, times), ITEMS, {}, None)
    assert finding(shifted, "the same person twice").verdict == "fine"


def test_the_future_is_counted_and_a_cut_by_time_ends_it():
    data = small(users=60)
    found = finding(data, "the future in training")
    log, by_hand, users = data.interactions, [], 0
    known = np.concatenate([log.times[log.offsets[u] : log.offsets[u + 1] - 2] for u in range(60)])
    for user in range(60):
        later = int((known > log.times[log.offsets[user + 1] - 1]).sum())
        by_hand.append(later / len(known))
        users += later > 0
    assert found.verdict == "leak"
    assert found.numbers == {"users": pytest.approx(users / 60), "share": pytest.approx(np.mean(by_hand))}
    cut = ByTime("2012-01-01", "2015-01-01")
    assert finding(data, "the future in training", split=cut).verdict == "fine"


def test_unseen_items_are_counted_in_both_parts():
    data = clean()
    items = data.interactions.items.copy()
    ends = data.interactions.offsets[1:]
    items[:] = np.tile(np.arange(1, 7), 30)
    items[ends[:6] - 1], items[ends[:3] - 2] = 399, 400
    items[ends[6:] - 1], items[ends[3:] - 2] = 1, 2
    numbers = finding(with_log(data, items=items), "items unseen in training").numbers
    assert numbers == {"unseen_valid": 0.1, "unseen_test": 0.2}


def test_what_features_were_fitted_on():
    data = clean()
    said = {
        "none": ({}, "leak"),
        "all": ({"fitted_on": "400 items of the catalogue, no events"}, "know"),
        "model": ({"fitted_on": "nothing; the model is taken as it is"}, "fine"),
        "log": ({"fitted_on": "item vectors of all events"}, "leak"),
    }
    features = {n: replace(random_features(ITEMS, 3, 0), provenance=p) for n, (p, _) in said.items()}
    found = {f.what: f.verdict for f in audit(data.with_features(**features)) if "fitted on" in f.what}
    assert found == {f"what {n} features were fitted on": verdict for n, (_, verdict) in said.items()}


def test_openings_of_the_test_part_are_counted_by_setting(tmp_path):
    data = clean()
    assert finding(data, "openings of the test part", runs=tmp_path).verdict == "fine"
    for job in (Job(zoo.POPULARITY), Job(zoo.POPULARITY, seed=1), Job(zoo.MARKOV)):
        run(job, data, tmp_path)
    run(Job(zoo.MARKOV), small(), tmp_path)  # of other data: not counted
    found = finding(data, "openings of the test part", runs=tmp_path)
    assert found.verdict == "know"
    assert (found.numbers["openings"], found.numbers["settings"]) == (3, 2)


def test_the_best_of_many_equal_scorers_gains_what_is_said():
    """HR of 40 coin-tossing scorers on 200 users: the best lies above the truth by about the luck that is told."""
    rng = np.random.default_rng(0)
    gains = [(rng.random((40, 200)) < 0.5).mean(axis=1).max() - 0.5 for _ in range(400)]
    said = np.sqrt(2 * np.log(40)) * 0.5 / np.sqrt(200)
    assert 0.7 * said < np.mean(gains) < said


def test_the_verb_and_its_refusals(tmp_path):
    folder = tmp_path / "data"
    store.save(small(users=60), folder)
    told = CliRunner().invoke(app, ["audit", str(folder)], env={"COLUMNS": "150"})
    assert told.exit_code == 0, told.output
    assert "the future in training" in told.output
    assert "leaks," in told.output
    found = json.loads(
        CliRunner().invoke(app, ["audit", str(folder), "--protocol", "by-time=2012-01-01,2015-01-01", "--json"]).stdout
    )
    assert next(f for f in found if f["what"] == "the future in training")["verdict"] == "fine"
    for wrong, message in (
        (["--protocol", "by-time=2012-01-01"], "is no protocol"),
        (["--runs", str(tmp_path / "no")], "no folder of runs"),
    ):
        refused = CliRunner().invoke(app, ["audit", str(folder), *wrong])
        assert refused.exit_code == 2
        assert message in refused.output
