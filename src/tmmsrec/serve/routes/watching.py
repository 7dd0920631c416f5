"""How the service is: for whoever watches it."""

from __future__ import annotations

from fastapi import Request, Response

from tmmsrec.serve import answers
from tmmsrec.serve.errors import Refused
from tmmsrec.serve.routes.common import router, service_of, told

watching = router("watch")


@watching.get("/healthz", response_model=answers.Status, summary="Whether the process lives")
async def healthz() -> Response:
    """Open to all."""
    return told({"status": "ok"})


@watching.get("/readyz", response_model=answers.Status, summary="Whether questions are answered")
async def readyz(request: Request) -> Response:
    """Open to all; 503 while it stops."""
    if not service_of(request).ready:
        raise Refused(503, "no bundle answers now")
    return told({"status": "ready"})


@watching.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
    summary="Meters, as Prometheus reads them",
)
def metrics(request: Request) -> Response:
    """Requests by route and status, seconds, questions answered together, items, users, bytes of the journal."""
    return Response(service_of(request).meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
