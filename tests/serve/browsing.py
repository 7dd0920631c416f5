"""A real browser before a real service: what the tests of the page stand on."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SWITCHES += ["--disable-sync", "--no-first-run"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Any]:
    """An installed Chromium, driven by Playwright; skips where there is none, and says so."""
    driver = pytest.importorskip("playwright.sync_api", reason="the page is tested with Playwright: pip install 'tmmsrec[dev]'")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser to test the page with: none of {', '.join(BROWSERS)} is installed")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=SWITCHES)
        yield browser
        browser.close()


@contextmanager
def served(serving: Any) -> Iterator[str]:
    """The address of a service that runs in a thread of this process."""
    import uvicorn

    from tmmsrec.serve.app import application
    from tmmsrec.serve.service import Service

    server = uvicorn.Server(uvicorn.Config(application(Service(serving)), port=0, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.02)
    assert server.started, "the service did not start"
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@dataclass
class Visit:
    """One page of a service in a fresh browser context, and what went on in it.

    Attributes:
        page: Playwright's.
        address: of the service.
        errors: what the console and uncaught exceptions said.
        hosts: everybody who was asked for anything.
    """

    page: Any
    address: str
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.errors.append(said.text))
        self.page.on("pageerror", lambda problem: self.errors.append(str(problem)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def open(self, state: str = "") -> Visit:
        """Go to a state of the page (what stands after #) and wait for its answers."""
        self.page.goto(f"{self.address}/#{state}")
        self.answered()
        return self

    def answered(self) -> None:
        """Wait until every list has its answer."""
        self.page.wait_for_function("() => document.querySelector('.row-item') && !document.querySelector('.column[aria-busy]')")

    def wait_list(self, items: list[str], bundle: str = "main") -> None:
        """Wait until a bundle's list shows exactly these items."""
        script = """([bundle, items]) => JSON.stringify([...document.querySelectorAll(`[data-bundle=${bundle}] .row-item`)]
                    .map(row => row.dataset.item)) === JSON.stringify(items)"""
        try:
            self.page.wait_for_function(script, arg=[bundle, items], timeout=10_000)
        except Exception:
            assert self.list(bundle) == items
            raise

    def list(self, bundle: str = "main") -> list[str]:
        """The items that a bundle's list shows."""
        rows = self.page.locator(f"[data-bundle={bundle}] .row-item")
        return rows.evaluate_all("rows => rows.map(row => row.dataset.item)")

    def focused(self) -> str:
        """What is seen or said of the element that has the focus."""
        return self.page.evaluate(
            """() => {
                const at = document.activeElement
                return at === document.body ? "" : at.getAttribute("aria-label") || at.textContent.trim() || at.id
            }"""
        )

    def tab_to(self, what: str, most: int = 60) -> None:
        """Press Tab until the element of which ``what`` is said has the focus."""
        seen = []
        for _ in range(most):
            self.page.keyboard.press("Tab")
            seen.append(self.focused())
            if what in seen[-1]:
                return
        raise AssertionError(f"Tab never came to {what!r}; it came to {seen}")

    def sideways(self) -> int:
        """How many pixels the page as a whole can be scrolled sideways."""
        return self.page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
