"""Figure 2: time gaps, of all neighbouring events and of the same two items from user to user.  Nothing is trained."""

from __future__ import annotations

from tmmsrec.study.looks import figure2
from tmmsrec.study.study import Study

STUDY = Study("Figure 2: time gaps", more=figure2.sections)
