"""What stands before the routes: HEAD, the token, and how large a request may be.  Plain ASGI."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tmmsrec.serve.errors import answer

OPEN = ("/healthz", "/readyz", "/")
OPEN_FOLDER = "/page/"
_DRAINED = 8  # times the limit: so much of a body that is too large is read and thrown away, so that the client hears why


class Head:
    """Answers HEAD as GET without a body; what stands behind it, the meters too, sees a GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self._app(scope, receive, send)

        async def bodiless(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, bodiless)


class Token:
    """Lets nobody in without the token, but to the page and the probes."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] != "http" or scope["path"] in OPEN or scope["path"].startswith(OPEN_FOLDER):
            return await self._app(scope, receive, send)
        given = Headers(scope=scope).get("authorization", "")
        if hmac.compare_digest(given.encode("latin-1"), self._token):
            return await self._app(scope, receive, send)
        said = "the token is wrong" if given else "a token is needed: send the header Authorization: Bearer TOKEN"
        await answer(401, said, "authorization", {"www-authenticate": "Bearer"})(scope, receive, send)


class BodyLimit:
    """Reads a request's body before its route does, and refuses one that is too large, whether its size is announced or not."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its whole body, or answer 413."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self._app(scope, receive, send)
        parts, size, more = [], 0, True
        while more and size <= self._most * _DRAINED:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            part = message.get("body", b"")
            size += len(part)
            if size <= self._most:
                parts.append(part)
            else:
                parts.clear()
            more = message.get("more_body", False)
        if size > self._most:
            said = f"the body has more than {self._most:,} bytes; send less at once"
            return await answer(413, said, "body", {"connection": "close"})(scope, receive, send)
        await self._app(scope, _told(b"".join(parts), receive), send)


def _told(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives a body that was read already, then what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
