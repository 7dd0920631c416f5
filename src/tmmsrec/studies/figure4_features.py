"""Figure 4: item rows in two dimensions; ID rows before and after training, beside texts and pictures and alone.

The rows alone are Table 4's, so its run serves, and data without texts or pictures have something to show.
"""

from __future__ import annotations

from tmmsrec.studies._plan import entrant
from tmmsrec.study.looks import figure4
from tmmsrec.study.study import Study

STUDY = Study(
    "Figure 4: features in two dimensions",
    {"w/ ID&TIE": entrant("tmmsrec-id-tie"), "TMMSRec": entrant("tmmsrec")},
    seeds=1,
    more=figure4.sections,
)
