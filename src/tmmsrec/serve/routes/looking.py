"""What there is: bundles, users, items, pictures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

import tmmsrec
from tmmsrec.data.problems import UnknownId
from tmmsrec.serve import answers, telling
from tmmsrec.serve.errors import Refused
from tmmsrec.serve.routes.common import router, service_of, told
from tmmsrec.serve.service import Service
from tmmsrec.serve.shelf import MAIN, Held
from tmmsrec.values import to_json

looking = router("look")
Words = Annotated[str, Query(max_length=200, description="Words to look for; everything if there are none.")]
Offset = Annotated[int, Query(ge=0, le=10**9)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Whose = Annotated[str | None, Query(max_length=64, description="The bundle whose item is meant; the main one if not given.")]
Size = Annotated[int | None, Query(ge=16, le=2048, description="Pixels of the longest side; as it is if not given.")]


@looking.get("/v1/about", response_model=answers.About, summary="What is served")
def about(request: Request) -> Response:
    """Every open bundle: its method, what it reads, and how it was trained."""
    service = service_of(request)
    return told(
        {
            "bundles": [_about(held) for held in service.shelf],
            "default": MAIN,
            "pictures": bool(service.gallery),
            "fields": service.shelf.main.recommender.catalog.text_columns,
            "writable": service.writable,
            "version": tmmsrec.__version__,
        }
    )


def _about(held: Held) -> dict[str, Any]:
    mine, people = held.recommender, held.recommender.people
    span = people.span
    return {
        "name": held.name,
        "path_name": held.folder.name,
        "method": mine.about.get("name") or type(mine.method).__name__,
        "kind": type(mine.method).__name__,
        "modalities": list(mine.method.reads),
        "scored_by": list(mine.method.scored_by),
        "reads_time": mine.method.reads_time,
        "reads_now": mine.method.reads_now,
        "users": len(people),
        "items": len(mine.catalog),
        "trained_items": mine.trained_items,
        "events": people.events,
        "first": telling.iso(span[0]) if span else None,
        "last": telling.iso(span[1]) if span else None,
        "about": to_json(mine.about),
    }


@looking.get("/v1/users", response_model=answers.Users, summary="Users by a part of their id")
def users(request: Request, query: Words = "", limit: Limit = 20, offset: Offset = 0) -> Response:
    """Ids that begin with the query come first."""
    held = service_of(request).shelf.main
    people = held.recommender.people
    total, rows = held.index.users(query, offset, limit)
    listed = []
    for row in rows:
        last = people.last(row)
        listed.append(
            {"user": held.index.user(row), "events": people.length(row), "last": None if last is None else telling.iso(last)}
        )
    return told({"total": total, "users": listed})


@looking.get("/v1/users/{user:path}", response_model=answers.UserHistory, summary="What a user has met")
def user(request: Request, user: str, limit: Limit = 50) -> Response:
    """The newest events, the oldest of them first; events that were sent are among them."""
    service = service_of(request)
    state = service.shelf.main.recommender.state  # people and catalogue of one moment: items and events may come meanwhile
    people, catalog = state.people, state.dataset.catalog
    try:
        row = people.row(user)
    except UnknownId as problem:
        raise Refused(404, str(problem), "user") from None
    items, times = people.history(row, len(catalog))
    history = [
        _event(service, catalog.ids[item], catalog.describe(item), at)
        for item, at in zip(items[-limit:].tolist(), times[-limit:].tolist(), strict=True)
    ]
    return told({"user": people.id(row), "events": len(items), "history": history})


def _event(service: Service, item: Any, known: dict[str, Any], at: int) -> dict[str, Any]:
    return {"item": item, "at": telling.iso(at), "fields": telling.fields(known), "picture": service.gallery.address(item)}


@looking.get("/v1/items", response_model=answers.Items, summary="Items by words")
def items(request: Request, query: Words = "", limit: Limit = 24, offset: Offset = 0) -> Response:
    """Items that have every word of the query in a field or the id, the most popular first."""
    service = service_of(request)
    held = service.shelf.main
    total, rows = held.index.items(query, offset, limit)
    counts = held.recommender.people.counts(len(held.recommender.catalog))
    return told({"total": total, "items": [telling.item(held, row, service.gallery, int(counts[row])) for row in rows]})


@looking.get(
    "/v1/items/{item:path}/picture",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}, "image/png": {}}}, 304: {"description": "It is what you have"}},
    summary="An item's picture",
)
def picture(request: Request, item: str, size: Size = None, bundle: Whose = None) -> Response:
    """JPEG or PNG; with ``size`` scaled down so that the longest side has as many pixels."""
    service = service_of(request)
    held = service.shelf.get(bundle)
    shown = service.gallery.show(held.recommender.catalog.ids.same_type(item), size, held.name)
    if shown is None:
        raise Refused(404, f"there is no picture of item {item!r}", "item")
    headers = {"ETag": shown.tag, "Cache-Control": "private, max-age=300"}
    if shown.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(shown.data, media_type=shown.media_type, headers=headers)


@looking.get("/v1/items/{item:path}", response_model=answers.Item, summary="What is known of an item")
def item(request: Request, item: str) -> Response:
    """Its fields, and which modalities it has."""
    service = service_of(request)
    held = service.shelf.main
    try:
        row = held.recommender.catalog.ids.row(item)
    except UnknownId as problem:
        raise Refused(404, str(problem), "item") from None
    counts = held.recommender.people.counts(len(held.recommender.catalog))
    return told(telling.item(held, row, service.gallery, int(counts[row])))
