"""The paper's own All_Beauty events: what was measured on them independently must come out here too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import real_data
from tmmsrec import zoo
from tmmsrec.data.prepare import Preparation, prepare_from
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.metrics import HR, NDCG
from tmmsrec.ranking import rank
from tmmsrec.training import Adam, Training


@pytest.fixture(scope="module")
def beauty():
    return prepare_from(real_data("paper-all-beauty", "All_Beauty.txt"), None, None, Preparation(), name="All_Beauty")


def test_table_2(beauty):
    assert list(beauty.table2().values()) == ["All_Beauty", "273", "800", "1,663", "99.24%"]


@pytest.mark.parametrize(
    ("floor", "hr", "ndcg"),
    [
        ("popularity", 0.330, 0.233),
        ("repeat-last", 0.363, 0.274),
        ("markov", 0.377, 0.320),
        ("markov-decayed", 0.414, 0.338),
        ("markov-tuned", 0.399, 0.324),
    ],
)
def test_floors(beauty, floor, hr, ndcg):
    method = zoo.methods()[floor]
    test = LeaveOneOut().cut(beauty.interactions).test
    ranks = rank(method.build(beauty), test, history=method.history).ranks
    assert (HR @ 10)(ranks).mean() == pytest.approx(hr, abs=0.0006)
    assert (NDCG @ 10)(ranks).mean() == pytest.approx(ndcg, abs=0.0012)


@pytest.mark.parametrize(
    ("floor", "hr", "ndcg"),
    [("popularity", 0.008, 0.005), ("markov", 0.059, 0.048), ("repeat", 0.142, 0.126), ("markov-tuned", 0.144, 0.115)],
)
def test_floors_of_a_fashion_shop(floor, hr, ndcg):
    data = prepare_from(real_data("hm-fashion", "interactions.csv.gz"), None, None, Preparation(), name="hm")
    assert (data.n_users, data.n_items, len(data.interactions)) == (923, 16_636, 30_636)
    method = zoo.methods()[floor]
    ranks = rank(method.build(data), LeaveOneOut().cut(data.interactions).test, history=method.history).ranks
    assert (HR @ 10)(ranks).mean() == pytest.approx(hr, abs=0.0006)
    assert (NDCG @ 10)(ranks).mean() == pytest.approx(ndcg, abs=0.0006)


def test_id_only_without_time_lands_where_a_prototype_did(beauty):
    """HR near .375 and NDCG near .30 with clean validation; on 273 users the standard errors are .03 and .025."""
    parts = LeaveOneOut().cut(beauty.interactions)
    method = replace(zoo.TMMSREC_ID, width=126)
    found = []
    for seed in (0, 1):
        how = Training(batch=30, optimiser=Adam(decay=1.0))
        fitted = fit(method, beauty, train=parts.train, valid=parts.valid, training=how, seed=seed)
        ranks = rank(fitted.model, parts.test, history=50).ranks
        found.append([(HR @ 10)(ranks).mean(), (NDCG @ 10)(ranks).mean()])
    assert np.mean(found, axis=0) == pytest.approx([0.375, 0.30], abs=0.04)
