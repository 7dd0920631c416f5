"""What Prometheus reads: requests, how long they took, how many questions were answered together, and what is served."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from tmmsrec.serve.journal import Journal
    from tmmsrec.serve.shelf import Shelf

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_TOGETHER = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Meters:
    """The meters of one service, in a registry of their own."""

    def __init__(self, shelf: Shelf, journal: Journal | None) -> None:
        self._shelf = shelf
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        names = ("route", "method", "status")
        self.requests = Counter("tmmsrec_requests", "Requests answered.", names, registry=self._registry)
        self.seconds = Histogram(
            "tmmsrec_request_seconds",
            "Seconds from a request to its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.together = Histogram(
            "tmmsrec_questions_together", "Questions answered in one batch.", buckets=_TOGETHER, registry=self._registry
        )
        self._items = Gauge("tmmsrec_items", "Items of a bundle, added ones included.", ("bundle",), registry=self._registry)
        self._users = Gauge("tmmsrec_users", "Users of a bundle, new ones included.", ("bundle",), registry=self._registry)
        self._bundle = Info("tmmsrec_bundle", "What is served.", ("bundle",), registry=self._registry)
        size = Gauge("tmmsrec_journal_bytes", "Size of the journal.", registry=self._registry)
        size.set_function(lambda: 0 if journal is None else journal.size)

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        for held in self._shelf:
            self._items.labels(held.name).set(len(held.recommender.catalog))
            self._users.labels(held.name).set(len(held.recommender.people))
            about = {"method": type(held.recommender.method).__name__, "folder": held.folder.name}
            self._bundle.labels(held.name).info({**about, "data": held.recommender.name})
        return generate_latest(self._registry)


class Measured:
    """Counts every request by its route and status; ASGI."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app, self._meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun, status = time.perf_counter(), 500

        async def heard(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, heard)
        finally:
            # Only names of routes: what a client makes up must not make up meters.
            route = getattr(scope.get("route"), "path_format", None) or "none"
            self._meters.requests.labels(route, scope["method"] if route != "none" else "", str(status)).inc()
            self._meters.seconds.labels(route).observe(time.perf_counter() - begun)
