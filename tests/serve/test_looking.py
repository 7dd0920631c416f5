"""Users, items, pictures, the page, and how the service is."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from tests.conftest import small
from tests.serve.conftest import problem
from tests.shopkeeping import picture
from tmmsrec import zoo
from tmmsrec.recommender import Recommender
from tmmsrec.serve.browsing import Index
from tmmsrec.serve.routes import page


def test_about_says_what_is_served(client):
    told = client.get("/v1/about").json()
    about = told["bundles"][0].pop("about")
    assert about == {"name": "TMMSRec"}
    assert told["bundles"] == [
        {
            "name": "main", "path_name": "bundle", "method": "TMMSRec", "kind": "Sequential", "modalities": ["id", "text", "image"],
            "scored_by": ["id", "text", "image"], "reads_time": True, "reads_now": False, "users": 60, "items": 24,
            "trained_items": 24, "events": 420, "first": told["bundles"][0]["first"], "last": told["bundles"][0]["last"],
        }
    ]  # fmt: skip
    assert told["bundles"][0]["first"] < told["bundles"][0]["last"]
    assert (told["default"], told["pictures"], told["fields"], told["writable"]) == ("main", True, ["title", "brand"], True)


def test_users_are_found_by_a_part_of_their_id(client):
    told = client.get("/v1/users", params={"query": "u1", "limit": 3, "offset": 1}).json()
    assert told["total"] == 11  # u1, u10 to u19
    assert [one["user"] for one in told["users"]] == ["u10", "u11", "u12"]
    assert client.get("/v1/users", params={"query": "9"}).json()["total"] == 6
    assert client.get("/v1/users", params={"offset": 55}).json()["users"][-1]["user"] == "u59"
    assert client.get("/v1/users", params={"query": "zz"}).json() == {"total": 0, "users": []}


def test_a_users_history_is_told_oldest_first(client):
    told = client.get("/v1/users/u7", params={"limit": 3}).json()
    assert (told["user"], told["events"], len(told["history"])) == ("u7", 7, 3)
    assert [one["at"] for one in told["history"]] == sorted(one["at"] for one in told["history"])
    assert told["history"][-1]["fields"]["title"].startswith("blue coat")
    where, said = problem(client.get("/v1/users/u77"), 404)
    assert where == "user"
    assert "nearest known one is 'u7" in said


def test_items_are_found_by_words_most_popular_first(client):
    told = client.get("/v1/items", params={"query": "COAT blue", "limit": 5}).json()
    assert told["total"] == 12
    counts = [one["events"] for one in told["items"]]
    assert counts == sorted(counts, reverse=True)
    more = client.get("/v1/items", params={"query": "coat", "limit": 5, "offset": 5}).json()["items"]
    assert more[0]["events"] <= counts[-1]
    assert client.get("/v1/items", params={"query": "b017"}).json()["items"][0]["item"] == "B017"
    assert client.get("/v1/items").json()["total"] == 24
    assert client.get("/v1/items/B017").json()["modalities"] == ["id", "image", "text"]
    assert problem(client.get("/v1/items/zz"), 404)[0] == "item"
    for wrong in ({"limit": 0}, {"limit": 1001}, {"offset": -1}, {"limit": "x"}, {"query": "x" * 201}):
        assert problem(client.get("/v1/items", params=wrong), 422)[0] == next(iter(wrong))


def test_pictures_are_scaled_and_may_be_kept(client):
    whole = client.get("/v1/items/B000/picture")
    assert whole.content == picture("red", 0)
    assert whole.headers["content-type"] == "image/png"
    small = client.get("/v1/items/B000/picture", params={"size": 16})
    assert Image.open(io.BytesIO(small.content)).size == (16, 16)
    again = client.get("/v1/items/B000/picture", params={"size": 16}, headers={"If-None-Match": small.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/v1/items/B000/picture", params={"size": 2000}).content == whole.content  # never larger
    assert problem(client.get("/v1/items/B005/picture"), 404)[0] == "item"  # its file is missing
    assert client.get("/v1/items/B005").json()["picture"] is None
    assert problem(client.get("/v1/items/zz/picture"), 404)[0] == "item"
    assert problem(client.get("/v1/items/B000/picture", params={"size": 5}), 422)[0] == "size"


def test_pictures_that_are_gone_or_broken_are_not_there(opened, bundle):
    (bundle.parent / "pictures" / "B001.png").write_bytes(b"no picture")
    client = opened()
    assert problem(client.get("/v1/items/B001/picture"), 404)[0] == "item"
    shutil.rmtree(bundle.parent / "pictures")
    assert problem(client.get("/v1/items/B002/picture"), 404)[0] == "item"


def test_without_pictures_none_is_told(opened):
    client = opened(images=None)  # the bundle does not say what it was made from
    assert client.get("/v1/about").json()["pictures"] is False
    assert client.get("/v1/items/B000").json()["picture"] is None


@pytest.mark.parametrize("name", ["index.html", "app.js", "inner/style.css"])
def test_the_page_is_served_under_a_strict_policy(client, tmp_path, monkeypatch, name):
    folder = tmp_path / "page"
    (folder / "inner").mkdir(parents=True)
    (folder / name).write_text("hello")
    monkeypatch.setattr(page, "FOLDER", folder)
    answer = client.get("/" if name == "index.html" else f"/page/{name}")
    assert (answer.status_code, answer.text) == (200, "hello")
    assert answer.headers["content-type"].startswith(
        {"html": "text/html", "js": "text/javascript", "css": "text/css"}[name.split(".")[1]]
    )
    assert answer.headers["content-security-policy"] == "default-src 'self'; img-src 'self' data: blob:"
    assert answer.headers["cache-control"] == "no-cache"
    assert client.get(str(answer.request.url), headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_no_other_file_is_served_as_the_page(client, tmp_path, monkeypatch):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "code.py").write_text("secret")
    (tmp_path / "secret.html").write_text("secret")
    monkeypatch.setattr(page, "FOLDER", tmp_path / "page")
    for path in ("/page/code.py", "/page/../secret.html", "/page/%2e%2e/secret.html", "/page//etc/passwd"):
        assert client.get(path).status_code == 404
    assert "the page has no file 'index.html'" in problem(client.get("/"), 404)[1]


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/healthz", "/readyz", "/v1/about", "/v1/items/B000/picture", "/page/no.js"])
def test_head_is_get_without_a_body(client, path):
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.headers) == (whole.status_code, whole.headers)
    assert int(head.headers["content-length"]) == len(whole.content) > 0
    assert head.content == b""
    tag = {"If-None-Match": whole.headers.get("etag", "")}
    assert client.head(path, headers=tag).status_code == client.get(path, headers=tag).status_code


def test_head_of_what_is_only_posted_is_refused(client):
    assert (client.head("/v1/recommend").status_code, client.head("/v1/recommend").headers["allow"]) == (405, "POST")


def test_how_the_service_is(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    client.post("/v1/recommend", json={"user": "u1"})
    client.post("/v1/recommend", json={"user": []})
    client.get("/made/up/by/a/client")
    told = client.get("/metrics").text
    for line in (
        'tmmsrec_requests_total{method="POST",route="/v1/recommend",status="200"} 1.0',
        'tmmsrec_requests_total{method="POST",route="/v1/recommend",status="422"} 1.0',
        'tmmsrec_requests_total{method="",route="none",status="404"} 1.0',
        'tmmsrec_request_seconds_count{route="/v1/recommend"} 2.0',
        "tmmsrec_questions_together_count 1.0",
        'tmmsrec_items{bundle="main"} 24.0',
        'tmmsrec_users{bundle="main"} 60.0',
        "tmmsrec_journal_bytes 67.0",
        'tmmsrec_bundle_info{bundle="main",data="shop",folder="bundle",method="Sequential"} 1.0',
    ):
        assert line in told.splitlines(), line
    client.app.state.service.closing = True
    assert client.get("/readyz").status_code == 503


def test_an_item_that_comes_while_a_user_is_looked_at_is_told_the_next_time(client, monkeypatch):
    from tmmsrec.recommender.people import People

    mine, real = client.app.state.service.shelf.main.recommender, People.row

    def late(self, user):
        monkeypatch.undo()
        mine.add_items([{"id": "NEW", "title": "red shirt"}])
        mine.add_events([("u3", "NEW", "2030-01-01")])
        return real(self, user)

    monkeypatch.setattr(People, "row", late)
    assert client.get("/v1/users/u3").json()["events"] == 7
    assert client.get("/v1/users/u3").json()["history"][-1]["item"] == "NEW"


def test_a_catalogue_that_grows_while_it_is_looked_through_changes_no_answer(monkeypatch):
    """Another request may keep the texts of a newer catalogue between two lines of this one."""
    recommender = Recommender(zoo.POPULARITY, zoo.POPULARITY.build(small()), small())
    index = Index(recommender)
    expected = index.items("", 0, 50)
    catalog, texts = index._items
    counts = type(recommender.people).counts

    def another_request(people, size):
        index._items = replace(catalog), [*texts, "one more"]
        return counts(people, size)

    monkeypatch.setattr(type(recommender.people), "counts", another_request)
    assert index.items("", 0, 50) == expected
