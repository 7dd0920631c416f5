import itertools
import json
import math
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tmmsrec.metrics import HR, MRR, NDCG, Metric, holm, interval, paired_test, parse, slices

TABLE = [1.0, 0.6309, 0.5, 0.4307, 0.3869, 0.3562, 0.3333, 0.3155, 0.3010, 0.2891]
ranks_ = st.lists(st.integers(0, 60).map(lambda twice: twice / 2), min_size=1, max_size=30)


def slow(name: str, k: int | None, rank: float) -> float:
    if k is not None and not rank < k:
        return 0.0
    if name == "HR":
        return 1.0
    return 1 / math.log2(rank + 2) if name == "NDCG" else 1 / (rank + 1)


@given(ranks_, st.sampled_from(["HR", "NDCG", "MRR"]), st.integers(1, 20))
def test_a_metric_is_its_formula_user_by_user(ranks, name, k):
    assert np.allclose(Metric(name, k)(ranks), [slow(name, k, r) for r in ranks])


@given(ranks_, st.sampled_from(["NDCG", "MRR"]))
def test_without_a_cut_off_every_rank_counts(ranks, name):
    assert np.allclose(Metric(name)(ranks), [slow(name, None, r) for r in ranks])


def test_the_ndcg_contributions_are_the_published_ones():
    gains = (NDCG @ 10)(np.arange(12))
    assert np.allclose(gains[:10], TABLE, atol=5e-5)
    assert not gains[10:].any()
    assert gains.sum() == pytest.approx(4.5436, abs=5e-5)


@pytest.mark.parametrize("n", [50, 800])
def test_a_random_scorer_earns_what_chance_earns(n):
    every_rank = np.arange(n)
    assert (HR @ 10)(every_rank).mean() == pytest.approx(10 / n)
    assert (NDCG @ 10)(every_rank).mean() == pytest.approx(4.5436 / n, rel=1e-4)


def test_a_constant_scorer_earns_nothing_and_the_middle_of_a_tie_decides():
    assert (HR @ 10)([(800 - 1) / 2]).tolist() == [0.0]
    assert (HR @ 10)([9.5, 10.0]).tolist() == [1.0, 0.0]
    assert (MRR @ 10)([0.5]) == pytest.approx(1 / 1.5)


# ranx compiles each of its metrics for many seconds; in a process of its own it can be told not to.
RANX = """
import json, sys
from ranx import Qrels, Run, evaluate
scores, target = json.load(sys.stdin)
run = Run({f"u{u}": {f"i{i}": s for i, s in enumerate(row)} for u, row in enumerate(scores)})
qrels = Qrels({f"u{u}": {f"i{t}": 1} for u, t in enumerate(target)})
said = evaluate(qrels, run, ["hit_rate@10", "ndcg@10", "mrr@10", "mrr"])
print(json.dumps({name: float(value) for name, value in said.items()}))
"""


def test_against_ranx():
    rng = np.random.default_rng(3)
    scores, target = rng.random((25, 40)), rng.integers(0, 40, 25)
    given = json.dumps([scores.tolist(), target.tolist()])
    process = subprocess.run(
        [sys.executable, "-c", RANX],
        input=given,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(process.stdout.splitlines()[-1])
    ranks = (scores > scores[np.arange(25), target][:, None]).sum(axis=1)
    assert 0 < theirs["hit_rate@10"] < 1
    for metric, name in ((HR @ 10, "hit_rate@10"), (NDCG @ 10, "ndcg@10"), (MRR @ 10, "mrr@10"), (MRR, "mrr")):
        assert metric(ranks).mean() == pytest.approx(theirs[name]), name


def test_a_metric_is_written_and_read():
    assert str(NDCG @ 10) == "NDCG@10"
    assert str(MRR) == "MRR"
    assert parse("NDCG@10") == NDCG @ 10 == Metric("NDCG", 10)
    assert parse("mrr") == MRR
    assert len({HR @ 1, HR @ 1, HR @ 5}) == 2


@pytest.mark.parametrize("text", ["NDCG@", "NDCG@ten", "NDCG@0", "AUC@10", "@3", "HR@-1"])
def test_a_metric_that_does_not_exist_is_refused(text):
    with pytest.raises(ValueError, match=r"metric|cut-off"):
        parse(text)


def test_hits_need_a_cut_off_and_ranks_must_be_ranks():
    with pytest.raises(ValueError, match="HR @ 10"):
        HR([1.0])
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="user 1 has"):
            (HR @ 10)([0.0, wrong])


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
