"""What the lists of each method are like, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tmmsrec.study.blocks import Cell, Table

Told = Mapping[str, Any]
_HEADS: dict[str, tuple[str, Callable[[float], str]]] = {
    "filled": ("filled", "{:.1%}".format),
    "coverage": ("coverage", "{:.1%}".format),
    "gini": ("Gini", "{:.2f}".format),
    "novelty": ("novelty", "{:.1f}".format),
    "repeats": ("had before", "{:.1%}".format),
    "never_met": ("never met", "{:.1%}".format),
}
_MEANING = (
    "Filled: places whose item does not tie with one beyond the list. Coverage: items that stand in somebody's list. Gini: how "
    "unevenly items are shown, 0 evenly, near 1 where few have all places. Novelty: bits, -log2 of the share of training users who "
    "met the item. Had before, never met: places with an item that the user had, or that is in no training part."
)


def lists_table(
    told: Mapping[str, Sequence[Told]], rules: frozenset[int] = frozenset(), *, n_items: int, first: str = "method"
) -> Table | None:
    """A line for each method, its means over seeds; those of which nothing was written down, as by earlier versions, are left out.

    None where nothing was of any.

    Args:
        told: name -> ``lists.described`` of each seed, empty where it was not written down.
        rules: how many of the names stand above a rule.
        n_items: of the catalogue.
        first: what a line is.
    """
    known = {name: seeds for name, seeds in told.items() if seeds and all(seeds)}
    if not known:
        return None
    apart = sorted({field for seeds in known.values() for one in seeds for field in one if field.startswith("difference ")})
    heads = _HEADS | {field: (f"{field.removeprefix('difference ')}s differ", "{:.2f}".format) for field in apart}
    rows: list[list[Cell | str]] = []
    for name, seeds in known.items():
        means = {field: [one[field] for one in seeds if field in one] for field in heads}
        cells = (shown(float(np.mean(means[field]))) if means[field] else "-" for field, (_, shown) in heads.items())
        rows.append([name, *cells])
    one = next(iter(known.values()))[0]
    note = f"The first {one['k']} of {n_items:,} items, for {one['users']:,} test users. {_MEANING}"
    if apart:
        note += " Differ: 1 minus the mean cosine of two items of a list."
    if left := len(told) - len(known):
        note += f" Of {left} {first}{'s' if left > 1 else ''} nothing was written down."
    above = frozenset({sum(name in known for name in list(told)[:count]) for count in rules} - {0, len(known)})
    return Table([first, *(head for head, _ in heads.values())], rows, above, note, "lists")
