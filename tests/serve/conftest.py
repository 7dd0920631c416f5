"""A little bundle, and an app over it in the process of the tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra [serve] is not installed")

from fastapi.testclient import TestClient

from tests.shopkeeping import learned, picture
from tmmsrec.recommender import Recommender
from tmmsrec.serve.app import application
from tmmsrec.serve.service import Service, Serving

__all__ = ["learned"]  # a fixture


@pytest.fixture(scope="session")
def baked(learned, tmp_path_factory) -> Path:
    """A bundle over the little shop, and its pictures beside it; to be copied, not written to."""
    method, model, dataset, encoders = learned
    folder = tmp_path_factory.mktemp("baked")
    Recommender(method, model, dataset, {"name": "TMMSRec"}, encoders).save(folder / "bundle")
    (folder / "pictures").mkdir()
    for n, item in enumerate(dataset.catalog.ids):
        if n != 5:
            (folder / "pictures" / f"{item}.png").write_bytes(picture(("red", "blue")[n % 2], n))
    return folder


@pytest.fixture
def bundle(baked, tmp_path) -> Path:
    """A bundle of one's own."""
    shutil.copytree(baked, tmp_path / "shop")
    return tmp_path / "shop" / "bundle"


@pytest.fixture
def opened(bundle) -> Iterator[Callable[..., TestClient]]:
    """Opens an app over the bundle; whoever opens another closes the first."""
    with ExitStack() as stack:

        def open_app(**choices: Any) -> TestClient:
            given = {"bundle": bundle, "images": str(bundle.parent / "pictures"), **choices}
            return stack.enter_context(TestClient(application(Service(Serving(**given))), raise_server_exceptions=False))

        yield open_app


@pytest.fixture
def client(opened) -> TestClient:
    """An app over the bundle."""
    return opened()


def problem(answer: Any, status: int) -> tuple[str, str]:
    """Place and message of an error, which must have the one shape."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"status", "where", "message"}
    assert told["error"]["status"] == status
    return told["error"]["where"], told["error"]["message"]
