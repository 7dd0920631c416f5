"""Table 6: modalities fused before one encoder, against streams that stay apart until the score."""

from __future__ import annotations

from tmmsrec.studies._plan import beside_floors
from tmmsrec.study.study import Study

ROWS = {
    "TMMSRec-add": "tmmsrec-add",
    "TMMSRec-linear": "tmmsrec-linear",
    "TMMSRec-mlp": "tmmsrec-mlp",
    "TMMSRec": "tmmsrec",
}

STUDY = Study("Table 6: fusion", beside_floors(ROWS), printed={row: f"Table 6/{row}" for row in ROWS}, subject="TMMSRec")
