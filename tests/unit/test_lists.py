"""The lists that a model gives, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import DAY, all_methods, random_features, small
from tmmsrec import scoring
from tmmsrec.data.batch import ranking_batches
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.split import LeaveOneOut, Part
from tmmsrec.lists import Lists, described, enough, lists
from tmmsrec.models.base import Model
from tmmsrec.ranking import rank
from tmmsrec.study.listing import lists_table


class Fixed(Model):
    """Scores that are given, [U, I+1]."""

    def __init__(self, scores):
        super().__init__()
        self.scores = torch.as_tensor(scores, dtype=torch.float32)

    def loss(self, batch):
        raise NotImplementedError

    def score(self, batch):
        return self.scores[batch.users]


def built(method, dataset):
    torch.manual_seed(0)
    model = method.build(dataset).eval()
    model.prepare(LeaveOneOut().cut(dataset.interactions).train)
    return model


def by_hand(scores: np.ndarray, k: int) -> np.ndarray:
    """Of scores [I+1]: items above the best one that is left out, best first."""
    order = np.argsort(-scores[1:], kind="stable") + 1
    beyond = scores[order[k]] if len(order) > k else -np.inf
    clear = [item for item in order[:k] if scores[item] > beyond]
    return np.array(clear + [0] * (k - len(clear)))


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("method", all_methods())
def test_every_method_lists_what_stands_above_all_else(method, exclude_seen, monkeypatch):
    dataset = small()
    model, part = built(method, dataset), LeaveOneOut().cut(dataset.interactions).test
    for blocks in (False, True):
        if blocks:
            monkeypatch.setattr(scoring, "ITEMS", 16)
            monkeypatch.setattr(scoring, "SCORED", 8)
        found = lists(model, part, history=method.history, k=5, exclude_seen=exclude_seen)
        assert found.n_items == 30
        for chosen, batch in ranking_batches(part, size=512, length=method.history):
            scores = model.score(batch).expand(len(chosen), -1)
            scores = scoring.hide_seen(scores, part, chosen) if exclude_seen else scores
            for user, own in zip(chosen, scores.detach().double().numpy(), strict=True):
                mine = found.items[user][found.items[user] > 0]
                best = by_hand(own, 5)
                # Blocks round in another way: what nearly ties may stand in another order, or fall out at the end.
                assert np.allclose(own[mine], own[best[: len(mine)]], atol=1e-5)
                assert abs(len(mine) - (best > 0).sum()) <= (np.abs(own[1:] - own[best[best > 0][-1:]]) < 1e-5).sum()
        assert np.array_equal(found.users, part.users)


def test_a_target_is_listed_where_its_rank_says_so(dataset):
    from tmmsrec import zoo

    model, part = built(zoo.SASREC, dataset), LeaveOneOut().cut(dataset.interactions).test
    ranks = rank(model, part, history=50).ranks
    listed = lists(model, part, history=50).items
    assert np.array_equal((listed == part.targets[:, None]).any(1), ranks < 10)


def log_of(histories: list[list[int]]) -> Interactions:
    owner = np.repeat(np.arange(len(histories)), [len(one) for one in histories])
    return Interactions.of(owner, np.concatenate(histories), np.arange(len(owner)) * DAY)


def test_ties_at_the_end_nan_and_seen_items_leave_places_empty():
    log = log_of([[1, 2, 3], [1, 2, 3], [1, 2, 3]])
    part = LeaveOneOut().cut(log).test
    nan = float("nan")
    scores = [[9, 5, 4, 3, 3, 3], [9, 1, 1, 1, 1, 1], [9, nan, 2, nan, 7, nan]]
    assert lists(Fixed(scores), part, history=5, k=3).items.tolist() == [[1, 2, 0], [0, 0, 0], [4, 2, 0]]
    assert lists(Fixed(scores), part, history=5, k=3, exclude_seen=True).items.tolist() == [[3, 4, 5], [3, 4, 5], [4, 0, 0]]
    assert lists(Fixed(scores), part, history=5, k=9).items[2].tolist() == [4, 2, 0, 0, 0, 0, 0, 0, 0]


def test_of_many_users_some_that_lie_evenly_are_asked():
    log = log_of([[1, 2, 3]] * 100)
    part = LeaveOneOut().cut(log).test
    model = Fixed(np.tile(np.arange(6.0), (100, 1)))
    some = lists(model, part, history=5, k=2, users=4)
    assert some.users.tolist() == [0, 33, 66, 99]
    assert some.items.tolist() == [[5, 4]] * 4
    assert (enough(1_000), enough(10**7), enough(10**11)) == (10_000, 1_000, 1)


@pytest.mark.parametrize("how", [{"k": 0}, {"users": 0}])
def test_no_place_and_no_user_is_refused(how):
    part = LeaveOneOut().cut(log_of([[1, 2, 3]])).test
    with pytest.raises(ValueError, match="at least one"):
        lists(Fixed(np.zeros((1, 4))), part, history=5, **how)


def test_what_is_said_of_lists_by_hand():
    # Items 1 to 6; training has the first events of each: 1 met by two users, 2 by one (twice), 3 by one.
    log = log_of([[1, 2, 2, 5, 4], [1, 3, 5, 4]])
    parts = LeaveOneOut().cut(log)
    assert parts.train.stop.tolist() == [3, 2]
    given = Lists(np.array([0, 1]), np.array([[1, 2, 6], [1, 5, 0]]), 6)
    told = described(given, parts.test, parts.train)
    assert told == {
        "users": 2,
        "k": 3,
        "filled": pytest.approx(5 / 6),
        "coverage": pytest.approx(4 / 6),
        "gini": pytest.approx((-5 * 0 - 3 * 0 - 1 * 1 + 1 * 1 + 3 * 1 + 5 * 2) / (6 * 5)),
        "novelty": pytest.approx((0 + 1 + 1 + 0 + 1) / 5),  # bits of 2 of 2, 1 of 2, none, 2 of 2, none
        "repeats": pytest.approx(4 / 5),  # all but item 6
        "never_met": pytest.approx(2 / 5),
    }
    assert described(Lists(given.users, given.items * 0, 6), parts.test, parts.train) == {"users": 2, "k": 3, "filled": 0.0}


def test_the_gini_is_0_where_all_is_even_and_near_1_where_one_item_has_it_all():
    part = LeaveOneOut().cut(log_of([[1, 2, 3]] * 100))
    even = Lists(np.arange(100), np.arange(1, 101)[:, None], 100)
    one = Lists(np.arange(100), np.full((100, 1), 7), 100)
    assert described(even, part.test, part.train)["gini"] == pytest.approx(0)
    assert described(one, part.test, part.train)["gini"] == pytest.approx(0.99)


def test_how_items_of_a_list_differ_in_features():
    features = random_features(6, 4, seed=0, missing=(3,))
    parts = LeaveOneOut().cut(log_of([[1, 2, 3], [1, 2, 3], [1, 2, 3]]))
    given = Lists(np.arange(3), np.array([[1, 2, 4], [5, 3, 6], [3, 4, 0]]), 6)  # the third has but one with features
    unit = features.rows / np.linalg.norm(features.rows, axis=1, keepdims=True).clip(1e-9)
    expected = [1 - np.mean([unit[a] @ unit[b] for a, b in pairs]) for pairs in ([(1, 2), (1, 4), (2, 4)], [(5, 6)])]
    told = described(given, parts.test, parts.train, {"text": features})
    assert told["difference text"] == pytest.approx(np.mean(expected), rel=1e-5)
    alone = described(Lists(np.array([0]), np.array([[3, 4]]), 6), parts.test, parts.train, {"text": features})
    assert "difference text" not in alone


def test_the_table_has_a_line_for_each_method_of_which_something_was_written_down():
    one = {"users": 9, "k": 10, "filled": 1.0, "coverage": 0.25, "gini": 0.5, "novelty": 2.0, "repeats": 0.125, "never_met": 0.0}
    two = one | {"coverage": 0.75, "difference text": 0.5}
    table = lists_table({"old": [{}], "floor": [one], "new": [one, two]}, frozenset({2}), n_items=1_234)
    assert table.heads == ["method", "filled", "coverage", "Gini", "novelty", "had before", "never met", "texts differ"]
    assert table.rows[0] == ["floor", "100.0%", "25.0%", "0.50", "2.0", "12.5%", "0.0%", "-"]
    assert table.rows[1:] == [["new", "100.0%", "50.0%", "0.50", "2.0", "12.5%", "0.0%", "0.50"]]
    assert table.rules == {1}
    assert table.note.startswith("The first 10 of 1,234 items, for 9 test users.")
    assert table.note.endswith("Of 1 method nothing was written down.")
    assert lists_table({"old": [{}], "new": [one]}, frozenset({1}), n_items=1_234).rules == frozenset()
    assert lists_table({"old": [{}]}, n_items=1_234) is None


def test_parts_are_left_as_they_were(dataset):
    from tmmsrec import zoo

    model = built(zoo.SASREC, dataset).train()
    part: Part = LeaveOneOut().cut(dataset.interactions).test
    lists(model, part, history=50, users=3)
    assert model.training
    assert len(part) == 40
