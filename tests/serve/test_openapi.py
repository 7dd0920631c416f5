"""The OpenAPI document: its examples work, answers have its shapes, and nothing that it allows makes a 5xx."""

from __future__ import annotations

from contextlib import suppress

import pytest
from pydantic import TypeAdapter

from tmmsrec.serve import answers

POSTS = {
    "/v1/recommend": ({"user": "u3"}, answers.Best),
    "/v1/recommend/batch": ({"requests": [{"user": "u3"}, {"history": []}]}, answers.ManyBest),
    "/v1/similar": ({"item": "B003"}, answers.ScoredItems),
    "/v1/score": ({"user": "u3", "items": ["B003"]}, answers.ScoredItems),
    "/v1/items": ({"items": [{"id": "N", "title": "hat"}]}, answers.TakenItems),
    "/v1/events": ({"events": [{"user": "me", "item": "B003", "at": 0}]}, answers.TakenEvents),
    "/v1/reload": ({}, answers.Reloaded),
}
GETS = {
    "/v1/about": answers.About, "/v1/users": answers.Users, "/v1/users/u3": answers.UserHistory, "/v1/items": answers.Items,
    "/v1/items/B003": answers.Item, "/healthz": answers.Status, "/readyz": answers.Status,
}  # fmt: skip


@pytest.mark.parametrize("path", [*POSTS, *GETS])
def test_answers_have_the_shape_that_the_document_says(client, path):
    answer = client.post(path, json=POSTS[path][0]) if path in POSTS else client.get(path)
    assert answer.status_code == 200
    shape = POSTS[path][1] if path in POSTS else GETS[path]
    read = TypeAdapter(shape).validate_json(answer.content, strict=True)
    assert read.model_dump() == answer.json()  # no field more, none less


def test_every_request_has_an_example_that_is_understood(client):
    document = client.get("/openapi.json").json()
    shapes = document["components"]["schemas"]
    asked = 0
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            assert {"4XX", "503"} <= set(operation["responses"])
            assert "422" not in operation["responses"]  # the usual shape of FastAPI is nowhere
            if "requestBody" not in operation:
                continue
            shape = operation["requestBody"]["content"]["application/json"]["schema"]
            for example in shapes.get(shape.get("$ref", "").rsplit("/", 1)[-1], {}).get("examples", []):
                asked += 1
                answer = client.post(path, json=example)
                # The shop of an example is another one: only its ids may be unknown here.
                assert answer.status_code == 200 or "unknown item" in answer.json()["error"]["message"], (path, answer.text)
    assert asked >= 7


def bare(app):
    """The app without its beginning and end: schemathesis would go through both at every request."""

    async def told(scope, receive, send):
        if scope["type"] != "lifespan":
            return await app(scope, receive, send)
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})

    return told


@pytest.mark.slow
def test_nothing_that_is_made_up_from_the_document_breaks_the_service(opened):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    schema = schemathesis.openapi.from_asgi("/openapi.json", bare(opened().app))
    few = settings(
        max_examples=10, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    tried = set()

    def check(case):
        tried.add((case.operation.label, case.meta.generation.mode.value))
        case.call_and_validate(checks=[not_a_server_error, response_schema_conformance, status_code_conformance])

    for result in schema.get_all_operations():
        for mode in schemathesis.GenerationMode:
            with suppress(Unsatisfiable):  # where nothing is asked, nothing can be asked wrongly
                few(given(case=result.ok().as_strategy(generation_mode=mode))(check))()
    assert {label for label, _ in tried} == {result.ok().label for result in schema.get_all_operations()}
    assert {mode for _, mode in tried} == {"positive", "negative"}
