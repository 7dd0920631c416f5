"""The service under load: 16 requests in flight over loopback to a real process, while items are added and the bundle is swapped.

``python -m bench.serve --minutes 10`` asks on for that long and says what memory did.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.rows import Row
from bench.worlds import DAY, shop
from tmmsrec.data.catalog import Features
from tmmsrec.extract import TfidfText
from tmmsrec.models.sequential import Sequential
from tmmsrec.nn.time import TIE
from tmmsrec.recommender import Recommender

ITEMS, USERS, EVENTS = 17_000, 2_000, 20
REQUESTS, IN_FLIGHT = 2_000, 16


@dataclass
class Load:
    """What came of a load: seconds of each request, and what failed."""

    took: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    wall: float = 0.0
    processor: float = 0.0  # seconds of the service's process

    @property
    def per_second(self) -> float:
        return len(self.took) / self.wall

    def milliseconds(self, share: float) -> float:
        return 1000 * float(np.quantile(self.took, share))


def run(quick: bool = False) -> list[Row]:
    """Three rows: questions alone with and without batches, and with items added and the bundle swapped."""
    count = 400 if quick else REQUESTS
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        made_bundle(folder)
        with serving(folder, "--together", "1") as port:
            alone = load(port, count)
        with serving(folder) as port:
            together = load(port, count)
            with meanwhile(port) as others:
                busy = load(port, count)
        return [
            _row("requests answered one by one", None, alone),
            _row("requests answered together", 150.0, together),
            _row("the same, items added and the bundle swapped", 150.0, busy, others),
        ]


def _row(name: str, goal: float | None, load: Load, others: dict[str, int] | None = None) -> Row:
    told = [f"median {load.milliseconds(0.5):.1f} ms, 99th percentile {load.milliseconds(0.99):.1f} ms"]
    told += [f"{1000 * load.processor / len(load.took):.1f} processor ms each"]
    told += [f"{n} {what}" for what, n in (others or {}).items()]
    told += [f"{len(load.failed)} failed: {load.failed[0]}"] if load.failed else ["none failed"]
    numbers = {
        "requests": len(load.took),
        "failed": len(load.failed),
        "p50_ms": load.milliseconds(0.5),
        "p99_ms": load.milliseconds(0.99),
    }
    measured = 0.0 if load.failed else load.per_second  # a request that failed is no answer at any speed
    return Row(f"serve: {name}, {IN_FLIGHT} in flight", goal, measured, "requests/s", True, "; ".join(told), numbers)


def made_bundle(folder: Path) -> None:
    """Untrained weights over a generated shop: only sizes matter here.  Texts have an encoder, so that items can be added."""
    dataset = shop(USERS, ITEMS, widths={"image": 512})
    titles = dataset.catalog.fields["title"].to_pylist()
    encoder = TfidfText(width=128).fit(titles)
    rows, present = encoder.encode(titles)
    text = Features(np.pad(rows, ((1, 0), (0, 0))), np.concatenate([[False], present]))
    torch.manual_seed(0)
    method, dataset = Sequential(modalities=("id", "text", "image"), width=126, time=TIE()), dataset.with_features(text=text)
    Recommender(method, method.build(dataset).eval(), dataset, {}, {"text": encoder}).save(folder)


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[int]:
    """A service in a process of its own; its port."""
    command = [sys.executable, "-m", "tmmsrec", "serve", str(folder), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"})
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://[\d.]+:(\d+)", said)
        if found is None:
            raise RuntimeError(f"the service did not start: {said}")
        until_ready(int(found[1]))
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(60)


def until_ready(port: int) -> None:
    for _ in range(600):
        try:
            if call(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "GET", "/readyz")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the service is not ready after 30 s")


def call(to: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    sent = None if body is None else json.dumps(body)
    to.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
    answer = to.getresponse()
    return answer.status, answer.read()


def question(rng: np.random.Generator) -> dict[str, Any]:
    items = rng.integers(1, ITEMS + 1, EVENTS).tolist()
    return {"history": [{"item": item, "at": (17_000 + n) * DAY} for n, item in enumerate(items)], "k": 10, "exclude_seen": True}


def load(port: int, count: int, minutes: float = 0) -> Load:
    """Questions from as many threads as requests may be in flight: ``count`` of them, or for some minutes."""
    done, waiting, ends = Load(), iter(range(count)), time.monotonic() + 60 * minutes
    taking = threading.Lock()

    def more() -> bool:
        with taking:
            return time.monotonic() < ends if minutes else next(waiting, None) is not None

    def ask(seed: int) -> None:
        rng, to = np.random.default_rng(seed), http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while more():
            body, begun = question(rng), time.perf_counter()
            try:
                status, said = call(to, "POST", "/v1/recommend", body)
                if status != 200 or len(json.loads(said)["items"]) != 10:
                    done.failed.append(f"{status} {said[:200]!r}")
            except (OSError, http.client.HTTPException, ValueError) as problem:
                done.failed.append(repr(problem))
                to.close()
            done.took.append(time.perf_counter() - begun)

    call(http.client.HTTPConnection("127.0.0.1", port, timeout=60), "POST", "/v1/recommend", question(np.random.default_rng(1)))
    begun, used = time.perf_counter(), meter(port, "process_cpu_seconds_total")
    in_threads([lambda n=n: ask(n) for n in range(IN_FLIGHT)])
    done.wall = time.perf_counter() - begun
    done.processor = meter(port, "process_cpu_seconds_total") - used
    return done


def in_threads(actions: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def meanwhile(port: int) -> Iterator[dict[str, int]]:
    """While the block runs: an item every second, ten events a second, and a swap four seconds after every swap."""
    done, stop = {"items added": 0, "events": 0, "swaps": 0}, threading.Event()

    def repeat(what: str, path: str, body: Callable[[int], Any], pause: float) -> None:
        to = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not stop.wait(pause):
            status, said = call(to, "POST", path, body(done[what]))
            if status != 200:
                raise RuntimeError(f"{path}: {status} {said[:200]!r}")
            done[what] += 1

    actions = [
        ("items added", "/v1/items", lambda n: {"items": [{"id": ITEMS + 1 + n, "title": f"word{n % 400} word7"}]}, 1.0),
        ("events", "/v1/events", lambda n: {"events": [{"user": USERS + n, "item": n + 1, "at": 1_700_000_000 + n}]}, 0.1),
        ("swaps", "/v1/reload", lambda n: {}, 4.0),
    ]
    threads = [threading.Thread(target=repeat, args=one) for one in actions]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def meter(port: int, name: str) -> float:
    """One of the service's own meters."""
    _, said = call(http.client.HTTPConnection("127.0.0.1", port, timeout=60), "GET", "/metrics")
    found = re.search(rf"^{name} (\S+)", said.decode(), re.MULTILINE)
    return float(found[1]) if found else float("nan")


def resident(port: int) -> float:
    """Megabytes of the service's process."""
    return meter(port, "process_resident_memory_bytes") / 2**20


def main() -> None:
    """The memory check."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description="Load the service for a while and watch its memory.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--swaps", action="store_true", help="add items and swap the bundle meanwhile")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made_bundle(Path(scratch) / "bundle")
        with serving(Path(scratch) / "bundle") as port:
            load(port, 500)
            print(f"after 500 requests: {resident(port):.0f} MB", flush=True)
            with meanwhile(port) if asked.swaps else nullcontext({}) as others:
                for part in range(4):
                    done = load(port, 0, asked.minutes / 4)
                    said = [f"{len(done.took):,} requests", f"{len(done.failed)} failed", f"{done.per_second:.0f} a second"]
                    said += [f"{n} {what} so far" for what, n in others.items()]
                    print(
                        f"after {(part + 1) * asked.minutes / 4:g} minutes: {resident(port):.0f} MB ({', '.join(said)})", flush=True
                    )


if __name__ == "__main__":
    main()
