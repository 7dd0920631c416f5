"""Questions: recommend, similar, score."""

from __future__ import annotations

import asyncio

from fastapi import Request, Response

from tmmsrec.data.problems import DataProblem
from tmmsrec.recommender import Recommendation
from tmmsrec.serve import answers, telling
from tmmsrec.serve.asks import Ask, Asks, AskScore, AskSimilar
from tmmsrec.serve.errors import Refused
from tmmsrec.serve.routes.common import router, service_of, told

asking = router("ask")


@asking.post("/v1/recommend", response_model=answers.Best, summary="The k best items for a user or a history")
async def recommend(ask: Ask, request: Request) -> Response:
    """A user who is not known, or an empty history, gets the most popular items, and ``basis`` and ``why`` say so."""
    return told(await service_of(request).ask(ask))


@asking.post("/v1/recommend/batch", response_model=answers.ManyBest, summary="Many questions at once")
async def recommend_batch(asks: Asks, request: Request) -> Response:
    """Answers in the order asked.  If one question cannot be answered, none is."""
    service = service_of(request)
    found = await asyncio.gather(*[service.ask(ask) for ask in asks.requests], return_exceptions=True)
    for n, one in enumerate(found):
        if isinstance(one, (DataProblem, Refused)):
            raise (Refused.of(one) if isinstance(one, DataProblem) else one).inside(f"requests[{n}]")
        if isinstance(one, BaseException):
            raise one
    return told(b'{"answers":[' + b",".join(one for one in found if isinstance(one, bytes)) + b"]}")


@asking.post("/v1/similar", response_model=answers.ScoredItems, summary="The items nearest to one")
async def similar(ask: AskSimilar, request: Request) -> Response:
    """The score is the cosine of the items' vectors; ``shares`` says which modality brought how much of it."""
    service = service_of(request)
    held = service.shelf.get(ask.bundle)

    def find() -> bytes:
        found = held.recommender.similar(ask.item, ask.k, ask.where)
        return telling.encoded({"items": telling.scored(found, held, service.gallery)})

    return told(await service.call(find))


@asking.post("/v1/score", response_model=answers.ScoredItems, summary="Score, rank and reasons of some items")
async def score(ask: AskScore, request: Request) -> Response:
    """In the order asked; the rank is among all items.  A user who is not known is asked about as somebody without a history."""
    service = service_of(request)
    held = service.shelf.get(ask.bundle)

    def find() -> bytes:
        stranger = ask.user is not None and ask.user not in held.recommender.people
        user, history = (None, []) if stranger else (ask.user, ask.pairs())
        found: list[Recommendation] = held.recommender.explain(user, items=ask.items, history=history, at=ask.at)
        return telling.encoded({"items": telling.scored(found, held, service.gallery)})

    return told(await service.call(find))
