"""What changes: items, events, the bundle."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from fastapi import Request, Response

from tmmsrec.serve import answers
from tmmsrec.serve.asks import NewEvents, NewItem, NewItems, Reload
from tmmsrec.serve.errors import Refused
from tmmsrec.serve.keeping import TakeEvents, TakeItems
from tmmsrec.serve.pictures import from_text
from tmmsrec.serve.routes.common import router, service_of, told

changing = router("change")


@changing.post("/v1/items", response_model=answers.TakenItems, summary="Add items, or update them")
async def items(new: NewItems, request: Request) -> Response:
    """Live at once and kept across restarts; all or nothing.  A picture that cannot be used is said in ``reasons``."""
    records = [_record(item, n) for n, item in enumerate(new.items)]
    pictures = {n: from_text(item.picture, f"items[{n}].picture") for n, item in enumerate(new.items) if item.picture is not None}
    added = await service_of(request).take(TakeItems(records, pictures))
    return told({"items": [asdict(one) for one in added]})


def _record(item: NewItem, n: int) -> dict[str, Any]:
    extra = item.model_extra or {}
    if "image" in extra:  # the library would take it as the path of a file of this machine
        raise Refused(422, "give the picture's file as base64 text under 'picture'", f"items[{n}].image")
    return {"id": item.id, **extra}


@changing.post("/v1/events", response_model=answers.TakenEvents, summary="Say what happened")
async def events(new: NewEvents, request: Request) -> Response:
    """On disk when this is answered, and known to the next answer; all or nothing.  The same event again counts once."""
    triples = [(one.user, one.item, one.at) for one in new.events]
    return told(asdict(await service_of(request).take(TakeEvents(triples))))


@changing.post("/v1/reload", response_model=answers.Reloaded, summary="Open the bundle anew")
async def reload(request: Request, which: Reload | None = None) -> Response:
    """Swaps in what lies in the bundle's folder now, with all items and events that were sent.  No request is lost."""
    begun = time.monotonic()
    names = await service_of(request).reload(which.bundle if which else None)
    return told({"reloaded": names, "seconds": round(time.monotonic() - begun, 3)})
