"""Logs that are hard to keep as they are: ids of every sort, ties, repeats and fields that are missing."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

T0 = 1_420_588_800
IDS = [
    "7", "07", "007", "10", "9", "-1", "1e5", "1_000", "0x1F", "NaN", "null", "NULL", "None", "true", "A", "a", "ß", "ss", "é",
    "e\u0301", "日本", "😀", "\U00010ffff", "\ufffd", "it's", 'say "hi"', '"', "a,b", "x;y|z", "50%", "_", "back\\slash", "{j}",
    "#", "a b", " a", "a ", "x\u00a0", "\u200b", "long-" * 60, "zz",
]  # fmt: skip
ITEM_ROWS = {
    "item_id": [*IDS[:-3], IDS[0]],
    "title": [None if k % 7 == 0 else f"title <{i}>" for k, i in enumerate(IDS[:-3])] + [None],
    "price": [None if k % 5 == 0 else 10.0 ** (k - 8) for k in range(len(IDS) - 3)] + [None],
    "tags": [None if k % 4 == 0 else ["x", f"t{k}"] for k in range(len(IDS) - 3)] + [None],
    "sold": [k % 3 == 0 for k in range(len(IDS) - 3)] + [True],
}


def events(n: int = 900, seed: int = 0) -> list[tuple[str, str, int]]:
    """Events of every id, most of them at a few moments, many of them several times."""
    rng = np.random.default_rng(seed)
    who = [IDS[k] for k in (rng.integers(0, len(IDS), n))]
    what = [IDS[k] for k in ((len(IDS) * rng.random(n) ** 2).astype(int))]
    made = list(zip(who, what, (T0 + 86_400 * rng.integers(0, 4, n)).tolist(), strict=True))
    return made + made[: n // 5]


def write_csv(path: Path, rows: list[tuple[str, str, int]]) -> Path:
    with gzip.open(path, "wt", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("user_id", "item_id", "timestamp"))
        writer.writerows(rows)
    return path


def write_items(path: Path) -> Path:
    """Numbers, lists and truths beside texts; one item is told of twice in the same words."""
    table = pa.table(ITEM_ROWS)
    pq.write_table(table.set_column(1, "title", [table["title"].to_pylist()[:-1] + table["title"].to_pylist()[:1]]), path)
    return path


def write_shards(folder: Path, rows: list[tuple[str, str, int]]) -> Path:
    """Whole numbers as ids and moments finer than Spark's, in files whose order is that of their names."""
    folder.mkdir()
    user, item = ([IDS.index(row[k]) * 37 for row in rows] for k in (0, 1))
    moments = pa.array([row[2] * 10**9 + 123_456_789 for row in rows], pa.timestamp("ns"))
    table = pa.table({"uid": pa.array(user, pa.int32()), "sku": pa.array(item, pa.int64()), "time": moments})
    for k, at in enumerate(range(0, len(rows), 170)):
        pq.write_table(table.slice(at, 170), folder / f"part {k:02d} [of]+%41.parquet", row_group_size=50)
    return folder


def write_amazon(folder: Path, rows: list[tuple[str, str, int]]) -> tuple[Path, Path]:
    """Reviews and products of 2018; fields are missing, empty, lists, or hold what scraping left."""
    folder.mkdir()
    reviews, meta = folder / "reviews.json.gz", folder / "meta.json"
    with gzip.open(reviews, "wt", encoding="utf-8") as out:
        for k, (user, item, time) in enumerate(rows):
            more = {} if k % 3 else {"style": {"Size:": "x"}, "reviewText": "ü" * (k % 50)}
            out.write(
                json.dumps({"reviewerID": user, "asin": item, "unixReviewTime": time, **more}, ensure_ascii=k % 2 == 0) + "\n"
            )
    with meta.open("w", encoding="utf-8") as out:
        for k, item in enumerate([*IDS[:-3], IDS[0]]):
            told = {"asin": item, "title": f"<b>T{k}</b>&nbsp;\u00a0\u000b x &amp;amp;", "category": ["A", f"<i>{k}</i>"]}
            told |= {} if k % 4 else {"brand": "", "imageURLHighRes": [f"http://x/{k}.jpg"], "title": "var x = function() {}"}
            out.write(json.dumps(told) + "\n")
    return reviews, meta
