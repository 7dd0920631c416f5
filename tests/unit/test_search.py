"""Approximate search: what an index finds, what it must not find, and when it is not asked."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import small
from tests.shopkeeping import TMMSREC, held, items, learned, picture, shopkeeper
from tmmsrec import values, zoo
from tmmsrec.cli import app
from tmmsrec.data.problems import DataProblem
from tmmsrec.recommender import HNSW, IVF, Exact, Recommender, Search, approximate
from tmmsrec.recommender.search import Index

__all__ = ["learned", "shopkeeper"]  # fixtures

pytest.importorskip("faiss", reason="approximate search needs faiss-cpu: pip install 'tmmsrec[ann]'")
BIG = {"users": 60, "items": 600}
APPROXIMATE = [HNSW(), IVF(lists=8, probes=8)]
every_way = pytest.mark.parametrize("how", APPROXIMATE, ids=lambda how: type(how).__name__)


def same(one, other) -> None:
    """Equal answers; scores up to rounding."""
    assert items(one) == items(other)
    np.testing.assert_allclose([r.score for r in one], [r.score for r in other], atol=1e-5)
    assert [(r.rank, r.fields, r.basis) for r in one] == [(r.rank, r.fields, r.basis) for r in other]
    for a, b in zip(one, other, strict=True):
        assert a.shares == pytest.approx(b.shares, abs=1e-5)


@pytest.fixture
def unscored(monkeypatch):
    """Nobody may score all items; what tries is an error."""

    def refuse(self, batch):
        raise AssertionError("all items were scored")

    monkeypatch.setattr("tmmsrec.recommender.state.State.score", refuse)


def test_every_way_to_search_is_a_value_that_goes_to_json_and_back():
    ways = values.offered(Search)
    assert {"Exact", "HNSW", "IVF"} <= set(ways)
    for way in ways.values():
        assert values.from_json(Search, values.to_json(way())) == way()
    with pytest.raises(ValueError, match=r"HNSW\.ef_search is at least 1, got 0"):
        HNSW(ef_search=0)
    with pytest.raises(ValueError, match=r"IVF\.lists is at least 1, got -3"):
        IVF(lists=-3)


@every_way
def test_an_index_that_looks_everywhere_answers_as_exact_search_does(how, unscored, monkeypatch):
    exact = held(**BIG)
    near = exact.with_search(how)
    users = list(range(0, 60, 7))
    found = near.recommend_many(users, k=10)
    one = near.recommend(3, k=1)
    history = near.recommend(history=[(4, 1_500_000_000), (9, 1_500_500_000)], k=5)
    monkeypatch.undo()  # exact search scores all items
    for answer, true in zip(found, exact.recommend_many(users, k=10), strict=True):
        same(answer, true)
    same(one, exact.recommend(3, k=1))
    same(history, exact.recommend(history=[(4, 1_500_000_000), (9, 1_500_500_000)], k=5))


def test_what_stands_beside_the_product_is_found_whatever_the_index_says(unscored, monkeypatch):
    """Items of the history and their followers are candidates; here the index alone would find few of them."""
    exact = held(replace(zoo.TMMSREC_PLUS, length=20), **BIG)
    with torch.no_grad():
        exact.model.again.kernel.weight += 5
    near = exact.with_search(IVF(lists=20, probes=1))
    found = near.recommend_many(range(60), k=3)
    monkeypatch.undo()
    for answer, true in zip(found, exact.recommend_many(range(60), k=3), strict=True):
        same(answer, true)
        assert {"text", "image", "popular", "season", "again", "follows", "alike"} == set(answer[0].shares)
        assert sum(answer[0].shares.values()) == pytest.approx(answer[0].score, abs=1e-5)
        assert answer[0].shares["again"] > 0


@every_way
def test_the_recall_is_measured_when_the_index_is_built(how):
    built = held(**BIG).with_search(how).index
    assert built.how == how
    assert built.seconds > 0
    assert (built.recall.at, built.recall.recall, built.recall.queries) == (10, 1.0, 60)
    assert built.recall.exact_ms > 0
    assert built.recall.index_ms > 0


def test_the_recall_is_that_of_a_plain_comparison_and_no_constant():
    exact = held(**BIG)
    near = exact.with_search(IVF(lists=20, probes=1))
    hits = [
        len(set(items(a)) & set(items(b))) / 10 for a, b in zip(*(h.recommend_many(range(60)) for h in (exact, near)), strict=True)
    ]
    assert near.index.recall.recall == pytest.approx(np.mean(hits))
    assert near.index.recall.recall < 0.9


def test_no_search_is_exact_and_the_first_recommender_stays_as_it_was():
    exact = held(**BIG)
    near = exact.with_search(HNSW())
    assert exact.index is None
    assert near.with_search(Exact()).index is None
    assert near.index is not None
    assert near.model is exact.model


def test_seen_allowed_and_denied_items_are_as_in_exact_search(unscored, monkeypatch):
    exact = held(**BIG)
    near = exact.with_search(HNSW())
    best = items(near.recommend(5, k=40))
    half = list(range(1, 600, 2))
    asked = [{"exclude_seen": True}, {"deny": best[:12]}, {"allow": half}, {"allow": half, "deny": best[:12], "exclude_seen": True}]
    found = [near.recommend(5, **wish) for wish in asked]
    monkeypatch.undo()
    for answer, wish in zip(found, asked, strict=True):
        assert len(answer) == 10
        same(answer, exact.recommend(5, **wish))


def test_what_an_index_answers_badly_is_answered_exactly():
    exact = held(**BIG)
    near = exact.with_search(HNSW())
    best = items(exact.recommend(2, k=600))
    for wish in (
        {"allow": best[-3:]},
        {"allow": []},
        {"allow": best[-80:], "k": 20},
        {"deny": best[:500]},
        {"k": 600},
        {"k": 1500},
    ):
        same(near.recommend(2, **wish), exact.recommend(2, **wish))
    assert near.recommend(history=[], k=5) == exact.recommend(history=[], k=5)
    assert near.explain(2, items=best[:3]) == exact.explain(2, items=best[:3])
    assert near.similar(7) == exact.similar(7)


def test_questions_of_one_block_are_answered_each_in_its_own_way(monkeypatch):
    """One user has met nearly all the best items: that one alone is scored against everything."""
    exact = held(**BIG)
    near = exact.with_search(HNSW())
    scored = []
    real = type(near.state).score
    monkeypatch.setattr(
        "tmmsrec.recommender.state.State.score", lambda self, batch: scored.append(len(batch.users)) or real(self, batch)
    )
    best = items(near.recommend(0, k=100))
    found = near.recommend_many([0, 1, 2, 3], deny=best[:95])
    assert 0 < sum(scored) < 4
    for answer, true in zip(found, exact.recommend_many([0, 1, 2, 3], deny=best[:95]), strict=True):
        same(answer, true)


@pytest.mark.parametrize("name", ["trimlp", "bert4rec", "vbpr", "sasrec-ensemble"])
def test_other_inner_products_are_searched_too(name):
    from tests.conftest import shrunk

    exact = held(shrunk(zoo.methods()[name]), **BIG)
    near = exact.with_search(HNSW())
    assert near.index.recall.recall > 0.98
    same(near.recommend(4), exact.recommend(4))


def test_items_that_cannot_be_recommended_are_not_in_the_index():
    """A method that reads pictures alone knows nothing of items without."""
    missing = tuple(range(10, 40))
    exact = held(replace(TMMSREC, modalities=("image",)), **BIG, missing=missing)
    near = exact.with_search(HNSW())
    assert not set(near.index.rows.tolist()) & set(missing)
    assert len(near.index.rows) == 600 - len(missing)
    same(near.recommend(3, k=20), exact.recommend(3, k=20))


def test_counting_methods_have_nothing_to_index():
    with pytest.raises(DataProblem, match="Popularity scores by no inner product"):
        held(zoo.POPULARITY).with_search(HNSW())


def test_a_machine_without_faiss_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(DataProblem, match=r"pip install 'tmmsrec\[ann\]'"):
        held().with_search(HNSW())


# Items that come later


def test_new_and_changed_items_are_found_at_once(shopkeeper):
    near = shopkeeper.with_search(HNSW())
    fresh = [{"id": f"N{n}", "title": "red shirt", "image": picture("red", 90 + n)} for n in range(3)]
    changed = {"id": "B001", "title": "red shirt number 1", "image": picture("red", 77)}  # it was a blue coat
    for one in (shopkeeper, near):
        one.add_items([*fresh, changed])
    assert sorted(near.index.beside.tolist()) == [2, 25, 26, 27]
    assert not near.index.current[1]
    for user in ("u0", "u1"):
        same(near.recommend(user, k=12), shopkeeper.recommend(user, k=12))
        same(near.recommend(user, k=27), shopkeeper.recommend(user, k=27))
    assert {"N0", "N1", "N2"} <= set(items(near.recommend("u0", k=20)))
    again = near.with_search(HNSW())
    assert len(again.index.beside) == 0
    same(again.recommend("u0", k=12), shopkeeper.recommend("u0", k=12))


def test_growing_twice_keeps_what_came_first(shopkeeper):
    near = shopkeeper.with_search(IVF(lists=2, probes=2))
    for n in range(2):
        for one in (shopkeeper, near):
            one.add_items([{"id": f"N{n}", "title": "blue coat", "image": picture("blue", 50 + n)}])
    assert near.index.beside.tolist() == [25, 26]
    same(near.recommend("u1", k=15), shopkeeper.recommend("u1", k=15))


def test_saved_without_its_index(shopkeeper, tmp_path):
    shopkeeper.with_search(HNSW()).save(tmp_path / "b")
    again = Recommender.load(tmp_path / "b")
    assert again.index is None
    assert again.recommend("u0") == shopkeeper.recommend("u0")


# The index by itself


def test_the_same_vector_up_to_rounding_is_no_changed_item():
    vectors = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    knows = torch.arange(50) > 0
    index = Index.over(HNSW(), vectors, knows)
    moved = vectors * (1 + 1e-7)
    moved[7] += 0.1
    grown = index.grown(torch.cat([moved, torch.ones(2, 8)]), torch.arange(52) > 0)
    assert grown.beside.tolist() == [7, 50, 51]
    assert index.beside.tolist() == []  # the first one is as it was
    rows = grown.candidates(moved[7:8] * 10, torch.cat([moved, torch.ones(2, 8)]), 5)
    assert 7 in rows
    assert (rows == 7).sum() == 1


def test_equal_scores_stay_in_the_order_of_the_catalogue():
    """Twins of one item: exact search and the index give them in the same order."""
    data = small(users=60, items=300, missing=())
    torch.manual_seed(1)
    method = replace(zoo.SASREC, width=12, length=20)
    model = method.build(data)
    with torch.no_grad():
        model.tables[0].table.weight[100:110] = 5 * model.tables[0].table.weight[100]
    exact = Recommender(method, model, data)
    near = exact.with_search(HNSW())
    state = near.state
    users = state.vectors[100:101] * 5
    rows, scores = approximate.best(state, users, {}, [approximate.Wish.of(state, 10, None, None)])
    assert rows[0].tolist() == list(range(100, 110))
    assert len(set(scores[0].tolist())) == 1


# The verbs


def call(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


def test_recommend_with_an_index_says_its_recall_beside_the_answer(shopkeeper, tmp_path):
    shopkeeper.save(tmp_path / "b")
    exact = json.loads(call("recommend", tmp_path / "b", "--user", "u4", "--json").stdout)
    near = call("recommend", tmp_path / "b", "--user", "u4", "--json", "--ann")
    assert [one["item"] for one in json.loads(near.stdout)] == [one["item"] for one in exact]
    assert re.search(r"HNSW\(.*\) over 24 items, built in .* s, recall@10 1.0000 of exact search", near.stderr)


def test_the_index_verb_prints_recall_and_what_a_query_costs(shopkeeper, tmp_path):
    shopkeeper.save(tmp_path / "b")
    said = " ".join(
        call("index", tmp_path / "b", "--search", "IVF", "--set", "lists=4", "--set", "probes=1", "--calls", 3).stdout.split()
    )
    assert "24, vectors of 36 numbers" in said
    assert "IVF(lists=4, probes=1, seed=0)" in said
    assert 0 < float(re.search(r"recall@10 ([0-9.]+) over 60 known users", said)[1]) <= 1
    assert len(re.findall(r"exact [0-9.]+ ms, index [0-9.]+ ms", said)) == 2
    assert "every item" in call("index", tmp_path / "b", "--search", "Exact").stdout
    assert "HNSW" in call("index", tmp_path / "b", "--search", "HNSV", code=2).stderr
    assert "ef_search" in call("index", tmp_path / "b", "--set", "ef_serch=9", code=2).stderr
    held(zoo.POPULARITY).save(tmp_path / "p")
    assert "no inner product" in call("index", tmp_path / "p", code=2).stderr
