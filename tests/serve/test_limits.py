"""The token, sizes, and JSON that is none."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from tests.serve.conftest import problem
from tmmsrec.cli.serve import _listen, loopback
from tmmsrec.serve.limits import BodyLimit

JSON = {"Content-Type": "application/json"}


def test_without_the_token_only_the_page_and_the_probes_answer(opened):
    client = opened(token="open-sesame")
    for path in ("/v1/about", "/metrics", "/openapi.json", "/v1/items/B000/picture", "/nothing"):
        answer = client.get(path)
        assert problem(answer, 401)[1].startswith("a token is needed")
        assert answer.headers["www-authenticate"] == "Bearer"
        for wrong in ("Bearer wrong", "open-sesame", "Bearer open-sesam", "Bearer open-sesamee", "Bearer \xff", "Basic b3Blbg=="):
            assert problem(client.get(path, headers={"Authorization": wrong.encode("latin-1")}), 401)[1] == "the token is wrong"
    assert client.post("/v1/recommend", json={"user": "u1"}).status_code == 401
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    assert client.get("/").status_code in (200, 404)
    good = {"Authorization": "Bearer open-sesame"}
    assert client.get("/v1/about", headers=good).status_code == 200
    assert client.post("/v1/recommend", json={"user": "u1"}, headers=good).status_code == 200
    schema = client.get("/openapi.json", headers=good).json()
    assert schema["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    assert schema["paths"]["/healthz"]["get"]["security"] == []


def test_a_body_that_is_too_large_is_refused(opened):
    client = opened(body=2000)
    body = json.dumps({"user": "u1", "allow": ["B001"] * 400})
    where, said = problem(client.post("/v1/recommend", content=body, headers=JSON), 413)
    assert (where, said) == ("body", "the body has more than 2,000 bytes; send less at once")
    within = json.dumps({"user": "u1", "allow": ["B001"] * 200})
    assert client.post("/v1/recommend", content=within, headers=JSON).status_code == 200


@pytest.mark.parametrize(("chunks", "status", "read"), [(3, 200, 3), (4, 413, 4), (24, 413, 24), (10**6, 413, 25)])
def test_a_body_that_comes_in_pieces_is_counted_and_an_endless_one_left(chunks, status, read):
    """No size is announced; what is too large is read a while and thrown away, so that the client hears the answer."""
    taken, sent = 0, []

    async def receive():
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b" " * 1000, "more_body": taken < chunks}

    async def send(message):
        sent.append(message)

    async def app(_, receive, send):
        assert len((await receive())["body"]) == 3000
        await send({"type": "http.response.start", "status": 200, "headers": []})

    asyncio.run(BodyLimit(app, 3000)({"type": "http", "method": "POST", "headers": []}, receive, send))
    assert (sent[0]["status"], taken) == (status, read)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b'{"user": "u1", "at": NaN}', 400, "NaN is no number in JSON"),
        (b'{"user": "u1", "at": -Infinity}', 400, "-Infinity is no number in JSON"),
        (b'{"user": "u1", "at": 1e999}', 400, "too large a number"),
        (b'{"user": "u1", "k": 1' + b"0" * 5000 + b"}", 400, "no JSON"),
        (b'{"user": "u1"', 400, "no JSON"),
        (b'{"user": "\xff\xfe"}', 400, "no UTF-8"),
        (b'{"user": "\\ud800"}', 400, "half of a character"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b'{"user": ' * 50_000, 400, "nested too deeply"),
        (b"[]", 422, "must be a JSON object"),
        (b"null", 422, ""),
        (b"", 422, "there is no body"),
    ],
)
def test_what_is_no_json_is_refused(client, body, status, said):
    assert said in problem(client.post("/v1/recommend", content=body, headers=JSON), status)[1]


def test_another_type_another_method_another_path(client):
    body = b'{"user": "u1"}'
    assert "Content-Type" in problem(client.post("/v1/recommend", content=body, headers={"Content-Type": "text/plain"}), 422)[1]
    assert "Content-Type" in problem(client.post("/v1/recommend", content=body), 422)[1]
    problem(client.get("/v1/recommend"), 405)
    problem(client.delete("/v1/items"), 405)
    problem(client.get("/v2/recommend"), 404)


def test_a_strange_id_is_no_trouble(client):
    for user in ("%00", "..%2f..%2fetc", "%F0%9F%98%80", "%ff", "a" * 5000, "%0a", "x/picture"):
        assert client.get(f"/v1/users/{user}").status_code == 404
        assert client.get(f"/v1/items/{user}").status_code == 404
    for user in ("\0", "\u202e", "😀", "a" * 5000, -5, 10**30):
        assert client.post("/v1/recommend", json={"user": user}).json()["known_user"] is False
        assert client.post("/v1/similar", json={"item": user}).status_code == 422


def test_an_error_of_the_service_itself_has_the_shape_too(client, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("tmmsrec.serve.routes.looking._about", broken)
    assert problem(client.get("/v1/about"), 500)[1] == "the service failed at this request; its log says how"


def test_answers_on_a_kept_connection_leave_at_once():
    """asyncio sets TCP_NODELAY by the protocol's name; without it every answer waits 40 ms for an acknowledgement."""
    with _listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_addresses_of_this_machine():
    assert all(loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"))
    assert not any(loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", ""))
