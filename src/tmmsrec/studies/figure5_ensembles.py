"""Figure 5: three of a baseline, one for each modality, against one of it and against TMMSRec."""

from __future__ import annotations

from tmmsrec.studies._plan import beside_floors
from tmmsrec.study.study import Study

ROWS = {
    "SASRec": "sasrec",
    "SASRec ensemble": "sasrec-ensemble",
    "TriMLP": "trimlp",
    "TriMLP ensemble": "trimlp-ensemble",
    "TMMSRec": "tmmsrec",
}

STUDY = Study("Figure 5: ensembles", beside_floors(ROWS), subject="TMMSRec")
