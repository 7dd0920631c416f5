"""Beyond Table 5: the calendar, elapsed time, and the moment of the request, each in the place of TIE."""

from __future__ import annotations

from tmmsrec.nn.time import TIE, Gap, Rotary
from tmmsrec.studies._plan import FLOORS, entrant
from tmmsrec.study.study import Study

STUDY = Study(
    "Time: what each encoder makes of it",
    FLOORS
    | {
        "no time": entrant("tmmsrec-no-time"),
        "TIE": entrant("tmmsrec"),
        "TIE, asking now": entrant("tmmsrec", time=TIE(query=True)),
        "gaps of the past": entrant("tmmsrec", time=Gap(to_now=False)),
        "gaps and now": entrant("tmmsrec", time=Gap()),
        "rotary, past": entrant("tmmsrec", time=Rotary(to_now=False)),
        "rotary, now": entrant("tmmsrec", time=Rotary()),
    },
    subject="TIE",
)
