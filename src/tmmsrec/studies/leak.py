"""Beyond the paper: what its authors' choice of the epoch by the test items is worth, for methods that read ids alone."""

from __future__ import annotations

from tmmsrec.data.split import PaperLeak
from tmmsrec.studies._plan import FLOORS, entrant
from tmmsrec.studies.every_method import TRAINED
from tmmsrec.study.looks import leak
from tmmsrec.study.study import Study

IDS = {name: one for name in TRAINED if set((one := entrant(name)).method.reads) <= {"id", "times"}}

STUDY = Study("What a look at the test items is worth", FLOORS | IDS, seeds=10, beside=PaperLeak(), more=leak.sections)
