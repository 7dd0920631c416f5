"""Table 5: in the place of TIE no positions, random ones (learned from a random start), the Transformer's sinusoids."""

from __future__ import annotations

from tmmsrec.studies._plan import beside_floors
from tmmsrec.study.study import Study

ROWS = {
    "TMMSRec-NP": "tmmsrec-no-time",
    "TMMSRec-RP": "tmmsrec-learned",
    "TMMSRec-VP": "tmmsrec-sinusoid",
    "TMMSRec": "tmmsrec",
}

STUDY = Study(
    "Table 5: position encoders",
    beside_floors(ROWS | {"fixed random positions": "tmmsrec-random"}),
    printed={row: f"Table 5/{row}" for row in ROWS},
    subject="TMMSRec",
)
