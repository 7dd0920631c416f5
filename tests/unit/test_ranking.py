"""Ranks against a slow and obvious oracle; the scorers that fool other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import shrunk, small
from tmmsrec import scoring, zoo
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.metrics import HR
from tmmsrec.models.base import Model
from tmmsrec.nn.items import LearnedRows
from tmmsrec.ranking import rank, ranks_of


class Scorer(Model):
    """A model whose scores are given."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def loss(self, batch):
        raise NotImplementedError

    def score(self, batch):
        return self.scores(batch)


def slow_rank(scores: list[float], target: int) -> float:
    """Count, one item at a time."""
    own = scores[target]
    if np.isnan(own):
        return len(scores) - 2
    higher = sum(1 for i, s in enumerate(scores) if i not in (0, target) and (np.isnan(s) or s > own))
    ties = sum(1 for i, s in enumerate(scores) if i not in (0, target) and s == own)
    return higher + ties / 2


@given(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0, np.nan]), min_size=3, max_size=12), st.data())
@settings(max_examples=300, deadline=None)
def test_against_the_oracle(scores, data):
    target = data.draw(st.integers(1, len(scores) - 1))
    got = ranks_of(torch.tensor([scores], dtype=torch.float64), torch.tensor([target]))
    assert float(got) == slow_rank(scores, target)


def test_a_constant_scorer_stands_in_the_middle_and_hits_nothing():
    data = small(items=50)
    found = rank(Scorer(lambda b: torch.zeros(len(b.users), 51)), LeaveOneOut().cut(data.interactions).test, history=50)
    assert (found.ranks == 24.5).all()
    assert (HR @ 10)(found.ranks).mean() == 0


def test_a_nan_model_stands_last():
    data = small(items=50)
    found = rank(Scorer(lambda b: torch.full((len(b.users), 51), torch.nan)), LeaveOneOut().cut(data.interactions).test, history=50)
    assert (found.ranks == 49).all()


def test_padding_is_never_ranked_however_high_it_scores():
    data = small()

    def high_padding(batch):
        scores = torch.arange(31.0).expand(len(batch.users), -1).clone()
        scores[:, 0] = 1e9
        return scores

    part = LeaveOneOut().cut(data.interactions).test
    found = rank(Scorer(high_padding), part, history=50)
    assert np.array_equal(found.ranks, 30 - part.targets)


def test_seen_items_are_left_out_over_the_whole_history_even_where_the_model_reads_less():
    data = small()
    part = LeaveOneOut().cut(data.interactions).test
    log = data.interactions
    scorer = Scorer(lambda b: torch.arange(31.0).expand(len(b.users), -1))
    found = rank(scorer, part, history=1, exclude_seen=True)
    for at, user in enumerate(part.users):
        seen = set(log.items[log.offsets[user] : log.offsets[user] + part.stop[user]].tolist())
        target = int(part.targets[at])
        if target in seen:
            others = [i for i in range(1, 31) if i not in seen]
            expected = len(others) + (len(seen) - 1) / 2
        else:
            expected = sum(1 for i in range(target + 1, 31) if i not in seen)
        assert found.ranks[at] == expected
    assert found.seen_excluded


def test_blocks_of_users_change_nothing():
    data = small()
    part = LeaveOneOut().cut(data.interactions).test
    scorer = Scorer(lambda b: (b.users[:, None] * 7 + torch.arange(31)) % 13 * 1.0)
    assert np.array_equal(rank(scorer, part, history=5, size=3).ranks, rank(scorer, part, history=5, size=999).ranks)


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("name", ["sasrec", "tmmsrec", "tmmsrec-mlp", "tmmsrec-plus", "bert4rec", "mmmlp", "vbpr", "freedom"])
def test_blocks_of_items_change_nothing(name, exclude_seen, monkeypatch):
    """Items one to nineteen have equal features, and equal rows where they are learned: they tie across blocks."""
    data = small(items=50)
    for one in data.features.values():
        one.rows[1:20] = one.rows[1]
    part = LeaveOneOut().cut(data.interactions).test
    torch.manual_seed(0)
    method = shrunk(zoo.methods()[name])
    model = method.build(data)
    model.prepare(LeaveOneOut().cut(data.interactions).train)
    for table in (one.table for one in model.modules() if isinstance(one, LearnedRows) and len(one.table.weight) == 51):
        table.weight.data[1:20] = table.weight.data[1]
    whole = rank(model, part, history=method.history, exclude_seen=exclude_seen, size=7)
    for made, scored in ((8, 8), (16, 4), (51, 17), (52, 9)):
        monkeypatch.setattr(scoring, "ITEMS", made)
        monkeypatch.setattr(scoring, "SCORED", scored)
        monkeypatch.setattr(scoring, "WAITING", 100)  # several passes over the items
        found = rank(model, part, history=method.history, exclude_seen=exclude_seen, size=7)
        assert found.n_items == whole.n_items == 50
        assert np.array_equal(found.ranks, whole.ranks), (made, scored)


def test_in_blocks_too_nan_stands_before_the_target_and_a_nan_target_last(monkeypatch):
    data = small(items=50)
    part = LeaveOneOut().cut(data.interactions).test
    torch.manual_seed(0)
    model = shrunk(zoo.SASREC).build(data)
    model.tables[0].table.weight.data[[5, 33]] = torch.nan
    whole = rank(model, part, history=20)
    monkeypatch.setattr(scoring, "ITEMS", 8)
    monkeypatch.setattr(scoring, "SCORED", 8)
    found = rank(model, part, history=20)
    assert np.array_equal(found.ranks, whole.ranks)
    broken = np.isin(part.targets, [5, 33])
    assert broken.any()
    assert (found.ranks[broken] == 49).all()
    assert (found.ranks[~broken] >= 2).all()


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_given_back(training):
    model = Scorer(lambda b: torch.zeros(len(b.users), 31)).train(training)
    rank(model, LeaveOneOut().cut(small().interactions).test, history=5)
    assert model.training is training
