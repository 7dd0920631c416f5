"""The downloader against a server in this process: failures, waits, pages instead of pictures, and a second run."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest

from tmmsrec.data.download import Downloader
from tmmsrec.data.pictures import WebPictures, open_pictures, reopen
from tmmsrec.data.prepare import Preparation, prepare
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Source
from tmmsrec.data.sources.frames import FrameEvents, FrameItems

PICTURE = b"\xff\xd8\xff\xe0" + b"picture" * 100


class Shop(ThreadingHTTPServer):
    """Counts what it is asked; the path says how it answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[str] = Counter()
        self.agents: set[str] = set()
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.enough = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        shop, path = self.server, self.path.split("?")[0].lstrip("/")
        with shop.lock:
            shop.asked[path] += 1
            count = shop.asked[path]
            shop.agents.add(self.headers["User-Agent"])
            shop.now += 1
            shop.most = max(shop.most, shop.now)
        if path.startswith("slow"):
            time.sleep(0.02)
        with shop.lock:
            shop.now -= 1  # before the answer: the client may ask again as soon as it has it
        with suppress(BrokenPipeError, ConnectionResetError):
            self.reply(path, count)

    def reply(self, path: str, count: int) -> None:
        kind = path.split("/")[0]
        if kind == "hang" and count == 1:
            self.server.enough.wait(30)
        if kind == "busy" and count < 3:
            return self.send(429 if count == 1 else 503, b"later", "text/plain", {"Retry-After": "0"})
        if kind == "rest":
            return self.send(429, b"later", "text/plain", {"Retry-After": "3600"})
        if kind == "down":
            return self.send(500, b"broken", "text/plain")
        if kind == "gone":
            return self.send(404, b"gone", "text/html")
        if kind == "denied":
            return self.send(403, b"no", "text/html")
        if kind == "page":
            return self.send(200, b"<html>sorry</html>", "text/html")
        if kind == "huge":
            return self.send(200, PICTURE + b"x" * 10_000, "image/jpeg")
        if kind == "cut" and count == 1:
            return self.send(200, PICTURE[:20], "image/jpeg", {"Content-Length": str(len(PICTURE))})
        if kind == "moved":
            return self.send(302, b"", "text/html", {"Location": "/fine/after-move.jpg"})
        return self.send(200, PICTURE, "image/jpeg")

    def send(self, code: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[Shop]:
    server = Shop()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.enough.set()
    server.shutdown()
    server.server_close()
    thread.join()


def downloader(folder: Path, **changes: object) -> Downloader:
    return Downloader(folder, **{"pause": 0.005, "patience": 5.0, "largest": 5_000, **changes})  # type: ignore[arg-type]


def test_what_was_told_before_an_interrupted_run_is_known_after_it(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only files: an address that is gone is not asked for again."""
    gone = [shop.url(f"gone/{n}") for n in range(5)]
    one, attempt = Downloader._one, []

    def tired(self: Downloader, address: str) -> object:
        if address.endswith("last"):
            raise KeyboardInterrupt
        attempt.append(address)
        return one(self, address)

    monkeypatch.setattr(Downloader, "_one", tired)
    with pytest.raises(KeyboardInterrupt):
        downloader(tmp_path, at_once=1).fetch([*gone, shop.url("gone/last")])
    told = downloader(tmp_path).status()
    assert sorted(told) == gone
    assert {one.status for one in told.values()} == {"missing"}


def test_every_kind_of_answer_gets_its_status_and_only_failures_are_tried_again(shop: Shop, tmp_path: Path) -> None:
    paths = [
        "fine/1.jpg",
        "fine/2 ä.jpg?x=1",
        "busy/1",
        "cut/1",
        "moved/1",
        "gone/1",
        "denied/1",
        "page/1",
        "huge/1",
        "down/1",
        "rest/1",
    ]
    urls = {p: shop.url(p) for p in paths}
    got = downloader(tmp_path).fetch([*urls.values(), "ftp://x/1.jpg"])
    status = {p: got[u].status for p, u in urls.items()}
    assert [p for p, s in status.items() if s == "ok"] == paths[:5]
    assert [status[p] for p in paths[5:]] == ["missing", "failed", "not a picture", "too large", "failed", "failed"]
    assert got["ftp://x/1.jpg"].status == "failed"
    assert (shop.asked["busy/1"], shop.asked["cut/1"], shop.asked["gone/1"], shop.asked["down/1"], shop.asked["rest/1"]) == (
        3,
        2,
        1,
        4,
        1,
    )
    assert "asked to wait 3600 s" in got[urls["rest/1"]].said
    assert all("tmmsrec" in a for a in shop.agents)

    before = shop.asked.copy()
    again = downloader(tmp_path).fetch(list(urls.values()))
    assert {p: again[u].status for p, u in urls.items()} == status
    assert set(shop.asked - before) == {"down/1", "denied/1", "rest/1"}
    assert downloader(tmp_path).counts() == {"failed": 4, "missing": 1, "not a picture": 1, "ok": 5, "too large": 1}
    assert downloader(tmp_path).stored(urls["busy/1"]) == PICTURE


def test_a_server_that_hangs_is_given_up_and_asked_again(shop: Shop, tmp_path: Path) -> None:
    got = downloader(tmp_path, patience=0.5, tries=20).fetch([shop.url("hang/1")])
    assert got[shop.url("hang/1")].status == "ok"
    assert shop.asked["hang/1"] >= 2


def test_no_server_at_all_is_a_status(tmp_path: Path) -> None:
    got = downloader(tmp_path, tries=2).fetch(["http://127.0.0.1:9/x.jpg", "http://[bad/x.jpg"])
    assert {f.status for f in got.values()} == {"failed"}


def test_one_host_is_never_asked_more_at_once_than_allowed(shop: Shop, tmp_path: Path) -> None:
    urls = [shop.url(f"slow/{k}") for k in range(40)]
    got = downloader(tmp_path, at_once=12, per_host=3).fetch(urls)
    assert {f.status for f in got.values()} == {"ok"}
    assert shop.most <= 3
    assert max(shop.asked.values()) == 1


def test_a_run_cut_short_is_taken_up_from_the_files_that_are_there(shop: Shop, tmp_path: Path) -> None:
    urls = [shop.url(f"fine/{k}") for k in range(10)]
    downloader(tmp_path).fetch(urls[:6])
    (tmp_path / "status.parquet").unlink()  # killed before the table was written
    half = next(p for p in tmp_path.rglob("*") if p.is_file())
    half.with_name(half.name + ".1.1.part").write_bytes(PICTURE[:5])  # and in the middle of a file
    got = downloader(tmp_path).fetch(urls)
    assert {f.status for f in got.values()} == {"ok"}
    assert max(shop.asked.values()) == 1


def test_a_file_that_was_deleted_is_fetched_again(shop: Shop, tmp_path: Path) -> None:
    url = shop.url("fine/1")
    loader = downloader(tmp_path)
    loader.fetch([url])
    next(p for p in tmp_path.rglob("*") if p.is_file() and p.name != "status.parquet").unlink()
    assert loader.stored(url) is None
    assert loader.fetch([url])[url].status == "ok"
    assert shop.asked["fine/1"] == 2


def test_a_folder_that_cannot_be_written_is_said(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataProblem, match="cannot write"):
        downloader(tmp_path / "file" / "sub").fetch([shop.url("fine/1")])


def test_addresses_in_the_item_table_become_pictures(shop: Shop, tmp_path: Path) -> None:
    urls = [shop.url("fine/a"), shop.url("gone/b"), None, shop.url("page/d")]
    events = pa.table({"user": ["u"] * 4, "item": list("abcd"), "time": [1420588800 + k for k in range(4)]})
    source = Source(FrameEvents(events), FrameItems(pa.table({"item": list("abcd"), "image": urls})))
    pictures = WebPictures(tmp_path, downloader(tmp_path))
    dataset = prepare(source, Preparation(min_events=1, require=("image",)), pictures=pictures)
    assert list(dataset.catalog.ids) == ["a"]
    about = dataset.report["pictures"]
    assert about["status"] == {"missing": 1, "not a picture": 1, "ok": 1}
    assert reopen(about).read(urls[0]) == PICTURE
    assert isinstance(open_pictures(f"urls:{tmp_path}"), WebPictures)


def test_the_users_cache_is_where_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMMSREC_CACHE", str(tmp_path / "cache"))
    assert open_pictures("urls").path == (tmp_path / "cache" / "pictures").resolve()
