"""Figure 6: backbones alone, and inside TMMSRec."""

from __future__ import annotations

from tmmsrec.studies._plan import beside_floors, in_twos
from tmmsrec.study.study import Study

ROWS = {
    "SASRec": "sasrec",
    "TMMSRec on SASRec": "tmmsrec",
    "GRU4Rec": "gru4rec",
    "TMMSRec on GRU4Rec": "tmmsrec-gru4rec",
    "NextItNet": "nextitnet",
    "TMMSRec on NextItNet": "tmmsrec-nextitnet",
    "MLP4Rec": "mlp4rec",
    "TMMSRec on MLP4Rec": "tmmsrec-mlp4rec",
    "MLP4Rec, causal": "mlp4rec-causal",
    "TMMSRec on MLP4Rec, causal": "tmmsrec-mlp4rec-causal",
}

STUDY = Study(
    "Figure 6: backbones",
    beside_floors(ROWS),
    subject="TMMSRec on SASRec",
    parts={f"TMMSRec around {alone}": (within, alone) for within, alone in in_twos(ROWS)},
)
