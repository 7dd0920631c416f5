"""How every study trains.  One plan, so that a run serves every table that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from tmmsrec import zoo
from tmmsrec.models.base import Method
from tmmsrec.study.study import Entrant

# Two settings for every trained method, by validation.  The rate stays: with three to eight steps an epoch, section 3.4's
# decay of a tenth an epoch would leave no more than ten epochs' worth of them.
GRID = (
    ("training.optimiser.lr=0.001", "training.optimiser.decay=1.0"),
    ("training.optimiser.lr=0.005", "training.optimiser.decay=1.0"),
)
EPOCHS, PATIENCE, PRETRAINING = 60, 8, 10  # the same for all, but for methods whose own Training has fewer epochs
WIDTH = 126  # the paper's 128 is no multiple of 6

FLOORS = {name: Entrant(zoo.methods()[name]) for name in zoo.FLOORS}


def entrant(name: str, **changes: Any) -> Entrant:
    """A method of the zoo at the studies' width, with further changes to it."""
    method: Method = zoo.methods()[name]
    has = {f.name for f in fields(method)}  # type: ignore[arg-type]
    sizes = {"width": WIDTH} if method.history and "width" in has else {}
    sizes |= {"pretraining_epochs": PRETRAINING} if "pretraining_epochs" in has else {}
    usual = zoo.training(name)
    training = replace(usual, epochs=min(usual.epochs, EPOCHS), patience=max(PATIENCE, usual.every))
    return Entrant(replace(method, **{**sizes, **changes}), training, GRID)  # type: ignore[type-var]


def in_twos(rows: Mapping[str, str]) -> list[tuple[str, str]]:
    """Rows that stand in twos, the first without a part and the second with it: (with, without)."""
    names = list(rows)
    return list(zip(names[1::2], names[::2], strict=True))


def beside_floors(rows: Mapping[str, str]) -> dict[str, Entrant]:
    """The floors, and entrants by the name of their row: row -> a method of the zoo."""
    return FLOORS | {row: entrant(name) for row, name in rows.items()}
