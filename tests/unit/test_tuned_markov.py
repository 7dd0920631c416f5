"""The floor that may choose: by what may be read alone, and as the ranking of each setting says."""

from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import small
from tmmsrec import metrics, zoo
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.split import LeaveOneOut, Part
from tmmsrec.models import tuned_markov
from tmmsrec.models.counting import Markov
from tmmsrec.models.tuned_markov import TunedMarkov, _values, _without_the_newest
from tmmsrec.ranking import rank
from tmmsrec.study.run import Job

VALUE = replace(zoo.MARKOV_TUNED, reaches=(2, 50))


def of(rows: list[list[int]]) -> Interactions:
    owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return Interactions.of(owner, np.concatenate(rows), np.arange(len(owner)) * 1000, len(rows))


def counted(value: TunedMarkov, part: Part, dataset) -> Markov:
    model = value.build(dataset)
    model.observe(part)
    return model.value


@pytest.mark.parametrize("crowded", [0.0, 1.0])  # all is held dense, nothing is
@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_setting_is_the_one_that_ranks_the_held_back_events_best(seed, exclude_seen, crowded, monkeypatch):
    monkeypatch.setattr(tuned_markov, "_CROWDED", crowded)
    dataset = small(users=60, items=12, seed=seed)
    parts = LeaveOneOut().cut(dataset.interactions)
    # What may be read before the test targets, its newest event held back, is the validation part.
    values = []
    for setting in VALUE.settings():
        ranks = rank(setting.build(dataset), parts.valid, history=setting.history, exclude_seen=exclude_seen).ranks
        values.append((metrics.NDCG @ 10)(ranks).mean())
    found = counted(VALUE.under(exclude_seen), parts.test, dataset)
    held_back = _without_the_newest(parts.test, VALUE)
    assert _values(held_back, dataset.n_items, VALUE.settings(), exclude_seen) == pytest.approx(values, abs=1e-12)
    assert values[VALUE.settings().index(found)] == pytest.approx(max(values), abs=1e-12)
    assert max(values) > min(values)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_a_job_has_it_choose_as_it_is_tested(exclude_seen):
    made = Job(VALUE.under(not exclude_seen), exclude_seen=exclude_seen)
    assert made == Job(VALUE, exclude_seen=exclude_seen)
    assert made.method.exclude_seen is exclude_seen


def test_a_log_where_the_last_event_decides_is_read_at_its_end_and_one_of_habits_is_read_whole():
    rng = np.random.default_rng(0)
    dataset = small(items=30)
    steps = [[int((s + k) % 30) + 1 for k in range(6)] for s in rng.integers(0, 30, 200)]
    cycle = counted(TunedMarkov(decays=(0.1, 1.0), spans=(1, 3), reaches=(1, 50), backoffs=(1e-6,)), Part.whole(of(steps)), dataset)
    assert (cycle.span, cycle.reach) == (1, 1) or cycle.decay == 0.1
    # Each has three favourites out of ten sets of three, in any order: all of the history tells which set.
    sets = [[int(3 * s + k) + 1 for k in rng.integers(0, 3, 6)] for s in rng.integers(0, 10, 200)]
    noisy = [[*row[:-1], int(rng.integers(1, 31)), row[-1]] for row in sets]  # and the newest event is anything
    assert (
        counted(TunedMarkov(decays=(1.0,), spans=(3,), reaches=(1, 50), backoffs=(1e-6,)), Part.whole(of(noisy)), dataset).reach
        == 50
    )


def test_a_target_never_chooses_for_itself():
    dataset = small(users=60, items=12)
    log = dataset.interactions
    parts = LeaveOneOut().cut(log)
    items = log.items.copy()
    last = log.offsets[1:] - 1
    items[last] = (items[last] + 4) % 12 + 1
    owner = log.owners
    other = LeaveOneOut().cut(Interactions.of(owner, items, log.times, log.users))
    assert counted(VALUE, parts.test, dataset) == counted(VALUE, other.test, dataset)


def test_a_large_log_chooses_by_some_of_its_users_and_counts_all():
    dataset = small(users=300, items=12)
    whole = Part.whole(dataset.interactions)
    asked = []
    for value in (VALUE, replace(VALUE, events=200), replace(VALUE, users=40), replace(VALUE, events=200, users=5)):
        shown = _without_the_newest(whole, value)
        asked.append((len(shown), int(shown.stop.sum())))
        few = value.build(dataset)
        few.observe(whole)
        plain = few.value.build(dataset)
        plain.observe(whole)
        assert few.pairs.tolist() == plain.pairs.tolist()
        assert few.weights.tolist() == plain.weights.tolist()
    everybody, events = asked[0]
    assert (everybody, events) == (300, len(dataset.interactions) - 300)
    assert 20 < asked[1][0] < 60
    assert asked[1][0] + asked[1][1] <= 200
    assert asked[2] == (40, events)
    assert asked[3] == (5, asked[1][1])


def test_where_nobody_has_two_events_the_first_setting_stands():
    assert counted(VALUE, Part.whole(of([[1], [2], [1]])), small()) == VALUE.settings()[0]


def test_loaded_weights_bring_what_was_chosen():
    dataset = small(users=60, items=12, seed=1)
    model, loaded = (VALUE.build(dataset) for _ in range(2))
    parts = LeaveOneOut().cut(dataset.interactions)
    model.observe(parts.test)
    loaded.load_state_dict(model.state_dict())
    kept = rank(loaded, parts.test, history=VALUE.history, observe=False).ranks
    assert kept.tolist() == rank(model, parts.test, history=VALUE.history, observe=False).ranks.tolist()
    assert loaded.value == model.value != VALUE.settings()[0]


@pytest.mark.parametrize(
    "changes", [{"decays": ()}, {"backoffs": ()}, {"events": 0}, {"users": 0}, {"spans": (0,)}, {"decays": (1.5,)}]
)
def test_what_cannot_be_chosen_among_is_refused(changes):
    with pytest.raises(ValueError, match=r"at least|between"):
        replace(VALUE, **changes)
