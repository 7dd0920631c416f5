"""Whole numbers in order: the same as torch's own, with ties, none at all, and too large to be packed."""

from __future__ import annotations

import pytest
import torch

from tmmsrec.nn.order import distinct, in_order

KEYS = {
    "ties": torch.randint(0, 50, (1000,), generator=torch.Generator().manual_seed(0)),
    "one": torch.tensor([7]),
    "none": torch.zeros(0, dtype=torch.int64),
    "just packed": torch.tensor([(1 << 61) - 1, 0, 5]),
    "too large to be packed": torch.tensor([1 << 61, 3, (1 << 63) - 1, 3]),
    "all the same": torch.full((64,), 3),
}


@pytest.mark.parametrize("name", KEYS)
def test_in_order_is_a_stable_sort(name):
    keys = KEYS[name]
    before = keys.clone()
    rising, place = in_order(keys)
    expected = keys.sort(stable=True)
    assert torch.equal(rising, expected.values)
    assert torch.equal(place, expected.indices)
    assert torch.equal(keys, before)


@pytest.mark.parametrize("name", KEYS)
def test_distinct_numbers_and_where_each_stands(name):
    found, place = distinct(KEYS[name])
    expected = torch.unique(KEYS[name], return_inverse=True)
    assert torch.equal(found, expected[0])
    assert torch.equal(place, expected[1])
