"""The trained thing a person holds: questions, answers, reasons."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
import torch

from tests.conftest import DAY
from tests.shopkeeping import START, TMMSREC, events, held, items, learned, shopkeeper
from tmmsrec import zoo
from tmmsrec.data.batch import history_batch
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem, UnknownId
from tmmsrec.data.split import Part
from tmmsrec.models.base import VectorModel
from tmmsrec.ranking import rank
from tmmsrec.recommender import Recommender
from tmmsrec.recommender.asking import Question, batch_of, of_user, seconds_of
from tmmsrec.scoring import hide_seen

__all__ = ["learned", "shopkeeper"]  # fixtures


# Questions and answers


def test_scores_are_the_models_own_over_the_whole_history():
    mine = held()
    log = mine.dataset.interactions
    part = Part("all", log, log.lengths - 1, np.arange(log.users))
    ranks = rank(mine.model, part, history=20).ranks
    for user in (0, 5, 11):
        history = events(mine.dataset, user)
        placed = mine.explain(history=history[:-1], items=[history[-1][0]])[0]
        assert placed.rank == ranks[user] + 1  # no ties among real scores
        everything = mine.recommend(history=history[:-1], k=30)
        assert items(everything)[placed.rank - 1] == history[-1][0]


def test_a_known_user_is_asked_about_with_all_events_and_as_of_a_moment():
    mine = held()
    history = events(mine.dataset, 7)
    assert mine.recommend(7) == mine.recommend(user=7) == mine.recommend(history=history)
    assert mine.recommend(7, at=history[-1][1]) == mine.recommend(7)  # an event at the very moment has happened
    before = history[-1][1] - 1
    earlier = [event for event in history if event[1] <= before]
    assert mine.recommend(7, at=before) == mine.recommend(history=earlier, at=before) != mine.recommend(7)


def test_histories_are_put_in_time_order_and_equal_times_keep_theirs():
    mine = held(replace(zoo.SASREC, width=12, length=20))
    ordered = [(3, START), (9, START + DAY), (4, START + DAY), (1, START + 2 * DAY)]
    shuffled = [ordered[3], ordered[1], ordered[2], ordered[0]]
    swapped = [ordered[3], ordered[2], ordered[1], ordered[0]]
    assert mine.recommend(history=shuffled) == mine.recommend(history=ordered) != mine.recommend(history=swapped)


def test_only_the_newest_events_that_the_method_reads_count():
    mine = held(replace(TMMSREC, length=4))
    history = [(n, START + n * DAY) for n in range(1, 12)]
    assert mine.recommend(history=history) == mine.recommend(history=history[-4:])


@pytest.mark.parametrize(
    "moment",
    [1_500_000_000, 1_500_000_000.9, np.int64(1_500_000_000), datetime(2017, 7, 14, 2, 40), "2017-07-14T02:40:00Z",
     datetime.fromisoformat("2017-07-14T04:40:00+02:00"), "2017-07-14 04:40+02:00", np.datetime64("2017-07-14T02:40")],
)  # fmt: skip
def test_moments_may_be_written_in_many_ways(moment):
    assert seconds_of(moment, "at") == 1_500_000_000


def test_dates_are_midnight_utc():
    assert seconds_of(date(2017, 7, 14), "at") == seconds_of("2017-07-14", "at") == datetime(2017, 7, 14, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("moment", "said"),
    [(1_500_000_000_000, "milliseconds"), (1_500_000_000_000_000, "microseconds"), (-1, "1970"), ("soon", "no ISO date"),
     (True, "no moment"), (None, "no moment"), (float("nan"), "no moment"), (np.datetime64("NaT"), "no moment")],
)  # fmt: skip
def test_moments_that_cannot_be_meant_are_refused_with_their_place(moment, said):
    with pytest.raises(DataProblem, match=rf"history\[1\].*{said}"):
        held().recommend(history=[(1, START), (2, moment)])


def test_an_empty_history_gets_the_popular_items_and_the_answer_says_so():
    mine = held()
    counts = np.bincount(mine.dataset.interactions.items, minlength=31)
    for answer in (mine.recommend(history=[], k=5), mine.recommend(3, at=0, k=5)):
        assert {one.basis for one in answer} == {"popularity"}
        assert [counts[one.item] for one in answer] == sorted(counts[1:], reverse=True)[:5]
        assert all(one.shares == {"popularity": one.score} for one in answer)
    assert {one.basis for one in mine.recommend(3)} == {"model"}


def test_allow_deny_and_seen_items():
    mine = held()
    assert set(items(mine.recommend(0, allow=[4, 8, 15], k=10))) == {4, 8, 15}
    assert set(items(mine.recommend(0, allow=[4, 8, 15], deny=[8], k=10))) == {4, 15}
    assert mine.recommend(0, allow=[]) == []
    first = items(mine.recommend(0, k=3))
    assert items(mine.recommend(0, deny=first[:1], k=2)) == first[1:]
    log = mine.dataset.interactions
    seen = set(log.items[log.offsets[0] : log.offsets[1]].tolist())
    left = mine.recommend(0, exclude_seen=True, k=30)
    assert set(items(left)) == set(range(1, 31)) - seen  # fewer than k, and never padding
    assert [one.rank for one in left] == list(range(1, len(left) + 1))
    assert [one.score for one in left] == sorted((one.score for one in left), reverse=True)


def test_what_was_tested_without_seen_items_answers_without_them():
    kept, left_out = held(), held()
    left_out.about["exclude_seen"] = True
    asked = {"user": 0, "k": 30}
    assert left_out.recommend(**asked) == kept.recommend(**asked, exclude_seen=True) != kept.recommend(**asked)
    assert left_out.recommend(**asked, exclude_seen=False) == kept.recommend(**asked)
    assert left_out.recommend_many([0], k=30)[0] == left_out.recommend(**asked) == left_out.ask([Question(**asked)])[0].items
    assert left_out.similar(3, k=30) == kept.similar(3, k=30)
    history = [(4, START), (9, START + DAY)]
    assert {4, 9} == set(items(kept.recommend(history=history, k=30))) - set(items(left_out.recommend(history=history, k=30)))


def test_seen_items_are_the_whole_history_though_the_model_reads_less():
    mine = held(replace(TMMSREC, length=2))
    history = [(n, START + n * DAY) for n in range(1, 11)]
    assert set(items(mine.recommend(history=history, exclude_seen=True, k=30))) == set(range(11, 31))
    log = mine.dataset.interactions
    part = Part("all", log, log.lengths, np.arange(log.users))
    hidden = hide_seen(torch.zeros(1, 31), part, np.array([4]))[0]
    assert set(items(mine.recommend(4, exclude_seen=True, k=30))) == set(np.flatnonzero(hidden.numpy() == 0)) - {0}


def test_more_than_there_is_gives_every_item_once():
    assert sorted(items(held().recommend(0, k=1000))) == list(range(1, 31))


def test_many_questions_have_the_answers_of_each():
    mine = held()
    users = [5, 0, 31, 5]
    many = mine.recommend_many(users, k=4, exclude_seen=True, deny=[2])
    assert [items(a) for a in many] == [items(mine.recommend(u, k=4, exclude_seen=True, deny=[2])) for u in users]
    histories = [[(1, START)], [], [(n, START + n) for n in range(1, 9)]]
    many = mine.recommend_many(histories=histories, k=4)
    assert [items(a) for a in many] == [items(mine.recommend(history=h, k=4)) for h in histories]
    assert [a[0].basis for a in many] == ["model", "popularity", "model"]
    assert mine.recommend_many([]) == []


def test_many_questions_are_answered_in_blocks(monkeypatch):
    mine = held()
    whole = mine.recommend_many(range(40), k=3)
    monkeypatch.setattr("tmmsrec.recommender.answering._BLOCK_SCORES", 31 * 7)
    assert [items(a) for a in mine.recommend_many(range(40), k=3)] == [items(a) for a in whole]


def test_what_is_unknown_or_malformed_is_said_with_its_place(shopkeeper):
    with pytest.raises(UnknownId, match=r"history\[1\]: unknown item 'B0O3'.*nearest known one is 'B0"):
        shopkeeper.recommend(history=[("B001", START), ("B0O3", START)])
    with pytest.raises(UnknownId, match=r"histories\[1\]\[0\]: unknown item"):
        shopkeeper.recommend_many(histories=[[], [("x", START)]])
    with pytest.raises(UnknownId, match="unknown user 'nobody'"):
        shopkeeper.recommend("nobody")
    with pytest.raises(UnknownId, match=r"users\[1\]: unknown user"):
        shopkeeper.recommend_many(["u1", "nobody"])
    with pytest.raises(UnknownId, match=r"allow\[0\]: unknown item 'zz'"):
        shopkeeper.recommend("u1", allow=["zz", "yy"])
    assert shopkeeper.recommend("u1", deny=["zz"]) == shopkeeper.recommend("u1", deny=[]) == shopkeeper.recommend("u1")
    for name in ("allow", "deny"):
        # A shop's list of what it has, or has not, holds items that the model does not know.
        assert shopkeeper.recommend("u1", **{name: ["zz", "B001"]}) == shopkeeper.recommend("u1", **{name: ["B001"]})
    with pytest.raises(UnknownId, match=r"items\[0\]"):
        shopkeeper.explain("u1", items=["zz"])
    with pytest.raises(UnknownId, match="unknown item 'zz'"):
        shopkeeper.similar("zz")
    for wrong, said in (
        ({"user": "u1", "history": []}, "either user= "),
        ({}, "either user= "),
        ({"history": "B001"}, "list of"),
        ({"history": ["B0"]}, r"history\[0\] must be \(item, time\)"),
        ({"history": [("B001", START)], "at": START - 1}, r"history\[0\]: its time .* lies after"),
        ({"user": "u1", "k": 0}, "k must be"),
        ({"user": "u1", "k": True}, "k must be"),
        ({"user": "u1", "allow": "B001"}, "allow must be a list"),
        ({"user": ["u1"]}, "cannot be an id"),
    ):
        with pytest.raises(DataProblem, match=said):
            shopkeeper.recommend(**wrong)
    with pytest.raises(DataProblem, match="either users= or histories="):
        shopkeeper.recommend_many()


def test_outside_ids_and_fields_come_out(shopkeeper):
    best = shopkeeper.recommend("u0", k=3)
    assert all(one.item.startswith("B") and one.fields["title"].startswith("red shirt") for one in best)
    best[0].fields["title"] = "scribbled on"
    assert shopkeeper.recommend("u0", k=1)[0].fields["title"] != "scribbled on"


def test_asking_disturbs_neither_the_model_nor_the_random_numbers(shopkeeper):
    before = torch.get_rng_state()
    once = shopkeeper.recommend("u3")
    shopkeeper.explain("u3", items=["B001"])
    shopkeeper.add_items([{"id": "new", "title": "red shirt"}])
    assert torch.equal(torch.get_rng_state(), before)
    assert once == shopkeeper.recommend("u3", deny=["new"])
    assert not shopkeeper.model.training


@pytest.mark.parametrize("name", zoo.FLOORS)
def test_counting_models_are_held_like_any_other(name, tmp_path):
    method = zoo.methods()[name]
    mine = held(method)
    log = mine.dataset.interactions
    part = Part("all", log, log.lengths, np.arange(log.users))
    fresh = method.build(mine.dataset)
    fresh.observe(part)
    user = 6
    history = log.items[log.offsets[user] : log.offsets[user + 1]][-method.history :]
    batch = history_batch(np.array([user]), history[None].astype(np.int64), np.ones((1, len(history)), np.int64), np.array([2]))
    expected = fresh.score(batch)[0, 1:]
    found = mine.recommend(user, k=30)
    order = expected.sort(descending=True, stable=True)  # equal scores in the order of the catalogue
    assert [(one.item, one.score) for one in found] == list(zip((order.indices + 1).tolist(), order.values.tolist(), strict=True))
    for k in (1, 5, 12):
        assert mine.recommend(user, k=k) == found[:k]
    assert all(expected[one.item - 1] == one.score == one.shares["all"] for one in found)
    mine.save(tmp_path / "counted")
    assert Recommender.load(tmp_path / "counted").recommend(user, k=30) == found
    assert mine.add_items([{"id": 31, "title": "new"}])[0].recommendable is False
    assert mine.recommend(user, k=31) == found
    mine.save(tmp_path / "grown")
    assert Recommender.load(tmp_path / "grown").recommend(user, k=31) == found


# Similar items and reasons


def test_similar_items_have_the_greatest_cosine(shopkeeper):
    model, ids = shopkeeper.model, shopkeeper.dataset.catalog.ids
    assert isinstance(model, VectorModel)
    vectors = model.items().detach()[1:].double()
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    for item in ("B004", "B005"):
        row = ids.row(item) - 1
        cosines = (unit @ unit[row]).index_fill(0, torch.tensor([row]), -2)
        found = shopkeeper.similar(item, k=23)
        assert items(found) == [ids[i + 1] for i in cosines.argsort(descending=True)[:23].tolist()]
        assert [one.score for one in found] == pytest.approx(cosines.sort(descending=True).values[:23].tolist(), abs=1e-6)
        assert all(sum(one.shares.values()) == pytest.approx(one.score, abs=1e-6) for one in found)
        assert item not in items(found)


def test_an_item_without_a_vector_is_similar_to_nothing():
    method = replace(TMMSREC, modalities=("image",))
    mine = held(method, missing=(3, 7))
    assert not {3, 7} & set(items(mine.similar(5, k=30)))
    assert not {3, 7} & set(items(mine.recommend(0, k=30)))
    with pytest.raises(DataProblem, match="item 3 has nothing to compare: the method reads image"):
        mine.similar(3)
    assert mine.explain(0, items=[3])[0].score == 0


def test_a_counting_model_says_what_follows():
    log = Interactions.of(np.array([0, 0, 1, 1, 2, 2]), np.array([1, 2, 1, 2, 3, 4]), np.array([1, 2, 1, 2, 1, 2]) * DAY)
    dataset = Dataset.in_memory("follows", log, 4)
    mine = Recommender(zoo.MARKOV, zoo.MARKOV.build(dataset), dataset)
    assert items(mine.similar(1, k=1)) == [2]
    assert items(mine.similar(3, k=1)) == [4]


@pytest.mark.parametrize("name", ["tmmsrec", "tmmsrec-add", "tmmsrec-mlp", "tmmsrec-id", "sasrec", "markov", "popularity"])
def test_shares_add_up_to_the_score(name):
    base = zoo.methods()[name]
    mine = held(replace(base, width=12, length=20) if hasattr(base, "width") else base)
    for told in (mine.explain(2, items=[1, 30, 3, 7]), mine.recommend(2, k=30), mine.recommend_many([2, 9], k=9)[1]):
        for one in told:
            assert sum(one.shares.values()) == pytest.approx(one.score, abs=1e-5)
    told = mine.explain(2, items=[7, 30, 7])
    assert items(told) == [7, 30, 7]
    asked_for = {one.item: one for one in mine.recommend(2, k=30)}
    assert all(one.score == asked_for[one.item].score for one in told)


def test_shares_are_those_of_the_streams():
    mine = held()
    batch = batch_of([of_user(mine.dataset, 2, None, START)], 20)
    with torch.inference_mode():
        expected = mine.model.shares_of_score(batch, torch.tensor([[4, 3]]))
    for n, one in enumerate(mine.explain(2, items=[4, 3])):
        assert one.shares == pytest.approx({name: float(part[0, n]) for name, part in expected.items()}, abs=1e-5)
    assert mine.explain(2, items=[3])[0].shares["image"] == 0  # item 3 has no picture


def test_a_model_and_its_recommender_split_a_score_in_one_place(monkeypatch):
    mine = held()
    batch = batch_of([of_user(mine.dataset, 2, None, START)], 20)
    monkeypatch.setattr(VectorModel, "shares_between", lambda self, users, items: {"told": users @ items[0].T})
    with torch.inference_mode():
        [(name, part)] = mine.model.shares_of_score(batch, torch.tensor([[4, 3]])).items()
    assert name == "told"
    assert [one.shares for one in mine.explain(2, items=[4, 3])] == [{"told": pytest.approx(x, abs=1e-5)} for x in part[0].tolist()]


# Methods that know users by rows of their own


def test_a_method_with_user_rows_answers_its_users_and_gives_others_what_is_popular(tmp_path):
    mine = held(replace(zoo.VBPR_ITV, width=6, content_width=6))
    known = mine.recommend(7)
    assert {one.basis for one in known} == {"model"}
    batch = batch_of([of_user(mine.dataset, mine.dataset.users[7], None, START)], 0)
    best = mine.model.score(batch)[0, 1:].argmax() + 1
    assert known[0].item == mine.dataset.catalog.ids[int(best)]
    assert sum(known[0].shares.values()) == pytest.approx(known[0].score, abs=1e-5)
    stranger = mine.recommend(history=events(mine.dataset, 7))
    assert {one.basis for one in stranger} == {"popularity"}
    both = mine.recommend_many(users=[mine.dataset.users[7], mine.dataset.users[3]])
    assert items(both[0]) == items(known)  # scores differ in the last digit by the size of the block
    mine.save(tmp_path / "bundle")
    assert Recommender.load(tmp_path / "bundle").recommend(7) == known
    assert len(mine.similar(4, k=3)) == 3


def test_a_method_without_item_vectors_or_histories_cannot_compare_items():
    mine = held(replace(zoo.MAML, width=6, hidden=8))
    assert {one.basis for one in mine.recommend(7)} == {"model"}
    with pytest.raises(DataProblem, match="MAML has no item vectors"):
        mine.similar(4)
