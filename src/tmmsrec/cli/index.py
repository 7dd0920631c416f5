"""``index``: what approximate search finds on a bundle, and what it costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmmsrec.cli import screen

if TYPE_CHECKING:
    from tmmsrec.recommender import Recommender

Sets = Annotated[list[str] | None, typer.Option("--set", help="A field of the search: ef_search=256, probes=64.")]


def index(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    how: Annotated[str, typer.Option("--search", help="HNSW or IVF.")] = "HNSW",
    sets: Sets = None,
    calls: Annotated[int, typer.Option(min=1, help="Answers timed each way.")] = 100,
) -> None:
    """Build an index, and print its recall and the time of a query, exact and approximate.  Nothing is written."""
    from tmmsrec import values
    from tmmsrec.recommender import Recommender, Search

    search = values.change_all(values.from_json(Search, {"kind": how}), sets or [])  # type: ignore[type-abstract]
    exact = Recommender.load(bundle)
    near = exact.with_search(search)
    if near.index is None:
        screen.say(f"{how} scores every item: there is nothing to build")
        return
    state, recall = near.state, near.index.recall
    assert state.vectors is not None
    lines: dict[str, object] = {
        "items": f"{state.known:,}, vectors of {state.vectors.shape[1]} numbers",
        "search": search,
        "built in": f"{near.index.seconds:.1f} s",
    }
    if recall is not None:
        lines |= {
            f"recall@{recall.at}": f"{recall.recall:.4f} over {recall.queries:,} known users",
            "search alone": f"exact {recall.exact_ms:.2f} ms, index {recall.index_ms:.2f} ms",
            "whole answer": f"exact {_answer(exact, calls):.2f} ms, index {_answer(near, calls):.2f} ms",
        }
    screen.pairs("", lines)


def told(held: Recommender) -> str:
    """One line of what an index finds."""
    built = held.index
    if built is None:
        return "exact search"
    found = "" if built.recall is None else f", recall@{built.recall.at} {built.recall.recall:.4f} of exact search"
    return f"{built.how} over {held.state.known:,} items, built in {built.seconds:.1f} s{found}"


def _answer(held: Recommender, calls: int) -> float:
    """Median milliseconds of the ten best for a known user."""
    from statistics import median

    ids, state = list(held.dataset.users), held.state
    users = [ids[row] for row, _ in state.of_everybody(most=calls) if row < len(ids)]
    held.recommend(users[0])
    took = []
    for user in users:
        begun = time.perf_counter()
        held.recommend(user)
        took.append(1000 * (time.perf_counter() - begun))
    return median(took)
