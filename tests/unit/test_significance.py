"""What is said about means: intervals cover the truth, tests keep their level, and corrections agree with their rules."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tmmsrec.metrics import HR, NDCG
from tmmsrec.significance import holm, interval, paired_test, slices


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    ranks = rng.integers(0, 40, size=(400, 150))
    truth = float((NDCG @ 10)(np.arange(40)).mean())
    covered = sum(lo <= truth <= hi for lo, hi in (interval((NDCG @ 10)(r), draws=400) for r in ranks))
    assert 0.90 <= covered / 400 <= 0.985


def test_both_ways_of_resampling_agree_with_scipy():
    rng = np.random.default_rng(1)
    few, many = rng.integers(0, 2, 300).astype(float), rng.random(300)
    for values in (few, many):
        theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=rng).confidence_interval
        lo, hi = interval(values, draws=4000)
        assert lo == pytest.approx(theirs.low, abs=0.006)
        assert hi == pytest.approx(theirs.high, abs=0.006)


def test_seeds_and_users_are_resampled_together():
    rng = np.random.default_rng(2)
    users = rng.integers(0, 2, 200).astype(float)
    same = np.tile(users, (5, 1))
    alone, together = interval(users, draws=4000), interval(same, draws=4000)
    assert tuple(together) == pytest.approx(tuple(alone), abs=0.01)
    apart = same + np.array([-0.3, -0.1, 0.0, 0.1, 0.3])[:, None]  # seeds differ by more than users do
    expected = math.sqrt(users.var() / 200 + np.var([-0.3, -0.1, 0.0, 0.1, 0.3]) / 5)
    lo, hi = interval(apart, draws=4000)
    assert (hi - lo) / (2 * 1.96) == pytest.approx(expected, rel=0.08)


def test_an_interval_of_a_million_users_is_cheap_and_repeatable():
    ranks = np.random.default_rng(0).integers(0, 5000, 1_000_000)
    values = (NDCG @ 10)(ranks)
    lo, hi = interval(values)
    assert interval(values) == interval(values, seed=0)
    error = values.std() / 1000
    assert hi - lo == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_an_interval_of_nothing_is_refused():
    for wrong in ([], [1.0, math.nan], np.zeros((1, 2, 3))):
        with pytest.raises(ValueError, match="interval needs"):
            interval(wrong)
    with pytest.raises(ValueError, match="level"):
        interval([1.0], level=95)


def test_every_flip_is_counted_when_users_are_few():
    pairs = [0.4, 0.1, -0.2, 0.5, 0.3, 0.0]
    flips = [abs(sum(s * p for s, p in zip(signs, pairs, strict=True))) for signs in itertools.product([1, -1], repeat=6)]
    expected = sum(f >= abs(sum(pairs)) - 1e-12 for f in flips) / len(flips)
    assert paired_test(pairs, np.zeros(6)).p == pytest.approx(expected)


def test_random_flips_agree_with_the_t_test_where_both_hold():
    rng = np.random.default_rng(5)
    a, b = (NDCG @ 10)(rng.integers(0, 20, 500)), (NDCG @ 10)(rng.integers(0, 24, 500))
    said = paired_test(a, b)
    assert said.p == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.01)
    assert said.difference == pytest.approx((a - b).mean())
    assert said.effect == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    assert (said.wins, said.losses, said.users) == (int((a > b).sum()), int((a < b).sum()), 500)
    assert said.interval.lo < said.difference < said.interval.hi


def test_the_paired_test_keeps_its_level_and_finds_a_difference():
    rng = np.random.default_rng(6)
    raised = 0
    for _ in range(400):
        a, b = (HR @ 5)(rng.integers(0, 20, (2, 120)))
        raised += paired_test(a, b, draws=999).p <= 0.05
    assert 0.015 <= raised / 400 <= 0.085
    assert paired_test(np.ones(100), np.zeros(100)).p < 1e-3
    assert paired_test(np.ones(100), np.ones(100)).p == 1.0


def of_seeds(rng: np.random.Generator, seeds: int, users: np.ndarray, luck: float) -> np.ndarray:
    """[S, U]: what all methods share by user, what this one does by user, the luck of its seeds, and noise."""
    own = rng.normal(size=len(users)) * 0.1
    return users + own + rng.normal(size=(seeds, 1)) * luck + rng.normal(size=(seeds, len(users))) * 0.1 * (luck > 0)


@pytest.mark.parametrize(("seeds", "others", "luck"), [(3, 3, 0.0), (3, 3, 0.005), (3, 3, 0.02), (3, 1, 0.005), (10, 10, 0.02)])
def test_with_seeds_the_test_keeps_its_level_and_its_interval_covers_nothing(seeds: int, others: int, luck: float) -> None:
    rng = np.random.default_rng(8)
    rejected = covered = told_by_users = 0
    for _ in range(600):
        users = rng.normal(size=300) * 0.3
        a, b = of_seeds(rng, seeds, users, luck), of_seeds(rng, others, users, luck if others > 1 else 0.0)
        found = paired_test(a, b)
        rejected += found.p < 0.05
        covered += found.interval.lo <= 0 <= found.interval.hi
        told_by_users += stats.ttest_rel(a.mean(axis=0), b.mean(axis=0)).pvalue < 0.05
    assert 0.01 <= rejected / 600 <= 0.085
    assert covered == 600 - rejected
    if luck == 0.02:  # what pairing users alone would say
        assert told_by_users / 600 > 0.15


def test_a_difference_of_every_user_and_seed_is_found_and_no_difference_is_none() -> None:
    rng = np.random.default_rng(9)
    users = rng.normal(size=300) * 0.3
    a, b = of_seeds(rng, 3, users, 0.005), of_seeds(rng, 3, users, 0.005)
    better = paired_test(a + 0.05, b)
    assert better.p < 0.001
    assert better.interval.lo < 0.05 < better.interval.hi
    assert paired_test(np.stack([users, users]), users).p == 1.0
    assert paired_test(np.stack([users + 1, users + 1]), users).p == 0.0


def test_seeds_are_averaged_before_pairing_and_other_users_are_refused():
    a = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert paired_test(a, np.zeros(3)).difference == pytest.approx(0.5)
    with pytest.raises(ValueError, match="same users"):
        paired_test([1.0, 2.0], [1.0])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]).tolist() == pytest.approx([1.0, 1.0])
    assert holm([0.02, 0.001, 0.02, 0.3]).tolist() == pytest.approx([0.06, 0.004, 0.06, 0.3])
    assert holm([]).tolist() == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_rule_rejects(p):
    rejected, ordered = set(), sorted(range(len(p)), key=p.__getitem__)
    for step, index in enumerate(ordered):
        if p[index] * (len(p) - step) > 0.05:
            break
        rejected.add(index)
    assert {i for i, q in enumerate(holm(p)) if q <= 0.05} == rejected


def test_slices_summarise_each_group():
    values = [random.Random(i).random() for i in range(50)]
    groups = ["cold" if i % 5 == 0 else "warm" for i in range(50)]
    cold, warm = slices(values, groups)
    assert (cold.group, cold.count, warm.group, warm.count) == ("cold", 10, "warm", 40)
    assert cold.mean == pytest.approx(np.mean(values[::5]))
    assert cold.interval == interval(values[::5])
    assert [s.group for s in slices([1.0, 2.0], [3, 1])] == [1, 3]
    with pytest.raises(ValueError, match="one label per user"):
        slices([1.0], [1, 2])
