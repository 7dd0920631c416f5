"""A real process: what it refuses to start with, signals, and what is there after kill -9."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from tests.conftest import DAY
from tests.shopkeeping import START
from tmmsrec.cli import app
from tmmsrec.recommender import Recommender

LATER = START + 400 * DAY
ITEM = {"title": "red shirt"}


@contextmanager
def server(bundle, *options):
    """A service in a process of its own: the process and its port; what is left of it is killed."""
    command = [sys.executable, "-m", "tmmsrec", "serve", str(bundle), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+) ", said)
        assert found, said + process.stderr.read()
        wait_ready(int(found[1]))
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def wait_ready(port: int) -> None:
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        try:
            if call(port, "GET", "/readyz")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the service is not ready after two minutes")


def call(port: int, method: str, path: str, body=None, to=None) -> tuple[int, dict]:
    connection = to or http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    status, said = answer.status, answer.read()
    if to is None:
        connection.close()
    return status, json.loads(said)


def run(*words, env=None):
    return CliRunner().invoke(app, ["serve", *map(str, words)], env={"TMMSREC_TOKEN": None, **(env or {})})


def test_what_it_refuses_to_start_with(bundle, tmp_path):
    done = run(bundle, "--host", "0.0.0.0")
    assert done.exit_code == 2
    assert "can be reached from elsewhere" in done.stderr
    (tmp_path / "empty").write_text("\n")
    assert "holds no token" in run(bundle, "--token-file", tmp_path / "empty").stderr
    assert "--token-file" in (said := run(bundle, "--token-file", tmp_path / "gone").stderr)
    assert "No such file" in said
    assert "printable ASCII" in run(bundle, env={"TMMSREC_TOKEN": "two words"}).stderr
    done = run(tmp_path / "nowhere", "--port", "0")
    assert done.exit_code == 2
    assert "is no bundle" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(bundle, "--port", taken.getsockname()[1])
    assert done.exit_code == 2
    assert "choose another with --port" in done.stderr
    assert "no folder or file of pictures" in run(bundle, "--port", "0", "--images", tmp_path / "gone").stderr


def test_requests_are_logged_where_that_is_asked_for(bundle):
    for options, told in (((), False), (("--access-log",), True)):
        with server(bundle, *options) as (process, port):
            assert call(port, "GET", "/v1/nothing")[0] == 404
            process.terminate()
            assert ('"GET /v1/nothing HTTP/1.1" 404' in process.communicate(timeout=60)[1]) == told


def test_signals_and_swaps_cost_no_request(bundle):
    """Asked without a pause while the bundle is swapped by SIGHUP and by request; SIGTERM ends it when the last is answered."""
    with server(bundle, "--data", str(bundle.parent / "kept")) as (process, port):
        done = run(bundle, "--port", "0", "--data", bundle.parent / "kept")
        assert (done.exit_code, "in use by another process" in done.stderr) == (2, True)
        stop, statuses, cut = threading.Event(), [], []

        def ask(n: int) -> None:
            to = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            for _ in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
                try:
                    statuses.append(call(port, "POST", "/v1/recommend", {"user": f"u{n}", "k": 3}, to)[0])
                except (OSError, http.client.HTTPException) as problem:
                    cut.append(problem)
                    return

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        newer = Recommender.load(bundle)
        for name, swap in (
            ("second", lambda: call(port, "POST", "/v1/reload", {})),
            ("third", lambda: process.send_signal(signal.SIGHUP)),
        ):
            newer.about["name"] = name
            newer.save(bundle)
            swap()
            ends = time.monotonic() + 60
            while call(port, "GET", "/v1/about")[1]["bundles"][0]["method"] != name:
                assert time.monotonic() < ends
        stop.set()
        for thread in threads:
            thread.join()
        assert cut == []
        assert set(statuses) == {200}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_kill_9_in_the_middle_loses_nothing_that_was_acknowledged(bundle):
    acknowledged: list[tuple[str, str]] = []
    for round_ in range(2):
        with server(bundle) as (process, port):
            if round_:
                _all_there(port, acknowledged)
            enough = threading.Event()

            def send(kind: str, n: int, port=port, round_=round_, enough=enough) -> None:
                to = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                for number in itertools.count():
                    name = f"{kind}-{round_}-{n}-{number}"
                    event = {"user": name, "item": "B001", "at": LATER + number}
                    body = {"items": [{"id": name, **ITEM}]} if kind == "item" else {"events": [event]}
                    try:
                        status, _ = call(port, "POST", f"/v1/{kind}s", body, to)
                    except (OSError, http.client.HTTPException, ValueError):
                        return  # killed
                    assert status == 200
                    acknowledged.append((kind, name))
                    if len(acknowledged) >= 30 * (round_ + 1):
                        enough.set()

            threads = [threading.Thread(target=send, args=(kind, n)) for kind in ("item", "event") for n in range(3)]
            for thread in threads:
                thread.start()
            assert enough.wait(120)
            os.kill(process.pid, signal.SIGKILL)  # while all six wait for an answer
            for thread in threads:
                thread.join()
    with server(bundle) as (_, port):
        _all_there(port, acknowledged)


def _all_there(port: int, acknowledged: list[tuple[str, str]]) -> None:
    assert {kind for kind, _ in acknowledged} == {"item", "event"}
    to = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for kind, name in acknowledged:
        status, told = call(port, "GET", f"/v1/{'items' if kind == 'item' else 'users'}/{name}", to=to)
        assert status == 200, name
        assert told["fields"] == ITEM if kind == "item" else told["events"] == 1
