"""The app: routes, errors, limits and meters around a Service."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

import tmmsrec
from tmmsrec.serve import errors
from tmmsrec.serve.limits import OPEN, BodyLimit, Head, Token
from tmmsrec.serve.meters import Measured
from tmmsrec.serve.routes.asking import asking
from tmmsrec.serve.routes.changing import changing
from tmmsrec.serve.routes.looking import looking
from tmmsrec.serve.routes.page import page
from tmmsrec.serve.routes.watching import watching
from tmmsrec.serve.service import Service

log = logging.getLogger("tmmsrec.serve")


def application(service: Service) -> FastAPI:
    """The app of a service; it closes the service when it ends."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        _reload_on_hangup(service)
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="tmmsrec",
        version=tmmsrec.__version__,
        summary="Next items for users and histories, with reasons",
        docs_url=None,  # their pages need the network
        redoc_url=None,
        lifespan=life,
    )
    app.state.service = service
    errors.install(app)
    for router in (asking, looking, changing, watching, page):
        app.include_router(router)
    app.add_middleware(BodyLimit, most=service.serving.body)
    if service.serving.token is not None:
        app.add_middleware(Token, token=service.serving.token)
        _document_token(app)
    app.add_middleware(Measured, meters=service.meters)  # added after them: it sees the others' refusals too
    app.add_middleware(Head)
    return app


def _reload_on_hangup(service: Service) -> None:
    async def reload() -> None:
        try:
            await service.reload()
        except HTTPException as problem:
            log.error("not opened anew: %s", problem.detail)

    waiting: set[asyncio.Task[None]] = set()

    def heard() -> None:
        task = asyncio.get_running_loop().create_task(reload())
        waiting.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(waiting.discard)

    try:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, heard)
    except (AttributeError, NotImplementedError, RuntimeError, ValueError):
        return  # Windows has no such signal, and only a main thread may listen


def _document_token(app: FastAPI) -> None:
    usual = app.openapi

    def with_token() -> dict[str, Any]:
        told = usual()
        told.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in told["paths"].items():
            for operation in methods.values():
                operation["security"] = [] if path in OPEN else [{"token": []}]
        return told

    app.openapi = with_token  # type: ignore[method-assign]
