"""What a shop does with an Additive: new items, bundles, vectors, reasons."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.shopkeeping import START, items, picture, shop
from tmmsrec import zoo
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.export import write_onnx, write_vectors
from tmmsrec.fit import fit
from tmmsrec.recommender import Recommender
from tmmsrec.training import Adam, Training


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle of an Additive that was trained in the shop of red shirts and blue coats."""
    dataset, encoders = shop()
    parts = LeaveOneOut().cut(dataset.interactions)
    method = replace(zoo.TMMSREC_PLUS, length=20)
    training = Training(epochs=15, batch=8, optimiser=Adam(lr=0.05))
    fitted = fit(method, dataset, train=parts.train, valid=parts.valid, training=training)
    at = tmp_path_factory.mktemp("additive") / "bundle"
    Recommender(method, fitted.model, dataset, {"seed": 0}, encoders).save(at)
    return at


def test_a_new_item_is_scored_by_its_text_and_picture_at_once_and_stays_in_the_bundle(folder, tmp_path):
    keeper = Recommender.load(folder)
    before = keeper.recommend("u0", k=24)
    added = keeper.add_items([{"id": "N1", "title": "red shirt number 99", "image": picture("red", 99)}])
    assert added[0].recommendable
    reds, blues = keeper.explain("u0", items=["N1"])[0], keeper.explain("u1", items=["N1"])[0]
    assert reds.score > blues.score  # u0 buys red shirts, u1 blue coats
    assert {"text", "image", "popular", "season", "again", "follows", "alike"} == set(reds.shares)
    assert reds.shares["again"] == reds.shares["follows"] == 0
    # In so little a shop all are neighbours; whether that speaks for an item is learned.
    assert abs(reds.shares["alike"]) > abs(blues.shares["alike"]) > 0
    others = [one for one in keeper.recommend("u0", k=25) if one.item != "N1"]
    assert items(others) == items(before)
    keeper.save(tmp_path / "grown")
    again = Recommender.load(tmp_path / "grown")
    assert again.explain("u0", items=["N1"])[0].score == pytest.approx(reds.score, abs=1e-5)


def test_what_the_person_had_says_so_in_its_shares(folder):
    keeper = Recommender.load(folder)
    told = keeper.recommend(history=[("B000", START), ("B002", START + 5 * 86400)], k=24)
    had = {one.item: one.shares["again"] for one in told}
    assert had["B000"] != 0
    assert had["B002"] != 0
    assert sum(share != 0 for share in had.values()) == 2


def test_its_vectors_are_exported_with_a_word_and_its_query_is_refused(folder, tmp_path):
    state = Recommender.load(folder).state
    write_vectors(state, tmp_path / "v")
    assert "adds more" in json.loads((tmp_path / "v" / "about.json").read_text(encoding="utf-8"))["score"]
    with pytest.raises(DataProblem, match=r"more than an inner product.*--method tmmsrec"):
        write_onnx(state, tmp_path / "q.onnx")
