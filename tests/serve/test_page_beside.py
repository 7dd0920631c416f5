"""Two shops side by side on the page: what the second says of its items does not get into the history of the first."""

from __future__ import annotations

import re

import pytest

from tests.serve.browsing import Visit, chromium, served
from tests.serve.furnishing import two_shops
from tests.shopkeeping import learned

__all__ = ["learned"]  # a fixture
pytestmark = pytest.mark.slow
pytest.importorskip("fastapi", reason="the page is shown by the service: pip install 'tmmsrec[serve]'")


def sources(page, which: str) -> list[str]:
    return page.locator(which).evaluate_all("all => all.map(one => one.getAttribute('src'))")


def test_one_id_keeps_its_own_picture_and_name_in_each_shop(learned, tmp_path):
    from tmmsrec.serve.service import Serving

    folder = two_shops(learned, tmp_path)
    serving = Serving(folder / "first", beside=folder / "second", read_only=True)
    with chromium() as browser, served(serving) as address:
        visit = Visit(browser.new_page(), address).open("user=u3")
        page = visit.page
        for bundle, sign in (("main", "/picture?size="), ("beside", "/picture?bundle=beside&size=")):
            page.locator(f"[data-bundle={bundle}] .open").first.click()
            page.locator(f"[data-bundle={bundle}] .near .name").first.wait_for()
            assert all(sign in one for one in sources(page, f"[data-bundle={bundle}] img"))
            image = page.locator(f"[data-bundle={bundle}] .row-item img").first
            page.wait_for_function("one => one.complete && one.naturalWidth > 0", arg=image.element_handle())
        met = {re.search(r"items/([^/]+)/", one)[1] for one in sources(page, ".event img")}
        assert met & set(visit.list("beside"))  # both shops have said something of these ids
        page.get_by_role("slider", name="event 7 of 7").focus()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowRight")  # the line and what is chosen of it are drawn anew
        page.get_by_text("changed by hand").wait_for()
        shown = sources(page, ".event img, #chosen img")
        assert len(shown) >= 7
        assert not any("bundle=" in one for one in shown)
        labels = page.locator(".event button").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
        assert not any("of the other shop" in one for one in labels)
        assert "of the other shop" in page.locator("[data-bundle=beside] .row-item .name").first.inner_text()
        assert visit.errors == []
