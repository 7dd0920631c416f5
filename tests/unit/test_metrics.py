import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmmsrec.metrics import HR, MRR, NDCG, Metric, parse

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


@pytest.mark.parametrize("text", ["NDCG@", "NDCG@ten", "NDCG@0", "AUC@10", "@3", "HR@-1", "HR"])
def test_a_metric_that_does_not_exist_is_refused(text):
    with pytest.raises(ValueError, match=r"metric|cut-off"):
        parse(text)


def test_hits_need_a_cut_off_and_ranks_must_be_ranks():
    with pytest.raises(ValueError, match="like HR@10"):
        HR([1.0])
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="user 1 has"):
            (HR @ 10)([0.0, wrong])
