"""Beyond the paper: a sum of few thoughts beside counting and beside the networks; each of its parts taken out once.

Where a catalogue was gathered from the log, an item that training lacks is there because somebody meets it later.  "never met as
met once" keeps a method from learning that; what it loses is what no shop could know.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tmmsrec.models.terms import Popular
from tmmsrec.studies._plan import FLOORS, entrant
from tmmsrec.study.study import Entrant, Study

# Two settings, as for every method of the other studies; a few hundred numbers take larger steps than a network.
_GRID = (("training.optimiser.lr=0.02",), ("training.optimiser.lr=0.05",))


def _plus(name: str = "tmmsrec-plus", **changes: Any) -> Entrant:
    return replace(entrant(name, **changes), grid=_GRID)


_NEVER_AS_ONCE = Popular(never_apart=False)

STUDY = Study(
    "Beyond the paper",
    FLOORS
    | {
        "SASRec": entrant("sasrec"),
        "TMMSRec without time": entrant("tmmsrec-no-time"),
        "TMMSRec": entrant("tmmsrec"),
        "plus, counting alone": _plus(modalities=()),
        "plus, never met as met once": _plus(popular=_NEVER_AS_ONCE),
        "plus": _plus(),
        "plus without own items": _plus(again=None),
        "plus without followers": _plus(follows=None),
        "plus without pictures": _plus(modalities=("text",)),
        "plus without texts": _plus(modalities=("image",)),
        "plus now, counting alone": _plus("tmmsrec-plus-now", modalities=()),
        "plus now, never met as met once": _plus("tmmsrec-plus-now", popular=_NEVER_AS_ONCE),
        "plus now": _plus("tmmsrec-plus-now"),
    },
    seeds=5,
    subject="plus",
)
