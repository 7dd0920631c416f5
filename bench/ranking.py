"""Ranking: every item for every user, with TMMSRec's three streams of 126 side by side (D = 378)."""

from __future__ import annotations

import torch

from bench.rows import Row, median, seconds, spent
from bench.training import peak
from bench.worlds import shop
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.models.sequential import Sequential
from tmmsrec.nn.time import TIE
from tmmsrec.ranking import rank

USERS, ITEMS = 15_000, 8_000


def run(quick: bool = False) -> list[Row]:
    """One row: seconds from histories to ranks."""
    dataset = shop(USERS, ITEMS, widths={"text": 384, "image": 512})
    part = LeaveOneOut().cut(dataset.interactions).test
    torch.manual_seed(0)
    method = Sequential(modalities=("id", "text", "image"), width=126, time=TIE())
    model = method.build(dataset)
    took = [seconds(lambda: rank(model, part, history=method.history)) for _ in range(2 if quick else 7)]
    own = min(spent(lambda: rank(model, part, history=method.history)) for _ in range(2))
    wide = model.items().shape[1]
    product = 2.0 * len(part) * ITEMS * wide / median([peak() for _ in range(5)])
    note = (
        f"{len(part):,} users, {ITEMS:,} items, D={wide}; best {min(took):.2f} s, "
        f"{own:.1f} processor seconds; the product alone {product:.2f} s"
    )
    return [
        Row(
            "ranking, median",
            3.0,
            median(took),
            "s",
            False,
            note,
            {"seconds": took, "users": len(part), "width": wide, "processor_seconds": own},
        )
    ]
