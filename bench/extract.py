"""Extraction: features of a made catalogue at two sizes, each in a process of its own so that its peak memory is known.

``python -m bench.extract FOLDER`` is that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.prepare import peak
from bench.rows import Row

ITEMS = 100_000, 400_000  # more than tf-idf is fitted on


def run(quick: bool = False) -> list[Row]:
    """Two rows: the peak memory of four times the items against that of once, and items a second.  Quick takes a tenth of them."""
    found = [_measured(n // 10 if quick else n) for n in ITEMS]
    small, large = (one["bytes"] / 1e6 for one in found)
    note = f"{large:.0f} MB for {found[1]['items']:,} items, {small:.0f} MB for {found[0]['items']:,}; tf-idf, float16"
    rate = (found[1]["items"] - found[0]["items"]) / (found[1]["seconds"] - found[0]["seconds"])
    return [
        Row("extract, peak memory of 4 times the items", None if quick else 1.1, large / small, "times", False, note, found[1]),
        Row("extract, texts by tf-idf", None, rate, "items/s", True, "one process; what further items take, the fit left out"),
    ]


def _measured(items: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        _write(Path(name, "made"), items)
        command = [sys.executable, "-m", "bench.extract", str(Path(name, "made"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"extraction failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _write(folder: Path, items: int) -> None:
    """A Dataset of items with titles of nine words, a few of them frequent."""
    import numpy as np
    import pyarrow as pa

    from tmmsrec.data import store
    from tmmsrec.data.dataset import Dataset
    from tmmsrec.data.interactions import Interactions

    words = np.array([f"word{n}" for n in range(30_000)])
    chosen = words[(len(words) * np.random.default_rng(0).random((items, 8)) ** 3).astype(int)]
    titles = [f"{' '.join(row)} item{n}" for n, row in enumerate(chosen)]
    log = Interactions.of(np.repeat(np.arange(100), 5), 1 + np.arange(500), np.arange(500) * 86_400)
    store.save(Dataset.in_memory("made", log, items, fields=pa.table({"title": titles})), folder)


def _child(folder: str) -> None:
    from tmmsrec.data import store
    from tmmsrec.extract import Form, TfidfText, Work
    from tmmsrec.study.extraction import extract
    from tmmsrec.study.stages import Silent

    begun = time.perf_counter()
    made = extract(store.load(folder), TfidfText(), Work(), Form("float16"), Silent())
    print(json.dumps({"seconds": time.perf_counter() - begun, "bytes": peak(), "items": made.n_items}))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    _child(*sys.argv[1:])
