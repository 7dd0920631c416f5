"""The demo shop: a world like a small fashion shop, whose best possible recommender is known.

What a person sees of it are three files: events, items (a written title, brand and category) and drawn pictures.  Brand and
category are written and colour and pattern only drawn, so text and picture tell different halves of a style.  How people buy
is said in ``tmmsrec.data.shopping``, which also computes what the best possible recommender would score.
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tmmsrec.data.catalog import Catalog
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.drawing import COLOURS, KINDS, PATTERNS, draw, png
from tmmsrec.data.ids import Ids
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.shopping import Garments, Shopping, go_shopping
from tmmsrec.data.store import atomic_folder

# Two brands after the other appeal to the same people, and speak the same way: a word and two materials.
BRANDS = ("Nordlys", "Fjellvik", "Maretta", "Solana", "Kestrel", "Thornbury", "Plume", "Ottilie", "Brask", "Volta")
WORDS = (
    ("warm", "wool", "corduroy"),
    ("airy", "linen", "hemp"),
    ("classic", "cotton", "tweed"),
    ("soft", "velvet", "silk"),
    ("city", "denim", "canvas"),
)
FILES = ("interactions.csv", "items.csv", "images.zip")


@dataclass(frozen=True)
class Shop:
    """A demo shop: a value.

    Attributes:
        users: customers, from 1.
        items: garments that ever come into the shop, from 60.
        seed: of everything that is drawn by lot; equal values give equal ids, events, texts and pixels on any machine.
    """

    users: int = 1500
    items: int = 600
    seed: int = 0

    def __post_init__(self) -> None:
        if self.users < 1 or self.items < 60:
            raise DataProblem(f"a shop needs at least 1 user and 60 items, got {self.users} and {self.items}")


@dataclass(frozen=True, eq=False)
class Generated:
    """A shop's data.

    Attributes:
        dataset: ids such as "u0001" and "A0042"; fields title, brand, category, image; no features yet.  Its report holds
            ``ceiling``: the best possible HR@10 and NDCG@10 on the last events for whoever knows the log, and ``ceilings``
            by what one knows (see ``Shopping.ranks``).
        pictures: file name -> PNG.
        shopping: the hidden truth behind the events.
    """

    dataset: Dataset
    pictures: dict[str, bytes]
    shopping: Shopping


def generate(shop: Shop) -> Generated:
    """Stock the shop, let people buy, and draw the pictures."""
    stock, people, words = (np.random.default_rng([shop.seed, part]) for part in range(3))
    garments = _stock(shop.items, stock)
    shopping = go_shopping(garments, shop.users, people)
    fields = _describe(garments, words)
    users = Ids([f"u{n:04}" for n in range(1, shop.users + 1)], first=0, what="user")
    items = Ids([f"A{n:04}" for n in range(1, shop.items + 1)], first=1, what="item")
    images = [f"{name}.png" for name in items]
    catalog = Catalog(items, fields.append_column("image", pa.array(images)))
    report = {"world": "shop", "shop": asdict(shop), "ceiling": shopping.ceilings["log"], "ceilings": shopping.ceilings}
    dataset = Dataset("demo shop", shopping.log, catalog, users, report)
    dataset.check()
    return Generated(dataset, dict(zip(images, _pictures(garments), strict=True)), shopping)


def _stock(n: int, rng: np.random.Generator) -> Garments:
    """Garments in the order in which they come into the shop: some from the start, then one by one, at last a collection."""
    start, last = n // 6, n // 3
    later = rng.integers(0, Shopping.days - Shopping.ends, n - start - last)
    newest = Shopping.days - 1 - rng.integers(0, Shopping.ends, last)
    born = np.concatenate([np.full(start, -1), np.sort(np.concatenate([later, newest]))])
    kind, colour, pattern, brand = (
        rng.permutation(np.arange(n) % size) for size in (len(KINDS), len(COLOURS), len(PATTERNS), len(BRANDS))
    )
    return Garments(kind, colour, pattern, brand, born, 0.4 * rng.standard_normal(n))


def _describe(garments: Garments, rng: np.random.Generator) -> pa.Table:
    """title, brand, category; neither colour nor pattern is written."""
    n = len(garments)
    kind = np.array(list(KINDS))[garments.kind]
    brand = np.array(BRANDS)[garments.brand]
    said = [WORDS[at * len(WORDS) // len(BRANDS)] for at in garments.brand]
    which = rng.integers(1, 3, n)
    title = [f"{b} {w[0]} {w[m]} {k}" for b, w, m, k in zip(brand, said, which, kind, strict=True)]
    return pa.table({"title": title, "brand": brand.tolist(), "category": kind.tolist()})


def _pictures(garments: Garments) -> list[bytes]:
    kinds, colours = list(KINDS), list(COLOURS)
    rows = zip(garments.kind, garments.colour, garments.pattern, strict=True)
    return [png(draw(kinds[k], colours[c], PATTERNS[p], shift=at)) for at, (k, c, p) in enumerate(rows)]


def write_shop(shop: Shop, folder: Path | str) -> Generated:
    """Write the files that a person would bring: interactions.csv, items.csv and images.zip.

    Raises:
        DataProblem: the folder holds other files; nothing is written then.
    """
    folder = Path(folder)
    other = sorted(p.name for p in folder.iterdir() if p.name not in FILES) if folder.is_dir() else []
    if other or (folder.exists() and not folder.is_dir()):
        raise DataProblem(f"{folder} holds something else ({', '.join(other[:3]) or 'a file'}); choose an empty or new folder")
    made = generate(shop)
    log = made.dataset.interactions
    users, items = (np.array(list(ids)) for ids in (made.dataset.users, made.dataset.catalog.ids))
    who, what = users[log.owners], items[log.items - 1]
    order = np.lexsort((who, log.times))  # a shop writes its events down as they happen
    fields = made.dataset.catalog.fields
    with atomic_folder(folder) as fresh:
        events = zip(who[order].tolist(), what[order].tolist(), log.times[order].tolist(), strict=True)
        _write_csv(fresh / FILES[0], ["user_id", "item_id", "timestamp"], events)
        columns = [items.tolist(), *(fields[name].to_pylist() for name in fields.column_names)]
        _write_csv(fresh / FILES[1], ["item_id", *fields.column_names], zip(*columns, strict=True))
        with zipfile.ZipFile(fresh / FILES[2], "w", zipfile.ZIP_STORED) as archive:
            for name, picture in made.pictures.items():
                archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), picture)
    return made


def _write_csv(path: Path, names: list[str], rows: object) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)  # type: ignore[arg-type]
    path.write_bytes(out.getvalue().encode())
