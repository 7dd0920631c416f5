"""The ten best of many items by inner product: all of them scored, or candidates from an index."""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import Tensor

from bench.rows import Row, median, spent
from tmmsrec.recommender import HNSW, IVF, Search
from tmmsrec.recommender.approximate import exactly, nearly, recall_of
from tmmsrec.recommender.search import Index

WIDTH, QUERIES, TIMED, K = 126, 500, 100, 10
SMALL = (1_000, 2_000, 4_000, 8_000, 16_000)  # where an index begins to pay
SIZES = (16_000, 200_000)


def run(quick: bool = False) -> list[Row]:
    """Recall and cost at each size, and from how many items on one query is cheaper by an index."""
    found = []
    for size in SIZES[:1] if quick else SIZES:
        for how in (HNSW(), IVF()):
            found += measure(size, how)
    return [*found, crossover(SMALL[:3] if quick else SMALL)]


def world(size: int) -> tuple[Tensor, Tensor]:
    """Vectors [I+1, D] in clusters of about 50, their lengths spread by a fifth, and queries near some of them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(max(2, size // 50), WIDTH))

    def near(which: np.ndarray) -> np.ndarray:
        found = centres[which % len(centres)] + 0.7 * rng.normal(size=(len(which), WIDTH))
        return found * np.exp(0.2 * rng.normal(size=(len(which), 1))) / np.sqrt(WIDTH)

    vectors = np.concatenate([np.zeros((1, WIDTH)), near(rng.integers(0, len(centres), size))])
    queries = near(rng.integers(0, len(centres), QUERIES))
    return torch.from_numpy(vectors).float(), torch.from_numpy(queries).float()


@torch.inference_mode()
def measure(size: int, how: Search) -> list[Row]:
    """Recall, and processor milliseconds of one query alone and of one in a batch of 256."""
    vectors, queries = world(size)
    knows = torch.arange(size + 1) > 0
    built: list[Index | None] = []
    seconds = spent(lambda: built.append(Index.over(how, vectors, knows)))
    index = built[0]
    assert index is not None
    recall = recall_of(index, queries, vectors, knows, K).recall
    exact, near = costs(index, vectors, knows, queries, 1)
    exact_batch, near_batch = costs(index, vectors, knows, queries, 256)
    name = f"{type(how).__name__}, {size:,} items, D={WIDTH}"
    note = (
        f"{how}; one query {exact:.2f} ms exact, {near:.2f} by index; in a batch of 256 {exact_batch:.3f} and {near_batch:.3f}; "
        f"built in {seconds:,.0f} s (processor times)"
    )
    numbers = {"exact_ms": exact, "index_ms": near, "exact_batch_ms": exact_batch, "index_batch_ms": near_batch, "built_s": seconds}
    goal = 0.98 if isinstance(how, HNSW) and size <= SIZES[0] else None
    return [
        Row(f"recall@10, {name}", goal, recall, "", True, note, numbers),
        Row(f"exact over index, one query, {name}", None, exact / near, "times", True),
    ]


@torch.inference_mode()
def crossover(sizes: tuple[int, ...]) -> Row:
    """The least of some sizes at which one query costs less by the default index than exactly."""
    times = {}
    for size in sizes:
        vectors, queries = world(size)
        knows = torch.arange(size + 1) > 0
        index = Index.over(HNSW(), vectors, knows)
        assert index is not None
        times[size] = costs(index, vectors, knows, queries, 1)
    least = min((size for size, (exact, near) in times.items() if near < exact), default=float("nan"))
    note = "; ".join(f"{size:,}: {exact:.2f} ms exact, {near:.2f} by index" for size, (exact, near) in times.items())
    return Row("items from which HNSW is quicker, one query", None, least, "items", False, note)


def costs(index: Index, vectors: Tensor, knows: Tensor, queries: Tensor, batch: int) -> tuple[float, float]:
    """Median processor milliseconds of a query, exact and by an index, asked in batches."""
    parts = [queries[start : start + batch] for start in range(0, min(len(queries), TIMED * batch), batch)]
    exact = [spent(lambda q=q: exactly(q, vectors, knows, K)) / len(q) for q in parts]
    near = [spent(lambda q=q: nearly(q, vectors, index, K)) / len(q) for q in parts]
    return 1000 * median(exact), 1000 * median(near)


if __name__ == "__main__":  # one size, such as a million: minutes, so not among the rows
    for row in [row for how in (HNSW(), IVF()) for row in measure(int(sys.argv[1]), how)]:
        print(f"{row.name}: {row.measured:.4f} {row.unit}  {row.note}", flush=True)
