"""Every error in one shape: ``{"error": {"status": 422, "where": "history[3].at", "message": "what was wrong, what to do"}}``."""

from __future__ import annotations

import json
import logging
import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from tmmsrec.data.problems import DataProblem

_PLACE = re.compile(r"^([a-z_]+(?:\[\d+\]|\.[A-Za-z_]\w*)*):? ")
_LONGEST = 600  # characters of a message: what was given may be long
log = logging.getLogger("tmmsrec.serve")


class Refused(HTTPException):
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        where: the place in the request, such as ``history[3].at``; "" when it is none in particular.
        message: what was wrong and what to do.
    """

    def __init__(self, status: int, message: str, where: str = "") -> None:
        super().__init__(status, message)
        self.status, self.message, self.where = status, message, where

    def inside(self, place: str) -> Refused:
        """The same problem in a part of a larger request."""
        return Refused(self.status, self.message, f"{place}.{self.where}" if self.where else place)

    @classmethod
    def of(cls, problem: DataProblem, status: int = 422) -> Refused:
        """A problem of the library; its messages begin with the place."""
        message = str(problem)
        found = _PLACE.match(message)
        return cls(status, message, found[1] if found and re.search(r"[\[.:]", found[0]) else "")


def answer(status: int, message: str, where: str = "", headers: dict[str, str] | None = None) -> Response:
    """An error as a response."""
    message = message if len(message) <= _LONGEST else message[:_LONGEST] + " ..."
    body = json.dumps({"error": {"status": status, "where": where[:_LONGEST], "message": message}})
    return Response(body, status, headers, media_type="application/json")


def place(parts: tuple[Any, ...]) -> str:
    """``("body", "history", 3, "at")`` as ``history[3].at``."""
    told = ""
    for part in parts[1:] if parts and parts[0] in ("body", "query", "path", "header") else parts:
        told += f"[{part}]" if isinstance(part, int) else f".{part}" if told else str(part)
    return told


def install(app: FastAPI) -> None:
    """Make an app answer every error in the one shape."""

    @app.exception_handler(Refused)
    async def refused(_: Request, problem: Refused) -> Response:
        return answer(problem.status, problem.message, problem.where)

    @app.exception_handler(DataProblem)
    async def unusable(_: Request, problem: DataProblem) -> Response:
        told = Refused.of(problem)
        return answer(told.status, told.message, told.where)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, problem: RequestValidationError) -> Response:
        first = problem.errors()[0]
        return answer(422, _said(first), place(tuple(first["loc"])))

    @app.exception_handler(HTTPException)
    async def other(_: Request, problem: HTTPException) -> Response:
        words, headers = str(problem.detail) or HTTPStatus(problem.status_code).phrase, dict(problem.headers or {})
        if problem.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            words = f"this path takes {headers.get('Allow', 'another method')}; /openapi.json describes every path"
        elif words == HTTPStatus.NOT_FOUND.phrase:  # the framework's words where no path fits; ours say what was not found
            words = "there is no such path; /openapi.json describes those that there are"
        return answer(problem.status_code, words, "", headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, problem: Exception) -> Response:
        log.exception("a request to %s failed", request.url.path, exc_info=problem)
        return answer(500, "the service failed at this request; its log says how")


# By pydantic's kind of problem.
_WORDS = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_long": "may have {max_length:,} entries, and has more",
    "too_short": "must have at least {min_length:,}",
    "list_type": "must be a list",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
}


def _said(error: Any) -> str:
    """What is wrong, in words for whoever wrote the request."""
    if error["type"] == "missing" and error["loc"] == ("body",):
        return "there is no body; send JSON with the header Content-Type: application/json"
    if error["type"] in ("model_attributes_type", "model_type", "dict_type"):
        whole = len(error["loc"]) == 1  # and not a part of a body that was read
        return "must be a JSON object" + ("; send JSON with the header Content-Type: application/json" if whole else "")
    if error["type"] == "missing":
        return "is missing; give it a value"
    if error["type"] == "extra_forbidden":
        return "there is no such field here; leave it out or correct its name (/openapi.json lists them)"
    if error["type"] in _WORDS:
        given = error.get("input")
        got = f", got {json.dumps(given)}" if isinstance(given, (str, int, float, type(None))) else ""
        return _WORDS[error["type"]].format(**error.get("ctx", {})) + got
    return str(error["msg"]).removeprefix("Value error, ")
