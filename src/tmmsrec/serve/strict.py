"""JSON as strictly as JSON is: no NaN, no infinity, no half characters, nothing nested without end."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from tmmsrec.serve.errors import Refused


def parsed(body: bytes) -> Any:
    """The value of a JSON text; raises Refused for anything that is none."""
    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # raises for half of a character
    except UnicodeDecodeError as problem:
        raise Refused(400, f"the body is no UTF-8 (byte {problem.start})") from None
    except UnicodeEncodeError:
        raise Refused(400, "the body holds half of a character (a lone \\ud800 to \\udfff)") from None
    except RecursionError:
        raise Refused(400, "the body is nested too deeply") from None
    except ValueError as problem:
        raise Refused(400, f"the body is no JSON: {problem}") from None
    return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


class StrictRequest(Request):
    """A request whose JSON is read strictly."""

    async def json(self) -> Any:
        """The body's value."""
        return parsed(await self.body())


class StrictRoute(APIRoute):
    """A route whose requests are read strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler."""
        usual = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await usual(StrictRequest(request.scope, request.receive))

        return strict
