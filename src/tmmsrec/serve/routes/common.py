"""What all routes use."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from tmmsrec.serve.answers import ProblemAnswer
from tmmsrec.serve.service import Service
from tmmsrec.serve.strict import StrictRoute
from tmmsrec.serve.telling import encoded

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ProblemAnswer, "description": "What was wrong, where, and what to do"},
    503: {"model": ProblemAnswer, "description": "Not now"},
}


def router(tag: str) -> APIRouter:
    """Routes under one heading."""
    return APIRouter(route_class=StrictRoute, tags=[tag], responses=PROBLEMS)


def service_of(request: Request) -> Service:
    """The service that the app stands on."""
    service: Service = request.app.state.service
    return service


def told(value: Any) -> Response:
    """An answer in JSON; bytes are JSON already."""
    return Response(value if isinstance(value, bytes) else encoded(value), media_type="application/json")
