"""Beyond the paper: a sum of few thoughts beside counting and beside the networks; each of its parts taken out once.

Where a catalogue was gathered from the log, an item that training lacks is there because somebody meets it later.  "never met as
met once" keeps a method from learning that; what it loses is what no shop could know.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tmmsrec.models.terms import Lately, Popular
from tmmsrec.studies._plan import FLOORS, entrant
from tmmsrec.study.study import Entrant, Study

# Two settings, as for every method of the other studies; a few hundred numbers take larger steps than a network.
_GRID = (("training.optimiser.lr=0.02",), ("training.optimiser.lr=0.05",))


def _plus(name: str = "tmmsrec-plus", **changes: Any) -> Entrant:
    return replace(entrant(name, **changes), grid=_GRID)


def _now(**changes: Any) -> Entrant:
    return _plus("tmmsrec-plus-now", **changes)


_NEVER_AS_ONCE = Popular(never_apart=False)
_WHOLE, _COUNTS = "plus now", "plus now, counting alone"
_COUNTED: dict[str, dict[str, Any]] = {"own items": {"again": None}, "followers": {"follows": None}}
_PARTS: dict[str, dict[str, Any]] = {
    **_COUNTED,
    "neighbours": {"alike": None},
    "pictures": {"modalities": ("text",)},
    "texts": {"modalities": ("image",)},
}
_LATELY = Lately()  # tried, and not found to add anything

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
        "plus now, never met as met once": _now(popular=_NEVER_AS_ONCE),
        f"{_COUNTS} with lately": _now(modalities=(), lately=_LATELY),
        f"{_WHOLE} with lately": _now(lately=_LATELY),
    }
    | {f"{_COUNTS} without {part}": _now(modalities=(), **changes) for part, changes in _COUNTED.items()}
    | {f"{_WHOLE} without {part}": _now(**changes) for part, changes in _PARTS.items()}
    # Last, since a report is about its last row where its subject cannot be had: data without features have the first of these.
    | {_COUNTS: _now(modalities=()), _WHOLE: _now()},
    seeds=5,
    subject=_WHOLE,
    parts={part: (_WHOLE, f"{_WHOLE} without {part}") for part in _PARTS}
    | {f"{part}, counting alone": (_COUNTS, f"{_COUNTS} without {part}") for part in _COUNTED}
    | {
        "lately": (f"{_WHOLE} with lately", _WHOLE),
        "lately, counting alone": (f"{_COUNTS} with lately", _COUNTS),
        "texts and pictures": (_WHOLE, _COUNTS),
        "the moment of the request": (_WHOLE, "plus"),
        "the moment of the request, counting alone": (_COUNTS, "plus, counting alone"),
    },
)
