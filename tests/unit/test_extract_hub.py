"""A model that the hub does not have, or a hub that does not answer: asked once, and told in one message."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tmmsrec.data.problems import DataProblem
from tmmsrec.extract import ModelImage, ModelText

pytest.importorskip("transformers")
hub = pytest.importorskip("huggingface_hub")


class Hub(ThreadingHTTPServer):
    """A hub that answers everything alike, and notes what it was asked."""

    status, code = 404, "RepoNotFound"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        assert isinstance(self.server, Hub)
        if "/resolve/" in self.path:  # the library asks other things for itself
            self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.send_header("X-Error-Code", self.server.code)
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    found = Hub()
    where = f"http://127.0.0.1:{found.server_port}"
    monkeypatch.setattr(hub.constants, "ENDPOINT", where)
    monkeypatch.setattr(hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", where + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def test_a_typing_error_is_asked_for_once_and_the_near_name_is_told(server: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataProblem, match=r"'tfdif' cannot be loaded: there is no such model .*\(did you mean 'tfidf'\?\)"):
        ModelText("tfdif").fit(["red coat"])
    assert server.asked == ["/tfdif/resolve/main/config.json"]
    assert capfd.readouterr().err == ""


def test_a_hub_that_has_trouble_is_asked_once(server: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    server.status, server.code = 503, ""
    with pytest.raises(DataProblem, match=r"'owner/model' cannot be loaded: the hub cannot be reached: .*503.*need no download"):
        ModelImage("owner/model").fit([b"no picture"])
    assert server.asked == ["/owner/model/resolve/main/config.json"]
    assert capfd.readouterr().err == ""
