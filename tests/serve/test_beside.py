"""Two bundles of two catalogues: the pictures of an item are those of its own bundle."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from tests.serve.conftest import problem
from tests.serve.furnishing import two_shops
from tests.serve.test_changing import RED, post
from tests.shopkeeping import picture
from tmmsrec.recommender import Recommender


@pytest.fixture
def shops(learned, tmp_path):
    return two_shops(learned, tmp_path)


@pytest.fixture
def both(shops, opened):
    return opened(bundle=shops / "first", beside=shops / "second", images=None)


def addresses(client, bundle: str) -> dict:
    told = post(client, "/v1/recommend", user="u0", k=25, bundle=bundle)["items"]
    return {one["item"]: one["picture"] for one in told}


def test_one_id_shows_each_bundles_own_picture(both):
    main, beside = addresses(both, "main"), addresses(both, "beside")
    assert main["B001"] == "/v1/items/B001/picture"
    assert beside["B001"] == "/v1/items/B001/picture?bundle=beside"
    assert both.get(main["B001"]).content == picture("blue", 1)
    assert both.get(beside["B001"]).content == picture("red", 101)
    for path in ("/v1/similar", "/v1/score"):
        asked = {"item": "B003"} if path == "/v1/similar" else {"user": "u0", "items": ["B001"]}
        assert post(both, path, **asked, bundle="beside")["items"][0]["picture"].endswith("?bundle=beside")
    small = both.get(beside["B001"], params={"bundle": "beside", "size": 16})
    assert small.content != both.get(main["B001"], params={"size": 16}).content
    assert {one["picture"] for one in both.get("/v1/users/u0").json()["history"]} <= set(main.values())
    assert problem(both.get("/v1/items/B001/picture?bundle=third"), 404)[0] == "bundle"


def test_an_item_of_one_bundle_alone_has_its_picture_there(both):
    """The second shop has N1, the first has not; of B000 the second has no picture, and the first one's is none of it."""
    beside = addresses(both, "beside")
    assert both.get(beside["N1"]).content == picture("red", 200)
    assert beside["B000"] is None
    assert problem(both.get("/v1/items/N1/picture"), 404)[0] == "item"
    assert problem(both.get("/v1/items/B000/picture?bundle=beside"), 404)[0] == "item"


def test_named_pictures_are_those_of_the_main_bundle(shops, opened):
    """They stand for what the main bundle was made from; one that was made from something else keeps that."""
    shutil.copytree(shops / "first-pictures", shops / "moved")
    shutil.rmtree(shops / "first-pictures")
    client = opened(bundle=shops / "first", beside=shops / "second", images=str(shops / "moved"))
    assert client.get(addresses(client, "main")["B001"]).content == picture("blue", 1)
    assert client.get(addresses(client, "beside")["B001"]).content == picture("red", 101)


def test_the_same_picture_has_one_address(shops, opened):
    """Both say that they were made from the same folder, though one counted more items in it."""
    first = Recommender.load(shops / "first")
    pictures = {**first.report["pictures"], "items": 25, "found": 23}
    dataset = replace(first.dataset, report={"pictures": pictures}, folder=None)
    Recommender(first.method, first.model, dataset).save(shops / "again")
    shutil.copytree(shops / "first-pictures", shops / "moved")
    for images in (None, str(shops / "moved")):
        client = opened(bundle=shops / "first", beside=shops / "again", images=images)
        assert addresses(client, "beside") == addresses(client, "main")
        assert "/v1/items/B001/picture" in addresses(client, "beside").values()
        client.__exit__(None, None, None)


def test_the_picture_of_an_added_item_is_the_same_in_both(both):
    post(both, "/v1/items", items=[{"id": "M1", "title": "red shirt", "picture": RED}])
    assert addresses(both, "main")["M1"] == addresses(both, "beside")["M1"] == "/v1/items/M1/picture"
    assert both.get("/v1/items/M1/picture?bundle=beside").content == picture("red", 91)


def test_a_bundle_that_is_swapped_in_brings_its_own_pictures(both, shops):
    second = Recommender.load(shops / "second")
    report = {**second.report, "pictures": {"kind": "folder", "path": str(shops / "first-pictures")}}
    dataset = replace(second.dataset, report=report)
    Recommender(second.method, second.model, dataset).save(shops / "second")
    post(both, "/v1/reload", bundle="beside")
    assert addresses(both, "beside")["B001"] == "/v1/items/B001/picture"
