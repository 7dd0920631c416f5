"""Items that come after training: recommended at once, or refused as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import DAY
from tests.shopkeeping import START, held, items, learned, picture, shopkeeper
from tmmsrec.data.problems import DataProblem, UnknownId
from tmmsrec.extract import TfidfText
from tmmsrec.recommender import Recommender, adding
from tmmsrec.recommender.state import State

__all__ = ["learned", "shopkeeper"]  # fixtures


def test_new_items_are_recommended_at_once_to_those_they_suit(shopkeeper, tmp_path):
    path = tmp_path / "coat.png"
    path.write_bytes(picture("blue", 92))
    added = shopkeeper.add_items(
        [
            {"id": "N-red", "title": "red shirt", "brand": "plain", "image": picture("red", 91)},
            {"id": "N-blue", "title": "blue coat", "image": path},
        ]
    )
    assert [(a.item, a.new, a.modalities, a.reasons, a.recommendable) for a in added] == [
        ("N-red", True, ("image", "text"), {}, True),
        ("N-blue", True, ("image", "text"), {}, True),
    ]
    for user, suits, other in (("u0", "N-red", "N-blue"), ("u1", "N-blue", "N-red")):
        told = {one.item: one for one in shopkeeper.explain(user, items=[suits, other])}
        assert told[suits].rank <= 14
        assert told[suits].score > told[other].score + 1
        assert told[suits].shares["id"] == 0
        assert suits in items(shopkeeper.recommend(user, k=14))
        assert suits in items(shopkeeper.recommend(user, allow=[suits, other], k=1))
    # With red shirts behind them they are also histories, and neighbours.
    alone = shopkeeper.recommend(history=[("N-red", START)], k=5)
    assert all(one.fields["title"].startswith("red shirt") for one in alone)
    assert shopkeeper.dataset.catalog.describe(26) == {"title": "blue coat", "image": str(path)}
    # Nearest by text and picture, whatever the id row says.
    shares = {one.item: one.shares["text"] + one.shares["image"] for one in shopkeeper.similar("N-red", k=25)}
    reds = [shares[f"B{n:03d}"] for n in range(0, 24, 2)]
    blues = [shares[f"B{n:03d}"] for n in range(1, 24, 2)]
    assert min(reds) > max(blues)


def test_a_bundle_of_float16_features_stays_one_as_it_grows(learned, tmp_path):
    method, model, dataset, encoders = learned
    half = {m: replace(f, rows=f.rows.astype(np.float16)) for m, f in dataset.features.items()}
    narrow = Recommender(method, model, dataset.with_features(**half), {"seed": 0}, encoders)
    narrow.save(tmp_path / "half")
    Recommender(method, model, dataset, {"seed": 0}, encoders).save(tmp_path / "full")
    answers = {}
    for name, dtype in (("half", np.float16), ("full", np.float32)):
        held = Recommender.load(tmp_path / name)
        held.add_items([{"id": "N1", "title": "red shirt", "image": picture("red", 91)}])
        held.save(tmp_path / name)
        held = Recommender.load(tmp_path / name)
        assert {f.rows.dtype for f in held.dataset.features.values()} == {np.dtype(dtype)}
        answers[name] = [held.explain("u0", items=["N1"])[0].score, *(one.score for one in held.similar("N1", k=3))]
    assert answers["half"] == pytest.approx(answers["full"], abs=1e-2)


def test_many_items_are_encoded_in_pieces_and_the_catalogue_grows_once(learned, monkeypatch):
    method, model, dataset, encoders = learned
    state, read, told, built = State(method, model, dataset, dataset.n_items), [], [], []

    def pictured(n: int):
        def reads() -> bytes:
            read.append(n)
            return picture("red", n)

        return reads

    new = [{"id": f"N{n}", "title": "red shirt", "image": pictured(n)} for n in range(4)]
    records = [{"id": "B003", "title": "green hat"}, *new]
    real = adding.build
    monkeypatch.setattr(adding, "build", lambda *given: built.append(len(read)) or real(*given))
    monkeypatch.setattr(adding, "_AT_ONCE", 2)
    grown, added = adding.with_items(state, records, encoders, lambda *one: told.append((len(read), *one)))
    assert told == [(1, 2, 5, "items"), (3, 4, 5, "items"), (4, 5, 5, "items")]
    assert built == [4]
    monkeypatch.setattr(adding, "_AT_ONCE", 1000)
    at_once, same = adding.with_items(state, records, encoders)
    assert added == same
    for name, features in at_once.dataset.features.items():
        np.testing.assert_allclose(grown.dataset.features[name].rows, features.rows, atol=1e-5)
        np.testing.assert_array_equal(grown.dataset.features[name].present, features.present)


def test_added_items_survive_the_bundle_bit_for_bit(shopkeeper, tmp_path):
    shopkeeper.add_items([{"id": "N1", "title": "red shirt", "image": picture("red", 91)}, {"id": "N2", "title": "blue coat"}])
    shopkeeper.save(tmp_path / "grown")
    again = Recommender.load(tmp_path / "grown")
    question = {"history": [("N1", START), ("B002", START + DAY), ("N2", START + 2 * DAY)], "k": 26}
    assert again.recommend(**question) == shopkeeper.recommend(**question)
    assert again.dataset.report["items_added"] == 2
    again.add_items([{"id": "N3", "title": "red shirt"}])  # and goes on growing
    assert again.explain("u0", items=["N3"])[0].shares["id"] == 0
    assert again.dataset.n_items == 27


def test_what_was_known_keeps_its_scores(shopkeeper):
    before = {one.item: one for one in shopkeeper.recommend("u4", k=24)}
    shopkeeper.add_items([{"id": f"N{n}", "title": "red shirt", "image": picture("red", n)} for n in range(5)])
    after = {one.item: one for one in shopkeeper.recommend("u4", k=29)}
    assert len(after) == 29
    assert all(after[item].score == pytest.approx(one.score, abs=1e-5) for item, one in before.items())


def test_a_known_item_is_updated_and_keeps_its_learned_row(shopkeeper):
    model = shopkeeper.model
    learned_row = model.item_tables[0]().detach()[1].clone()
    before = shopkeeper.explain("u0", items=["B000"])[0]
    picture_before = shopkeeper.dataset.features["image"].rows[1].copy()
    added = shopkeeper.add_items([{"id": "B000", "title": "blue coat"}])[0]
    assert (added.new, added.modalities, added.reasons, added.recommendable) == (False, ("image", "text"), {}, True)
    after = shopkeeper.explain("u0", items=["B000"])[0]
    assert after.shares["text"] < before.shares["text"]
    assert after.fields == {"title": "blue coat", "brand": "plain", "image": "B000.png"}
    assert torch.equal(shopkeeper.model.item_tables[0]().detach()[1], learned_row)
    assert np.array_equal(shopkeeper.dataset.features["image"].rows[1], picture_before)
    assert shopkeeper.dataset.n_items == 24


def test_broken_and_missing_pictures_are_said_and_masked(shopkeeper, tmp_path):
    added = shopkeeper.add_items(
        [
            {"id": "N1", "title": "red shirt", "image": b"no picture at all"},
            {"id": "N2", "title": "red shirt", "image": tmp_path / "gone.png"},
            {"id": "N3", "title": "red shirt"},
            {"id": "N4", "image": picture("red", 5)},
            {"id": "N5", "brand": None},
            {"id": "B001", "image": b""},
        ]
    )
    assert [a.modalities for a in added] == [("text",), ("text",), ("text",), ("image",), (), ("image", "text")]
    assert "not a picture" in added[0].reasons["image"]
    assert "gone.png cannot be read" in added[1].reasons["image"]
    assert added[2].reasons == {"image": "none given"}
    assert added[3].reasons == {"text": "no text"}
    assert [a.recommendable for a in added] == [True, True, True, True, False, True]
    assert "0 bytes" in added[5].reasons["image"]  # a known item keeps the picture it had
    assert shopkeeper.explain("u0", items=["N1"])[0].shares["image"] == 0
    assert "N5" not in items(shopkeeper.recommend("u0", k=100))
    assert "N1" in items(shopkeeper.recommend("u0", k=100))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"title": "no id"}, r"items\[1\]\.id: .* is no usable id"),
        ({"id": "", "title": "x"}, r"items\[1\]\.id: .* is no usable id"),
        ({"id": "good"}, r"items\[1\] has the id 'good', as items\[0\] has"),
        (
            {"id": "N", "titel": "x"},
            r"items\[1\] \('N'\) has the unknown field 'titel'; the catalogue has: brand, id, image, title",
        ),
        ({"id": "N", "title": ["a", "b"]}, r"items\[1\] \('N'\): 'title' must be string"),
        ("N", "list of records"),
    ],
)
def test_one_bad_item_and_nothing_changes(shopkeeper, bad, said):
    before, state = shopkeeper.recommend("u0", k=24), shopkeeper.state
    with pytest.raises(DataProblem, match=said):
        shopkeeper.add_items([{"id": "good", "title": "red shirt"}, bad])
    assert shopkeeper.state is state
    assert shopkeeper.recommend("u0", k=24) == before
    with pytest.raises(UnknownId):
        shopkeeper.similar("good")


def test_whole_number_ids_stay_whole_numbers():
    mine = held()
    assert mine.add_items([{"id": "31", "title": "x"}, {"id": np.int64(32)}])[0].item == 31
    assert mine.dataset.catalog.ids[32] == 32
    with pytest.raises(DataProblem, match="whole numbers"):
        mine.add_items([{"id": "033"}])
    with pytest.raises(DataProblem, match="whole numbers"):
        mine.add_items([{"id": "B1"}])


def test_without_encoders_an_item_is_kept_and_said_to_be_of_no_use():
    mine = held()
    added = mine.add_items([{"id": 31, "title": "x"}])[0]
    assert added.reasons == {"text": "there is no text encoder in this bundle", "image": "there is no image encoder in this bundle"}
    assert not added.recommendable
    assert 31 not in items(mine.recommend(0, k=99))


def test_an_encoder_of_another_width_is_refused(learned):
    method, model, dataset, _ = learned
    mine = Recommender(method, model, dataset, {}, {"text": TfidfText(width=2).fit(["a b", "b c", "c d"])})
    with pytest.raises(DataProblem, match=r"text encoder makes rows 2 wide, the text features are 8 wide"):
        mine.add_items([{"id": "N", "title": "a b"}])


def test_id_rows_of_new_items_are_masked_in_histories():
    mine = held()
    mine.add_items([{"id": 31, "title": "x"}])  # nothing is known of it in any modality
    with_it = mine.recommend(history=[(4, START), (31, START + DAY), (6, START + 2 * DAY)], k=30)
    without = mine.recommend(history=[(4, START), (6, START + 2 * DAY)], k=30)
    assert items(with_it) == items(without)
    assert [a.score for a in with_it] == pytest.approx([b.score for b in without], abs=1e-5)
