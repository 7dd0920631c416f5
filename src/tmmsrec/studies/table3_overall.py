"""Table 3: the baselines and TMMSRec."""

from __future__ import annotations

from tmmsrec.studies._plan import beside_floors
from tmmsrec.study.study import Study

ROWS = {
    "SASRec": "sasrec",
    "BERT4Rec": "bert4rec",
    "TriMLP": "trimlp",
    "VBPR": "vbpr",
    "VBPR_ITV": "vbpr-itv",
    "S3-Rec": "s3rec",
    "S3-Rec_ITV": "s3rec-itv",
    "MGAT": "mgat",
    "MAML": "maml",
    "FREEDOM": "freedom",
    "MMMLP": "mmmlp",
    "TMMSRec": "tmmsrec",
}

STUDY = Study("Table 3: overall", beside_floors(ROWS), printed={row: f"Table 3/{row}" for row in ROWS}, subject="TMMSRec")
