"""A service that searches by an index answers as one that scores every item."""

from __future__ import annotations

import pytest

pytest.importorskip("faiss", reason="the extra [ann] is not installed")

from tmmsrec.recommender import HNSW


def best(client, **ask) -> list:
    answer = client.post("/v1/recommend", json={"k": 5, **ask})
    assert answer.status_code == 200, answer.text
    return [(one["item"], round(one["score"], 4)) for one in answer.json()["items"]]


def test_answers_by_an_index_are_those_of_exact_search(opened, tmp_path):
    history = [{"item": "B003", "at": "2017-08-01"}, {"item": "B005", "at": "2017-08-09"}]
    asks = [{"user": "u3"}, {"history": history}, {"user": "u4", "exclude_seen": True}, {"user": "u5", "allow": ["B001", "B002"]}]
    exact = opened(data=tmp_path / "one")
    expected = [best(exact, **ask) for ask in asks]
    near = opened(data=tmp_path / "other", search=HNSW())
    assert near.app.state.service.shelf.main.recommender.index is not None
    assert [best(near, **ask) for ask in asks] == expected


def test_an_item_that_was_added_and_a_bundle_opened_anew_are_found_by_the_index(opened):
    client = opened(search=HNSW())
    new = {"id": "NEW", "title": "red shirt number 99", "brand": "plain"}
    assert client.post("/v1/items", json={"items": [new]}).status_code == 200
    everything = [item for item, _ in best(client, user="u3", k=30)]
    assert "NEW" in everything
    assert client.post("/v1/reload").status_code == 200
    assert client.app.state.service.shelf.main.recommender.index is not None
    assert [item for item, _ in best(client, user="u3", k=30)] == everything
