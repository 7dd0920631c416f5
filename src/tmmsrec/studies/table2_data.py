"""Table 2: the data in numbers.  Nothing is trained."""

from __future__ import annotations

from tmmsrec.study.looks import table2
from tmmsrec.study.study import Study

STUDY = Study("Table 2: data statistics", more=table2.sections)
