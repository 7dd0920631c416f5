"""Splits, batches and negatives."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from tests.conftest import DAY, small
from tmmsrec import zoo
from tmmsrec.data.batch import Pass, Rows, _even, ranking_batches, training_batches
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Negatives, Sampler
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import ByTime, ColdItems, LeaveOneOut, PaperLeak, Part, protocol
from tmmsrec.study.run import Job
from tmmsrec.training import Training


def log_of(*histories: list[int]) -> Interactions:
    owner = np.repeat(np.arange(len(histories)), [len(h) for h in histories])
    return Interactions.of(owner, np.concatenate(histories), np.concatenate([np.arange(len(h)) * DAY for h in histories]))


def test_leave_one_out_reads_what_the_paper_says():
    parts = LeaveOneOut().cut(log_of([1, 2, 3, 4, 5], [6, 7], [8, 9, 1]))
    assert parts.train.stop.tolist() == [3, 2, 1]
    assert parts.train.users.tolist() == [0, 1]
    assert parts.valid.users.tolist() == parts.test.users.tolist() == [0, 2]
    assert parts.valid.targets.tolist() == [4, 9]
    assert parts.test.targets.tolist() == [5, 1]
    assert parts.test.stop.tolist() == [4, 2, 2]
    with pytest.raises(ValueError, match="no held-out targets"):
        _ = parts.train.targets
    with pytest.raises(ValueError, match="'all' has no held-out targets"):
        _ = Part.whole(log_of([1, 2], [3])).targets


def test_by_time_cuts_for_everybody_on_the_same_day():
    parts = ByTime("1970-01-03", "1970-01-05").cut(log_of([1, 2, 3, 4, 5, 6], [7, 8], [1, 2, 3]))
    assert parts.train.stop.tolist() == [2, 2, 2]
    assert parts.valid.users.tolist() == [0, 2]
    assert parts.valid.targets.tolist() == [3, 3]
    assert parts.test.users.tolist() == [0]
    assert parts.test.targets.tolist() == [5]
    assert parts.test.stop.tolist()[0] == 4
    log = parts.train.interactions
    assert log.times[parts.train.readable].max() < 2 * DAY


@pytest.mark.parametrize(
    ("dates", "said"),
    [
        (("2020-01-01", "2019-01-01"), "before"),
        (("soon", "2019-01-01"), "ISO date"),
        (("2030-01-01", "2031-01-01"), "1970-01-01 to 1970-01-03"),
    ],
)
def test_by_time_says_what_is_wrong(dates, said):
    with pytest.raises(DataProblem, match=said):
        ByTime(*dates).cut(log_of([1, 2, 3]))


def test_too_few_events_to_split():
    with pytest.raises(DataProblem, match="no user has 3 events"):
        LeaveOneOut().cut(log_of([1, 2], [3]))


def test_cold_items_are_the_newest_and_in_no_training_event():
    """Items 9 and 10 appear last: 9 is for validation, 10 for the test."""
    data = Interactions.of(
        np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4]),
        np.array([3, 1, 9, 5, 10, 2, 1, 2, 10, 9, 5, 6, 9, 7, 8, 10]),
        np.array([0, 1, 50, 51, 60, 61, 2, 3, 62, 63, 4, 5, 64, 6, 7, 65]) * DAY,
    )
    parts = ColdItems(0.1).cut(data)
    assert parts.train.stop.tolist() == [2, 2, 2, 2, 0]
    assert parts.train.users.tolist() == [0, 1, 2, 3]
    assert parts.valid.users.tolist() == [0, 2]  # 10 came before 9 for user 1
    assert parts.valid.targets.tolist() == [9, 9]
    assert parts.test.users.tolist() == [0, 1]  # nothing goes before user 4's only event
    assert parts.test.targets.tolist() == [10, 10]
    assert parts.test.stop[[0, 1]].tolist() == [4, 2]
    with pytest.raises(DataProblem, match="between 0 and"):
        ColdItems(0.5)
    with pytest.raises(DataProblem, match="no user is left for training"):
        ColdItems().cut(log_of([1, 2, 3], [2, 3, 1]))


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_cold_targets_are_cold_whatever_the_log(share):
    data = small(users=300, items=60)
    parts = ColdItems(share).cut(data.interactions)
    seen = parts.train.item_counts(data.n_items) > 0
    validated = np.unique(parts.valid.targets)
    assert not seen[parts.test.targets].any()
    assert not seen[validated].any()
    assert not np.isin(parts.test.targets, validated).any()
    assert len(np.unique(parts.test.targets)) <= max(1, round(60 * share))


def test_the_leaking_protocol_chooses_by_the_test_items():
    log = small().interactions
    clean, leak = LeaveOneOut().cut(log), PaperLeak().cut(log)
    assert leak.valid.name == "valid"
    assert (leak.valid.targets == clean.test.targets).all()
    assert (leak.valid.stop == clean.test.stop).all()
    assert (leak.train.stop == clean.train.stop).all()
    with pytest.raises(ValueError, match="refit would learn them"):
        Job(zoo.SASREC, Training(refit=True), PaperLeak())


def test_protocols_by_name():
    assert protocol("leave-one-out") == LeaveOneOut()
    assert protocol("by-time=2020-01-01,2020-06-01") == ByTime("2020-01-01", "2020-06-01")
    assert (protocol("cold-items"), protocol("cold-items=.2")) == (ColdItems(), ColdItems(0.2))
    assert protocol("paper-leak") == PaperLeak()
    assert all(protocol(name).said for name in ("leave-one-out", "by-time=2020-01-01,2020-06-01", "cold-items", "paper-leak"))
    for wrong in ("leave-two-out", "by-time=2020-01-01", "cold-items=x", "paper-leak=1", "cold-items="):
        with pytest.raises(DataProblem, match="is no protocol; known: leave-one-out"):
            protocol(wrong)


def test_training_batches_hold_every_step_once_and_shift_by_one():
    data = small(users=33)
    part = LeaveOneOut().cut(data.interactions).train
    sampler = Sampler(part, data.n_items, Negatives(per_step=2))
    log, seen = data.interactions, []
    for batch in training_batches(part, Pass(size=8, length=4), sampler, seed=(3,)):
        assert batch.items.shape == batch.times.shape == batch.now.shape == batch.targets.shape
        assert int(batch.mask.sum(1).max()) == batch.items.shape[1], "padded beyond its own longest"
        assert ((batch.items != 0) == (batch.targets != 0)).all()
        for row, user in enumerate(batch.users.tolist()):
            n = int(batch.mask[row].sum())
            events = slice(log.offsets[user] + part.stop[user] - n - 1, log.offsets[user] + part.stop[user])
            assert batch.items[row, :n].tolist() == log.items[events][:-1].tolist()
            assert batch.targets[row, :n].tolist() == log.items[events][1:].tolist()
            assert batch.times[row, :n].tolist() == log.times[events][:-1].tolist()
            assert batch.now[row, :n].tolist() == log.times[events][1:].tolist()
            assert n == min(4, part.stop[user] - 1)
            seen.append(user)
    assert sorted(seen) == part.users.tolist()


def test_rows_per_event_hold_every_target_once_after_its_own_history():
    data = small(users=33)
    part, log = LeaveOneOut().cut(data.interactions).train, data.interactions
    sampler = Sampler(part, data.n_items, Negatives(per_step=2))
    found = []
    for batch in training_batches(part, Pass(size=8, length=3, per="event"), sampler, seed=(3,)):
        assert ((batch.targets != 0).sum(1) == 1).all()
        for row, user in enumerate(batch.users.tolist()):
            n = int(batch.mask[row].sum())
            assert int(batch.targets[row, n - 1]) > 0, "the target stands beside the newest event"
            start = log.offsets[user]
            at = next(
                e
                for e in range(start + n, start + part.stop[user])
                if log.items[e - n : e].tolist() == batch.items[row, :n].tolist()
                and log.times[e] == batch.now[row, n - 1]
                and (user, e) not in found
                and n == min(3, e - start)
            )
            assert log.items[at] == batch.targets[row, n - 1]
            assert batch.times[row, :n].tolist() == log.times[at - n : at].tolist()
            assert batch.now[row, :n].tolist() == log.times[at - n + 1 : at + 1].tolist()
            found.append((user, at))
    assert len(found) == int((part.stop[part.users] - 1).sum()) == len(set(found)) == len(Rows.of(part, 3, "event"))


def test_rows_without_history_are_the_distinct_pairs_of_user_and_item():
    log = log_of([1, 2, 1, 3, 9, 9], [4, 4, 5, 9, 9])
    part = LeaveOneOut().cut(log).train
    sampler = Sampler(part, 9, Negatives(per_step=1))
    pairs = []
    for batch in training_batches(part, Pass(size=2, length=0, per="event"), sampler, seed=(0,)):
        assert batch.items.shape == batch.targets.shape == (len(batch.users), 1)
        assert not batch.items.any()
        assert batch.negatives.shape == (len(batch.users), 1, 1)
        pairs += zip(batch.users.tolist(), batch.targets[:, 0].tolist(), strict=True)
    assert sorted(pairs) == [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)]
    with pytest.raises(ValueError, match="per event"):
        Rows.of(part, 0, "user")


def test_a_pass_can_be_a_share_of_the_rows():
    """Each row at most once in a pass, all equally often over many, and in batches of similar lengths still."""
    part = LeaveOneOut().cut(small(users=33).interactions).train
    sampler = Sampler(part, 30, Negatives(per_step=1))
    met = np.zeros(33)
    for epoch in range(300):
        batches = list(training_batches(part, Pass(size=4, length=50, most=11), sampler, seed=(epoch,)))
        assert len(batches) == 3
        users = np.concatenate([b.users.numpy() for b in batches])
        assert len(set(users.tolist())) == 11
        spans = sorted((int(b.mask.sum(1).min()), int(b.mask.sum(1).max())) for b in batches)
        assert all(high <= low for (_, high), (low, _) in pairwise(spans)), "lengths of batches overlap"
        met[users] += 1
    assert met.sum() == 300 * 11
    often = met[part.users]
    assert abs(often - often.mean()).max() < 45  # five standard deviations


def test_passes_differ_by_seed_and_can_be_taken_up_again():
    part = LeaveOneOut().cut(small().interactions).train
    sampler = Sampler(part, 30, Negatives(per_step=1))

    def batches(seed, skip=0):
        return list(training_batches(part, Pass(size=8, length=50), sampler, seed=seed, skip=skip))

    whole, again, tail = batches((1, 0)), batches((1, 0)), batches((1, 0), skip=2)
    assert all((a.users == b.users).all() and (a.negatives == b.negatives).all() for a, b in zip(whole, again, strict=True))
    assert all((a.users == b.users).all() and (a.negatives == b.negatives).all() for a, b in zip(whole[2:], tail, strict=True))
    other = batches((1, 1))
    assert any(a.users.tolist() != b.users.tolist() for a, b in zip(whole, other, strict=True))


def test_negatives_are_never_padding_never_met_and_uniform():
    data = small(items=12, users=6)
    part = LeaveOneOut().cut(data.interactions).train
    sampler = Sampler(part, 12, Negatives(per_step=1))
    log = data.interactions
    drawn = sampler.draw(part.users, 4000, np.random.default_rng(0))
    for row, user in enumerate(part.users):
        met = set(log.items[log.offsets[user] : log.offsets[user] + part.stop[user]].tolist())
        free = [i for i in range(1, 13) if i not in met]
        values, counts = np.unique(drawn[row], return_counts=True)
        assert values.tolist() == free
        assert stats.chisquare(counts).pvalue > 1e-4


def test_a_user_who_met_everything_is_named():
    part = LeaveOneOut().cut(log_of([1, 2, 3, 1, 2])).train
    with pytest.raises(DataProblem, match="user row 0 has met all 3 items"):
        Sampler(part, 3, Negatives(per_step=1))


def test_shared_draws_follow_what_they_say():
    data = small()
    part = LeaveOneOut().cut(data.interactions).train
    counts = part.item_counts(30)[1:] + 1
    sampler = Sampler(part, 30, Negatives(shared=60_000, by="popularity"))
    drawn = sampler.draw(part.users, 1, np.random.default_rng(1))
    found = np.bincount(drawn, minlength=31)[1:]
    assert stats.chisquare(found, counts / counts.sum() * len(drawn)).pvalue > 1e-4
    np.testing.assert_allclose(sampler.expected(drawn), 60_000 * (counts / counts.sum())[drawn - 1])


def test_ranking_batches_hide_the_target_and_ask_at_its_time():
    data = small()
    part = LeaveOneOut().cut(data.interactions).test
    log, places = data.interactions, []
    for chosen, batch in ranking_batches(part, size=7, length=5):
        places.extend(chosen.tolist())
        assert batch.targets.numel() == 0
        for row, at in enumerate(chosen):
            user, n = part.users[at], int(batch.mask[row].sum())
            end = log.offsets[user] + part.stop[user]
            assert batch.items[row, :n].tolist() == log.items[end - n : end].tolist()
            assert int(batch.now[row, batch.last[row]]) == log.times[end]
            assert batch.now[row, : n - 1].tolist() == log.times[end - n + 1 : end].tolist()
    assert sorted(places) == list(range(len(part)))


def test_a_log_that_contradicts_itself_is_refused():
    good = log_of([1, 2, 3], [2, 1])
    good.check(3)
    with pytest.raises(DataProblem, match=r"catalogue holds 1\.\.2"):
        good.check(2)
    backwards = Interactions(good.offsets, good.items, good.times[::-1].copy())
    with pytest.raises(DataProblem, match="time goes backwards at event"):
        backwards.check(3)
    with pytest.raises(DataProblem, match="offsets run"):
        Interactions(np.array([0, 2]), good.items, good.times).check(3)


def test_a_log_and_its_parts_are_told_in_a_line():
    log = Interactions.of(np.array([0, 0, 0, 1, 1, 1]), np.array([1, 2, 3, 3, 2, 1]), np.arange(6))
    assert repr(log) == "Interactions(2 users, 6 events)"
    assert repr(LeaveOneOut().cut(log).valid) == "Part(valid: 2 users, 2 of 6 events may be read)"


@pytest.mark.parametrize("by", ["batch", "mixed"])
def test_draws_from_the_batch_are_expected_as_often_as_they_come(by):
    """Over many batches each item comes as often as was said, and the rest of a mixed draw is uniform."""
    data = small(users=400, items=12)
    part = LeaveOneOut().cut(data.interactions).train
    sampler = Sampler(part, 12, Negatives(shared=40, by=by))
    targets = np.zeros((20, 9), np.int64)
    came, said, rng = np.zeros(13), np.zeros(13), np.random.default_rng(0)
    pool = data.interactions.items[part.readable]
    for _ in range(2000):
        targets[:, :5] = rng.choice(pool, (20, 5))
        drawn = sampler.draw(np.zeros(20, np.int64), 9, rng, targets)
        assert len(drawn) == 40
        own = drawn[: 40 if by == "batch" else 20]
        assert np.isin(own, targets[targets != 0]).all()
        came += np.bincount(drawn, minlength=13)
        said[drawn] = sampler.expected(drawn)
    assert np.abs(came[1:] / 2000 / said[1:] - 1).max() < 0.05
    few = sampler.draw(np.zeros(1, np.int64), 2, rng, np.array([[3, 0]]))
    assert len(few) == (1 if by == "batch" else 21)
    with pytest.raises(ValueError, match="hand them in"):
        sampler.draw(np.zeros(1, np.int64), 2, rng)


def test_what_a_draw_does_not_need_is_not_made():
    part = LeaveOneOut().cut(small().interactions).train
    for how in (Negatives(), Negatives(shared=4), Negatives(per_step=1)):
        assert not {"_probability", "_cumulative", "_share"} & set(vars(Sampler(part, 30, how)))
    assert Sampler(part, 30, Negatives()).draw(np.arange(3), 5, np.random.default_rng(0)).shape == (3, 5, 0)


def test_every_step_of_a_pass_has_about_as_many_targets_whatever_the_lengths():
    rng = np.random.default_rng(0)
    lengths = np.sort(3 + rng.geometric(0.1, 400))
    log = Interactions.of(np.repeat(np.arange(400), lengths), rng.integers(1, 31, lengths.sum()), np.arange(lengths.sum()), 400)
    part = LeaveOneOut().cut(log).train
    batches = list(training_batches(part, Pass(size=20, length=50), Sampler(part, 30, Negatives()), seed=(0,)))
    assert len(batches) == 20
    events = np.array([b.events for b in batches])
    assert events.sum() == np.minimum(lengths - 3, 50).sum()
    assert events.min() > 0.8 * events.mean()
    assert events.max() < 1.2 * events.mean()
    assert max(len(b.users) for b in batches) > 5 * min(len(b.users) for b in batches)


@pytest.mark.parametrize("targets", [[1, 1, 1, 1, 1], [0, 0, 9], [40, 1, 1, 1, 1], [1, 1, 1, 1, 40], [7]])
def test_no_step_is_without_rows(targets):
    for parts in range(1, len(targets) + 1):
        found = _even(np.arange(len(targets)), np.array(targets), parts)
        assert len(found) == parts
        assert all(len(one) for one in found)
        np.testing.assert_array_equal(np.concatenate(found), np.arange(len(targets)))


def test_windows_make_a_target_of_every_event_but_the_first():
    log = Interactions.of(np.repeat([0, 1, 2], [10, 3, 4]), np.arange(1, 18), np.arange(17))
    train = LeaveOneOut().cut(log).train
    assert train.users.tolist() == [0, 2]  # of 8, 1 and 2 events
    rows = Rows.of(train, 3, "window")
    told = [
        (user, log.items[last - steps : last].tolist(), log.items[last - steps + 1 : last + 1].tolist())
        for user, last, steps in zip(rows.users, rows.last, rows.steps, strict=True)
    ]
    assert told == [
        (0, [5, 6, 7], [6, 7, 8]),
        (0, [2, 3, 4], [3, 4, 5]),
        (0, [1], [2]),
        (2, [14], [15]),
    ]
    batch = next(training_batches(train, Pass(size=9, length=3, per="window"), Sampler(train, 17, Negatives()), seed=(0,)))
    assert sorted(batch.targets[batch.targets > 0].tolist()) == [2, 3, 4, 5, 6, 7, 8, 15]
    newest = Rows.of(train, 3, "user")
    assert newest.targets("user").tolist() == [3, 1]


def test_a_training_by_windows_is_of_all_events_and_counting_keeps_to_the_newest():
    assert zoo.SASREC.row(True) == "window"
    assert zoo.SASREC.row(False) == zoo.TMMSREC_PLUS.row(True) == "user"
    assert zoo.methods()["mlp4rec"].row(True) == "event"


def test_a_user_with_one_event_gives_a_pair_and_no_history():
    """Such a user is asked about, so a method that knows users by their rows has to learn the row."""
    log = Interactions.of(np.array([0, 0, 0, 1, 1, 1, 1, 1]), np.array([1, 2, 3, 4, 5, 6, 7, 8]), np.arange(8))
    train = LeaveOneOut().cut(log).train
    assert train.stop.tolist() == [1, 3]
    pairs = Rows.of(train, 0, "event")
    assert list(zip(pairs.users, log.items[pairs.last], strict=True)) == [(0, 1), (1, 4), (1, 5), (1, 6)]
    assert Rows.of(train, 5, "event").users.tolist() == [1, 1]


def test_a_share_in_percent_is_told():
    with pytest.raises(DataProblem, match=r"lies between 0 and .5, got 10; 10 % are 0.1"):
        ColdItems(10)
