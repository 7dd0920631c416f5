"""Amazon Reviews raw files, 2018 and 2023: one JSON object a line.

    2018  reviewerID, asin, unixReviewTime (seconds)      meta: asin, category, brand, title, imageURLHighRes, imageURL
    2023  user_id, parent_asin, timestamp (milliseconds)  meta: parent_asin, categories, store, title, images

Text is category, brand, title and the picture the first of high resolution, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ibis

from tmmsrec.data.engines import PLACE, Desk
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Events, Items, files

EVENTS = {"2018": ("reviewerID", "asin", "unixReviewTime"), "2023": ("user_id", "parent_asin", "timestamp")}
META = {"2018": ("asin", "category", "brand", "title"), "2023": ("parent_asin", "categories", "store", "title")}
PICTURES = {
    "2018": ("$.imageURLHighRes[0]", "$.imageURLHighRes", "$.imageURL[0]", "$.imageURL"),
    "2023": (
        "$.images[0].hi_res",
        "$.images[0].large",
        "$.images[0].thumb",
        "$.images.hi_res[0]",
        "$.images.large[0]",
        "$.images.thumb[0]",
    ),
}
ENTITIES = {"&nbsp;": " ", "&quot;": '"', "&#34;": '"', "&#39;": "'", "&apos;": "'", "&lt;": "<", "&gt;": ">", "&amp;": "&"}


@dataclass(frozen=True)
class AmazonReviews:
    """A file of reviews (`All_Beauty_5.json.gz`, `All_Beauty.jsonl.gz`)."""

    path: Path

    def events(self, desk: Desk) -> Events:
        """Read reviewer, product and time; raises DataProblem when the file is of neither year."""
        year = edition(self.path, EVENTS)
        keys = dict(zip(("user", "item", "time"), EVENTS[year], strict=True))
        select = {"user": files.json_id(keys["user"]), "item": files.json_id(keys["item"]), "time": files.json_text(keys["time"])}
        raw = files.read_json(desk, self.path, select)
        table = raw.select("user", "item", "time", position=raw[PLACE])
        return Events(table, str(self.path), "line", {"edition": year, "columns": keys})


@dataclass(frozen=True)
class AmazonMeta:
    """A file of products (`meta_All_Beauty.json.gz`, `meta_All_Beauty.jsonl.gz`)."""

    path: Path

    def items(self, desk: Desk) -> Items:
        """Read category, brand, title and the picture's address, cleaned of the HTML that scraping left."""
        year = edition(self.path, {y: keys[:1] for y, keys in META.items()})
        item, category, brand, title = META[year]
        keys = {"item": item, "category": category, "brand": brand, "title": title}
        select = {n: files.json_id(k) if n == "item" else files.json_text(k) for n, k in keys.items()}
        select["image"] = _first_address(PICTURES[year])
        raw = files.read_json(desk, self.path, select)
        cleaned = {n: clean(raw[n]) for n in ("category", "brand", "title")}
        table = raw.select("item", position=raw[PLACE], **cleaned, image=raw.image)
        # The raw files repeat products, sometimes with another price or rank: the first is kept, and counted.
        return Items(table, str(self.path), "line", {"edition": year, "columns": keys}, repeats="first")


def edition(path: Path, known: Mapping[str, tuple[str, ...]]) -> str:
    """The year whose keys the first lines hold, 2018 or 2023."""
    there = files.first_keys(path)
    # 2023 reviews carry asin too, so the newer keys are looked for first.
    year = next((y for y in sorted(known, reverse=True) if set(known[y]) <= set(there)), None)
    if year is None:
        wants = "; ".join(f"{y}: {', '.join(keys)}" for y, keys in known.items())
        raise DataProblem(f"{path} is no Amazon file of 2018 or 2023: its lines hold {', '.join(there[:12])}; needed are {wants}")
    return year


def clean(text: ibis.Column) -> ibis.Column:
    """Text without tags, entities, scripts and runs of blanks; null when nothing is left (portable)."""
    script = text.contains("getTime()") | text.contains("function(") | text.contains("aPageStart")
    text = script.ifelse(ibis.null("string"), text).re_replace(r"<[^>]*>", " ")
    for entity, mark in ENTITIES.items():
        text = text.replace(entity, mark)
    return text.re_replace(r"\s+", " ").strip().nullif("")


def _first_address(paths: tuple[str, ...]) -> str:
    # Anything that is no web address (a number, an empty list, a scraped tag) counts as no picture.
    tries = [f"CASE WHEN json_extract_string(json, '{p}') LIKE 'http%' THEN json_extract_string(json, '{p}') END" for p in paths]
    return f"coalesce({', '.join(tries)})"
