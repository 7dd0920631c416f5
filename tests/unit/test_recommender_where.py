"""Filters by the items' fields."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
import torch

from tests.conftest import small
from tests.shopkeeping import TMMSREC, items
from tmmsrec.data.catalog import Catalog
from tmmsrec.data.dataset import Dataset
from tmmsrec.recommender import Recommender
from tmmsrec.recommender.filtering import _numbers

PRICES = [None if n == 4 else f"${n}.50" for n in range(1, 31)]


def priced() -> Recommender:
    base = small()
    fields = pa.table(
        {
            "brand": [("Nord", "Fjell", None)[n % 3] for n in range(30)],
            "price": PRICES,
            "stars": pa.array([float(n % 5) for n in range(30)]),
            "image": [f"{n}.png" for n in range(30)],
        }
    )
    dataset = Dataset("priced", base.interactions, Catalog(base.catalog.ids, fields, base.features), base.users)
    torch.manual_seed(1)
    return Recommender(TMMSREC, TMMSREC.build(dataset), dataset)


def test_values_and_ranges_let_through_what_they_say():
    mine = priced()
    nord = {n + 1 for n in range(30) if n % 3 == 0}
    assert set(items(mine.recommend(0, k=30, where={"brand": ["Nord"]}))) == nord
    assert set(items(mine.recommend(0, k=30, where={"brand": "Nord"}))) == nord
    assert len(mine.recommend(0, k=30, where={"brand": ["Nord", "Fjell"]})) == 20
    assert set(items(mine.recommend(0, k=30, where={"price": {"min": 3, "max": 6.5}}))) == {3, 5, 6}  # 4 has no price
    assert set(items(mine.recommend(0, k=30, where={"price": {"max": 2}}))) == {1}
    assert set(items(mine.recommend(0, k=30, where={"price": {"min": 10}, "brand": ["Nord"]}))) == {i for i in nord if i >= 10}
    assert set(items(mine.recommend(0, k=30, where={"stars": [4]}))) == {5, 10, 15, 20, 25, 30}
    assert set(items(mine.recommend(0, k=30, where={"stars": {"min": 4}}))) == {5, 10, 15, 20, 25, 30}
    assert mine.recommend(0, where={"brand": ["Nobody"]}) == mine.recommend(0, where={"brand": []}) == []
    assert mine.recommend(0, where={}) == mine.recommend(0)


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        (["1.299,00 €", "€ 25", "25,50", "1.024", "x", "-3,5"], [1299.0, 25.0, 25.5, 1024.0, None, -3.5]),
        (["1,299.00", "USD 25", "25.50", "1.024", "1_000", "1e3"], [1299.0, 25.0, 25.5, 1.024, None, 1000.0]),
        (["9.99", "12", "19,99 or 20", ""], [9.99, 12.0, None, None]),
        ([3, 4.5, None], [3.0, 4.5, None]),
    ],
)
def test_numbers_are_read_as_the_field_writes_them(written, numbers):
    assert [None if math.isnan(n) else n for n in _numbers(written)] == numbers


def test_filters_go_with_lists_and_with_similar_and_many():
    mine = priced()
    assert set(items(mine.recommend(0, k=30, where={"brand": ["Nord"]}, deny=[1], allow=[1, 4, 5]))) == {4}
    near = items(mine.similar(2, k=30))
    assert items(mine.similar(2, k=30, where={"brand": ["Nord"]})) == [i for i in near if (i - 1) % 3 == 0]
    for answer in mine.recommend_many([0, 1], k=30, where={"brand": ["Fjell"]}):
        assert {(i - 2) % 3 for i in items(answer)} == {0}
    assert {(i - 2) % 3 for i in items(mine.recommend(history=[], k=30, where={"brand": ["Fjell"]}))} == {0}


def test_added_items_are_filtered_too():
    mine = priced()
    mine.recommend(0, where={"brand": ["Nord"]})
    mine.add_items([{"id": 31, "brand": "Nord"}, {"id": 2, "brand": "Nord"}])
    found = items(mine.recommend(history=[], k=31, where={"brand": ["Nord"]}))
    assert {2, 31} <= set(found)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"brnad": ["Nord"]}, r"where\.brnad: no such field \(did you mean 'brand'\?\); there are: brand, price, stars"),
        ({"image": ["1.png"]}, r"where\.image: no such field"),
        ({"brand": {"min": 1}}, r"where\.brand: the field holds no numbers"),
        ({"price": {}}, r"where\.price: a range has"),
        ({"price": {"from": 1}}, r"where\.price: a range has"),
        ({"price": {"min": 50, "max": 10}}, r"where\.price: no number is at least 50 and at most 10"),
        ({"price": {"min": "1"}}, r"where\.price\.min: must be a number"),
        ({"price": {"min": float("nan")}}, r"where\.price\.min: must be a number"),
        ({"brand": [["Nord"]]}, r"where\.brand: give a value"),
        ({"brand": None}, r"where\.brand: give a value"),
        (["brand"], r"where: must be fields"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(where, said):
    with pytest.raises(ValueError, match=said):
        priced().recommend(0, where=where)
