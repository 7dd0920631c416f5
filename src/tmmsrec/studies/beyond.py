"""Beyond the paper: a sum of few thoughts beside counting and beside the networks; each of its parts taken out once.

Where a catalogue was gathered from the log, an item that training lacks is there because somebody meets it later.  "never-met
as once" keeps a method from learning that; what it loses is what no shop could know.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tmmsrec.models.terms import Follows, Lately, Popular, Similar
from tmmsrec.studies._plan import FLOORS, entrant
from tmmsrec.study.recipe import TRAINING
from tmmsrec.study.study import Entrant, Study

# A network is trained as in the other studies, by one random negative; as ``tmmsrec run`` does, by cross-entropy, on each user's
# newest events; and as ``run`` does, on all of them.
_AS_RUN_DOES = (
    "loss=BySize",
    f"training.epochs={TRAINING.epochs}",
    f"training.patience={TRAINING.patience}",
    f"training.optimiser.decay={TRAINING.optimiser.decay}",
    f"training.optimiser.clip={TRAINING.optimiser.clip}",
)
_IN_WINDOWS = (*_AS_RUN_DOES, f"training.windows={str(TRAINING.windows).lower()}")
# Two settings, as for every method of the other studies; a few hundred numbers take larger steps.
_GRID = (("training.optimiser.lr=0.02",), ("training.optimiser.lr=0.05",))


def _network(name: str) -> Entrant:
    found = entrant(name)
    return replace(found, grid=(found.grid[0], _AS_RUN_DOES, _IN_WINDOWS))


def _plus(name: str = "tmmsrec-plus", **changes: Any) -> Entrant:
    return replace(entrant(name, **changes), grid=_GRID)


def _now(**changes: Any) -> Entrant:
    return _plus("tmmsrec-plus-now", **changes)


def _counting(whole: Entrant) -> Entrant:
    """Without what reads texts and pictures."""
    return replace(whole, method=whole.method.reading(()))


_NEVER_AS_ONCE = Popular(never_apart=False)
_WHOLE, _COUNTS, _PLAIN, _BESIDE = "plus now", "plus now counting alone", "plus", "plus with SASRec"
_PARTS: dict[str, dict[str, Any]] = {
    "own items": {"again": None},
    "followers": {"follows": None},
    "trust in followers": {"follows": Follows()},
    "neighbours": {"alike": None},
    "the season": {"season": None},
    "a learned likeness": {"similar": Similar()},
    "pictures": {"modalities": ("text",)},
    "texts": {"modalities": ("image",)},
}

STUDY = Study(
    "Beyond the paper",
    FLOORS
    | {
        "SASRec": _network("sasrec"),
        "TMMSRec without time": _network("tmmsrec-no-time"),
        "TMMSRec": _network("tmmsrec"),
        "plus counting alone": _counting(_plus()),
        _COUNTS: _counting(_now()),
        "plus never-met as once": _plus(popular=_NEVER_AS_ONCE),
        "plus now never-met as once": _now(popular=_NEVER_AS_ONCE),
        _PLAIN: _plus(),
        _WHOLE: _now(),
        _BESIDE: _plus("tmmsrec-plus-sasrec"),  # its network is SASRec as ``run`` trains it
        f"{_WHOLE} with lately": _now(lately=Lately()),  # tried, and not found to add anything
    }
    | {f"{_WHOLE} without {part}": _now(**changes) for part, changes in _PARTS.items()},
    seeds=5,
    subject=_WHOLE,
    parts={part: (_WHOLE, f"{_WHOLE} without {part}") for part in _PARTS}
    | {
        "texts and pictures": (_WHOLE, _COUNTS),
        "the moment of the request": (_WHOLE, _PLAIN),
        "a network": (_BESIDE, _PLAIN),
        "lately": (f"{_WHOLE} with lately", _WHOLE),
        "knowing that some are never met": (_WHOLE, "plus now never-met as once"),
    },
    fewer=True,
)
