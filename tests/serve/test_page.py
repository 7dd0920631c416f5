"""The page in a real browser, over the real service: every list is held against what the library itself answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from tests.colours import contrast, nearest, parts_of_methods
from tests.conftest import DAY
from tests.serve.browsing import Visit, chromium, served
from tests.serve.furnishing import EVIL, MARKUP, Place, furnished, history_of, longer_gap
from tests.shopkeeping import items, learned

__all__ = ["learned"]  # a fixture
pytestmark = pytest.mark.slow
pytest.importorskip("fastapi", reason="the page is shown by the service: pip install 'tmmsrec[serve]'")


@pytest.fixture(scope="module")
def place(learned, tmp_path_factory) -> Place:
    return furnished(learned, tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def shop(place):
    with served(place.serving()) as address:
        yield address


@pytest.fixture
def visit(browser, shop):
    """A visit that must end without an error in the console and without a request to anybody else."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    made = Visit(context.new_page(), shop)
    yield made
    context.close()
    assert made.errors == []
    assert made.hosts <= {shop.removeprefix("http://")}


def press(visit: Visit, key: str, times: int = 1) -> None:
    for _ in range(times):
        visit.page.keyboard.press(key)


def test_the_first_look_shows_the_popular_items_and_says_why(visit, place):
    visit.open()
    visit.wait_list(items(place.main.recommend(history=[])))
    notice = visit.page.locator("[data-bundle=main] .notice")
    assert notice.inner_text() == "There is no history to read: the most popular items."
    assert "25 items, 60 people, 420 events" in visit.page.inner_text("#about")
    assert re.sub(r"\s+", " ", visit.page.inner_text("#legend")) == "Shares of the score: popularity the score zero"


def test_a_person_is_found_by_typing_and_picked_by_keys(visit, place):
    page = visit.open().page
    page.get_by_role("searchbox", name="Find a person by id").focus()
    page.keyboard.type("u3")
    page.get_by_text("11 people with “u3”").wait_for()
    press(visit, "ArrowDown", 3)
    assert "u31" in visit.focused()
    page.keyboard.press("Enter")
    visit.wait_list(items(place.main.recommend("u31", at=place.last)))
    visit.wait_list(items(place.beside.recommend("u31", at=place.last)), "beside")
    assert page.inner_text("#past-title") == "The history of u31"
    assert page.url.endswith("#user=u31")
    labels = page.locator(".event button").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert len(labels) == 7
    assert labels[6].endswith("event 7 of 7")
    page.go_back()
    visit.wait_list(items(place.main.recommend(history=[])))
    page.go_forward()
    visit.wait_list(items(place.main.recommend("u31", at=place.last)))


def test_a_history_is_built_by_keyboard_alone(visit, place):
    page = visit.open("bundle=main").page
    visit.tab_to("A person")
    press(visit, "ArrowRight")
    visit.tab_to("Find an item by its words")
    page.keyboard.type("blue coat")
    page.get_by_text("12 items with “blue coat”").wait_for()
    press(visit, "ArrowDown")
    press(visit, "Enter")
    press(visit, "ArrowRight")
    press(visit, "Enter")
    page.get_by_role("slider", name="event 2 of 2").wait_for()
    built = [(unquote(i), int(t)) for i, t in re.findall(r"([^=,@]+)@(\d+)", page.url)]
    assert built[0][0] != built[1][0]
    assert built[1][1] - built[0][1] == 7 * DAY
    visit.wait_list(items(place.main.recommend(history=built, at=place.last)))
    assert page.inner_text("#past-title") == "A history from pictures"
    visit.tab_to("event 2 of 2")
    press(visit, "ArrowUp")
    assert "event 1 of 2" in visit.focused()
    press(visit, "Delete")
    page.get_by_role("slider", name="event 1 of 1").wait_for()
    assert "event 1 of 1" in visit.focused()
    visit.wait_list(items(place.main.recommend(history=built[1:], at=place.last)))


def test_a_longer_gap_changes_the_list_of_the_method_that_reads_time_only(visit, place):
    user, moved = longer_gap(place)
    page = visit.open(f"user={user}").page
    before, plain = visit.list(), visit.list("beside")
    page.get_by_role("slider", name="event 7 of 7").focus()
    press(visit, "Home")
    press(visit, "Shift+ArrowLeft", 7)
    press(visit, "ArrowLeft", 2)
    visit.wait_list(items(place.main.recommend(history=moved, at=place.last)))
    assert visit.list() != before
    assert page.inner_text("#past-title") == f"The history of {user}, changed by hand"
    page.get_by_text("beside: nothing changed").or_(page.get_by_text("plain: nothing changed")).first.wait_for()
    assert visit.list("beside") == plain
    expected = {item: before.index(item) - n for n, item in enumerate(visit.list()) if item in before and before.index(item) != n}
    marks = page.locator("[data-bundle=main] .row-item").evaluate_all(
        "rows => rows.map(row => [row.dataset.item, row.querySelector('.change')?.lastChild.textContent])"
    )
    assert {item: mark for item, mark in marks if mark and mark != "new"} == {
        item: f"{'▲' if by > 0 else '▼'} {abs(by)}" for item, by in expected.items()
    }
    assert {item for item, mark in marks if mark == "new"} == set(visit.list()) - set(before)
    page.go_back()  # nine presses were one change
    visit.wait_list(before)


def test_an_event_is_dragged_along_the_line_and_dated_exactly(visit, place):
    page = visit.open("user=u9&bundle=main").page
    history = history_of(place, "u9")
    handle = page.get_by_role("slider", name="event 7 of 7")
    day = int(handle.get_attribute("aria-valuenow"))
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y, steps=6)
    page.mouse.up()
    title = handle.get_attribute("aria-label")
    page.get_by_text("changed by hand").wait_for()
    dragged = page.locator(".event.chosen button")
    earlier = int(dragged.get_attribute("aria-valuenow"))
    assert earlier < day
    assert title
    page.locator(".chosen input").fill("2016-02-29")
    exact = int(datetime(2016, 2, 29, tzinfo=UTC).timestamp()) + history[6][1] % DAY
    visit.wait_list(items(place.main.recommend(history=[(history[6][0], exact), *history[:6]], at=place.last)))
    page.locator(".chosen").get_by_role("button", name="Remove").click()
    visit.wait_list(items(place.main.recommend(history=history[:6], at=place.last)))


def test_the_moment_of_the_request_can_be_moved(visit, place):
    page = visit.open("user=u12").page
    assert "Neither method reads the moment of the request" in page.inner_text("#reads")
    assert "“plain” does not read when things happened" in page.inner_text("#reads")
    page.get_by_role("slider", name="The moment of the request").focus()
    at, moments = place.last, [moment for _, moment in history_of(place, "u12")]
    for _ in range(16):
        press(visit, "ArrowLeft")
        at = max([at - DAY, *[one for one in moments if one // DAY == at // DAY - 1]])  # all of that day has happened
    late = sum(moment > at for moment in moments)
    assert 0 < late < 7
    visit.wait_list(items(place.main.recommend("u12", at=at)))
    assert f"{late} lie after the moment of the request" in page.inner_text("#past-said")
    assert page.locator(".event.late").count() == late
    page.get_by_label("Asked on").fill("2010-01-01")
    visit.wait_list(items(place.main.recommend(history=[])))
    page.get_by_role("button", name="end of the data").click()
    visit.wait_list(items(place.main.recommend("u12", at=place.last)))


def test_two_bundles_stand_side_by_side(visit, place):
    page = visit.open("user=u20").page
    left, right = (items(one.recommend("u20", at=place.last)) for one in (place.main, place.beside))
    visit.wait_list(left)
    visit.wait_list(right, "beside")
    shared = set(left) & set(right)
    page.get_by_text(f"{len(shared)} of 10 are in both lists").first.wait_for()
    linked = page.locator(".link").evaluate_all("all => all.map(one => one.dataset.item)")
    assert set(linked) == shared
    assert len(linked) == len(shared) > 0
    item = left[next(n for n, one in enumerate(left) if one in shared)]
    row = page.locator(f"[data-bundle=main] [data-item={item}]")
    assert f"no. {right.index(item) + 1} in plain" in row.inner_text()
    row.hover()
    assert page.locator(".touched").count() == 3  # here, there, and the line between
    page.get_by_role("radio", name="plain").check()
    page.locator("[data-bundle=main]").wait_for(state="detached")
    visit.wait_list(right, "beside")
    assert page.url.endswith("bundle=beside")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_two_parts_of_a_score_look_alike(visit, scheme):
    page = visit.open().page
    page.emulate_media(color_scheme=scheme)
    look = """async (names) => {
      const { legend } = await import("/page/shares.js");
      document.querySelector("#legend").replaceChildren(...legend(names));
      const keys = [...document.querySelectorAll("#legend i.share")].map((key) => getComputedStyle(key));
      const paper = getComputedStyle(document.body).backgroundColor;
      return [paper, ...keys.map((key) => [key.backgroundColor, key.backgroundImage])];
    }"""
    for parts in parts_of_methods():
        paper, *looks = page.evaluate(look, parts)
        assert len({tuple(one) for one in looks}) == len(parts), parts
        plain = {name: hexed(colour) for name, (colour, image) in zip(parts, looks, strict=True) if image == "none"}
        assert all(contrast(colour, hexed(paper)) >= 3 for colour in plain.values()), plain
        assert len(plain) < 2 or nearest(plain)[0] > 0.08, nearest(plain)
        striped = [name for name in parts if name not in plain]
        assert striped == [name for name in parts if name.startswith("network")]


def hexed(colour: str) -> str:
    """``rgb(1, 2, 3)`` as #010203."""
    return "#" + "".join(f"{int(n):02x}" for n in re.findall(r"\d+", colour)[:3])


def test_a_recommendation_tells_its_shares_and_its_neighbours(visit, place):
    page = visit.open("user=u7&bundle=main").page
    first = place.main.recommend("u7", at=place.last)[0]
    said = page.locator(".row-item .bar").first.get_attribute("aria-label")
    assert said == page.locator(".row-item .bar").first.get_attribute("title")
    numbers = [float(n.replace("−", "-")) for n in re.findall(r"[−\d.]+", said)]
    assert numbers == pytest.approx([first.score, *first.shares.values()], abs=0.006)
    page.get_by_role("button", name=first.fields["title"]).click()
    near = [page.locator(".near .name").nth(n) for n in range(8)]
    near[7].wait_for()
    assert [one.inner_text() for one in near] == [one.fields["title"] for one in place.main.similar(first.item, 8)]
    page.get_by_role("button", name="Suppose it is taken").click()
    taken = [*history_of(place, "u7"), (first.item, place.last)]
    visit.wait_list(items(place.main.recommend(history=taken, at=place.last)))


def test_limits_are_kept_in_the_address(visit, place):
    page = visit.open("user=u7&bundle=main").page
    page.get_by_role("combobox", name="Show").select_option("5")
    visit.wait_list(items(place.main.recommend("u7", at=place.last, k=5)))
    page.get_by_label("leave out what was met").check()
    visit.wait_list(items(place.main.recommend("u7", at=place.last, k=5, exclude_seen=True)))
    page.locator(".open").first.click()
    page.get_by_role("button", name="Only brand: plain").click()
    page.get_by_role("button", name="Stop showing only brand plain").wait_for()
    shared = page.url.partition("#")[2]
    visit.page.goto("about:blank")
    visit.open(shared)
    visit.wait_list(items(place.main.recommend("u7", at=place.last, k=5, exclude_seen=True)))
    assert page.get_by_role("combobox", name="Show").input_value() == "5"
    assert page.get_by_label("leave out what was met").is_checked()


def test_words_of_the_catalogue_stay_words(visit, place):
    page = visit.open("bundle=main").page
    page.get_by_role("tab", name="From pictures").click()
    page.get_by_role("searchbox", name="Find an item by its words").fill("poncho")
    card = page.locator(".card", has_text=MARKUP)
    card.wait_for()
    assert card.locator("img").count() == 0
    assert card.locator(".letters").inner_text() == "IS"  # no picture of it: the first letters of its name
    card.click()
    page.get_by_role("slider", name=f"{MARKUP}, event 1 of 1").wait_for()
    shared = page.url.partition("#")[2]
    [(item, at)] = [(unquote(i), int(t)) for i, t in re.findall(r"history=([^,@]+)@(\d+)", page.url)]
    assert item == EVIL
    visit.page.goto("about:blank")
    visit.open(shared)
    page.get_by_role("slider", name=f"{MARKUP}, event 1 of 1").wait_for()
    visit.wait_list(items(place.main.recommend(history=[(EVIL, at)], at=place.last)))


def test_what_was_met_is_left_out_at_first_where_the_bundle_was_tested_so(visit, place):
    """And asked for by unticking, which the address keeps."""

    def told_so(route):
        told = route.fetch().json()
        for one in told["bundles"]:
            one["about"]["exclude_seen"] = one["name"] == "main"
        route.fulfill(json=told)

    visit.page.route("**/v1/about", told_so)
    page = visit.open("user=u7&bundle=main").page
    box = page.get_by_label("leave out what was met")
    assert box.is_checked()
    with page.expect_request("**/v1/recommend") as asked:
        box.uncheck()
    assert asked.value.post_data_json["exclude_seen"] is False
    assert "seen=0" in page.url
    page.goto(f"{visit.address}/#user=u7&bundle=beside")
    page.get_by_role("listitem").first.wait_for()
    assert not box.is_checked()


def test_what_is_wrong_is_said_where_it_is(visit, place):
    page = visit.open("user=u1&bundle=main").page
    before = visit.list()
    page.route("**/v1/recommend", lambda route: route.abort())
    page.get_by_label("leave out what was met").check()
    page.get_by_role("alert").get_by_text("The service does not answer").wait_for()
    assert page.get_by_text("The list below is from before").is_visible()
    assert visit.list() == before
    page.unroute("**/v1/recommend")
    page.get_by_role("button", name="Ask again").click()
    visit.wait_list(items(place.main.recommend("u1", at=place.last, exclude_seen=True)))
    assert page.get_by_role("alert").count() == 0
    page.goto(f"{visit.address}/#history=GONE@1500000000&bundle=main")
    page.get_by_role("alert").get_by_text("unknown item 'GONE'").wait_for()
    page.goto(f"{visit.address}/#user=nobody&bundle=main")
    page.get_by_text("This user is unknown: the most popular items.").wait_for()
    assert "unknown user 'nobody'" in page.inner_text("#past-said")
    assert all("Failed to load resource" in one for one in visit.errors)
    visit.errors.clear()


def test_a_token_is_asked_for_and_kept_in_the_tab(browser, place):
    with served(place.serving(token="open-sesame")) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        visit = Visit(context.new_page(), address)
        page = visit.page
        page.goto(f"{address}/#user=u2&bundle=main")
        field = page.get_by_label("This service asks for a token")
        field.wait_for()
        assert "token-field" in visit.focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("does not accept this token").wait_for()
        field.fill("open-sesame")
        page.keyboard.press("Enter")
        visit.wait_list(items(place.main.recommend("u2", at=place.last)))
        field.wait_for(state="hidden")
        page.wait_for_function("() => document.querySelector('.row-item img')?.naturalWidth > 0")  # fetched with the token
        page.reload()
        visit.wait_list(items(place.main.recommend("u2", at=place.last)))
        assert page.evaluate("() => [sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
        assert "sesame" not in page.url
        assert {one for one in visit.errors if "401" not in one} == set()
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_never_scrolls_sideways(browser, shop, place, scheme):
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True, is_mobile=True)
    visit = Visit(context.new_page(), shop)
    page = visit.open("user=u5").page
    assert visit.sideways() == 0
    page.locator(".row-item .open").first.click()
    page.locator(".near .name").first.wait_for()
    page.get_by_role("tab", name="From pictures").click()
    page.locator(".card").first.wait_for()
    page.get_by_role("button", name="Look closer").click()
    assert visit.sideways() == 0
    assert page.evaluate("() => document.querySelector('.scroller').scrollWidth > document.querySelector('.scroller').clientWidth")
    page.get_by_role("radio", name="timed").check()
    page.locator("[data-bundle=beside]").wait_for(state="detached")
    assert visit.sideways() == 0
    paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) > 380) == (scheme == "light")
    assert visit.errors == []
    context.close()
