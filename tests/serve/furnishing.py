"""Two bundles side by side, for the tests of the page: what the service shows, and the same opened by the library itself."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import torch

from tests.conftest import DAY
from tests.shopkeeping import TMMSREC, events, items, picture
from tmmsrec.data.catalog import Catalog
from tmmsrec.nn.losses import CrossEntropy
from tmmsrec.nn.time import Nothing
from tmmsrec.recommender import Recommender

EVIL = "A/1,b@2 <i>"  # an id and a title that only stay what they are where nobody takes them for something else
MARKUP = '<img src=x onerror="document.title=1"> poncho'


@dataclass(frozen=True)
class Place:
    """Two bundles on the disk, as the service and as the library open them; ``last`` is the end of their data."""

    folder: Path
    main: Recommender
    beside: Recommender
    last: int

    def serving(self, **changes):
        from tmmsrec.serve.service import Serving

        chosen = {"beside": self.folder / "plain", "images": str(self.folder / "pictures"), "read_only": True, **changes}
        return Serving(self.folder / "timed", **chosen)


def furnished(learned: tuple, folder: Path) -> Place:
    """One bundle reads times and has learned something; the one beside it reads none and has learned nothing."""
    method, model, dataset, encoders = learned
    main = Recommender(method, model, dataset, {"name": "timed"}, encoders)
    plain = replace(TMMSREC, time=Nothing(), loss=CrossEntropy())
    torch.manual_seed(3)
    beside = Recommender(plain, plain.build(dataset), dataset, {"name": "plain"}, encoders)
    for one, name in ((main, "timed"), (beside, "plain")):
        one.add_items([{"id": EVIL, "title": MARKUP, "brand": "plain"}])
        one.save(folder / name)
    shown = {f"{item}.png": picture("red" if n % 2 == 0 else "blue", n) for n, item in enumerate(dataset.catalog.ids)}
    (folder / "pictures").mkdir()
    for name, data in shown.items():
        (folder / "pictures" / name).write_bytes(data)
    opened = (Recommender.load(folder / name) for name in ("timed", "plain"))
    return Place(folder, *opened, int(dataset.interactions.times.max()))


def two_shops(learned: tuple, folder: Path) -> Path:
    """Bundles "first" and "second" whose ids are the same and mean other items, each made from pictures of its own.

    The second has an item N1 that the first has not, and no picture of B000.
    """
    method, model, dataset, encoders = learned
    for shop, start in (("first", 0), ("second", 100)):
        (folder / f"{shop}-pictures").mkdir()
        report = {"pictures": {"kind": "folder", "path": str(folder / f"{shop}-pictures")}}
        fields = dataset.catalog.fields
        if shop == "second":
            titles = [f"{title} of the other shop" for title in fields["title"].to_pylist()]
            names = [None, *fields["image"].to_pylist()[1:]]
            fields = fields.set_column(0, "title", pa.array(titles)).set_column(2, "image", pa.array(names))
        own = replace(dataset, report=report, catalog=Catalog(dataset.catalog.ids, fields, dataset.features))
        one = Recommender(method, copy.deepcopy(model), own, {"name": shop}, encoders)
        if shop == "second":
            one.add_items([{"id": "N1", "title": "red shirt", "image": "N1.png"}])
            (folder / "second-pictures" / "N1.png").write_bytes(picture("red", 200))
        for n, item in enumerate(dataset.catalog.ids):
            colour = "red" if (n + (shop == "second")) % 2 == 0 else "blue"
            (folder / f"{shop}-pictures" / f"{item}.png").write_bytes(picture(colour, start + n))
        one.save(folder / shop)
    return folder


def history_of(place: Place, user: str) -> list[tuple[str, int]]:
    """A user's events with outside ids."""
    ids = place.main.dataset.catalog.ids
    return [(ids[row], at) for row, at in events(place.main.dataset, place.main.dataset.users.row(user))]


def months_earlier(moment: int, n: int) -> int:
    """The same day and time n months before, for days that every month has."""
    then = datetime.fromtimestamp(moment, UTC)
    month = then.year * 12 + then.month - 1 - n
    return int(then.replace(year=month // 12, month=month % 12 + 1).timestamp())


def longer_gap(place: Place) -> tuple[str, list[tuple[str, int]]]:
    """A user and a history of theirs whose first event lies seven months and two days earlier, such that this changes the list."""
    for user in place.main.dataset.users:
        history = history_of(place, user)
        moved = [(history[0][0], months_earlier(history[0][1], 7) - 2 * DAY), *history[1:]]
        before, after = (items(place.main.recommend(history=one, at=place.last)) for one in (history, moved))
        if before != after:
            return user, moved
    raise AssertionError("no list changes with a longer gap, though the method reads time")
