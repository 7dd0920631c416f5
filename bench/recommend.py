"""One recommendation: a history in outside ids in, ten items with titles and reasons out, over 20,000 items."""

from __future__ import annotations

import numpy as np
import torch

from bench.rows import Row, median, seconds, spent
from bench.worlds import DAY, shop
from tmmsrec.models.sequential import Sequential
from tmmsrec.nn.time import TIE
from tmmsrec.recommender import Recommender

ITEMS, USERS = 20_000, 2_000


def run(quick: bool = False) -> list[Row]:
    """Two rows: the median for a history given by hand, and for a known user."""
    dataset = shop(USERS, ITEMS, widths={"text": 384, "image": 512})
    torch.manual_seed(0)
    method = Sequential(modalities=("id", "text", "image"), width=126, time=TIE())
    held = Recommender(method, method.build(dataset).eval(), dataset)
    rng = np.random.default_rng(0)
    calls = 50 if quick else 400
    histories = [[(int(item), (17_000 + n) * DAY) for n, item in enumerate(rng.integers(1, ITEMS + 1, 10))] for _ in range(calls)]
    held.recommend(history=histories[0])
    own = 1000 * median([spent(lambda h=h: held.recommend(history=h, exclude_seen=True)) for h in histories])
    by_hand = [seconds(lambda h=h: held.recommend(history=h, exclude_seen=True)) for h in histories]
    known = [seconds(lambda u=u: held.recommend(user=int(u), exclude_seen=True)) for u in rng.integers(0, USERS, calls)]
    return [_row("a history of 10 events", by_hand, own), _row("a known user", known, own)]


def _row(name: str, took: list[float], own: float) -> Row:
    took = [1000 * t for t in took]
    note = (
        f"{ITEMS:,} items, D=378; 95th percentile {np.quantile(took, 0.95):.1f} ms, best {min(took):.1f} ms, {own:.1f} processor ms"
    )
    return Row(
        f"one recommendation, {name}, median", 10.0, median(took), "ms", False, note, {"calls": len(took), "processor_ms": own}
    )
