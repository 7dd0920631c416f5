"""Every recommender of the paper beside its floors, tuned by the same small grid."""

from __future__ import annotations

from tmmsrec.studies._plan import beside_floors
from tmmsrec.study.study import Study

TRAINED = (
    "sasrec", "gru4rec", "nextitnet", "mlp4rec", "mlp4rec-causal", "trimlp", "bert4rec",
    "vbpr", "vbpr-itv", "mgat", "maml", "freedom", "s3rec", "s3rec-itv", "mmmlp",
    "sasrec-ensemble", "trimlp-ensemble",
    "tmmsrec-id", "tmmsrec-id-tie", "tmmsrec-no-time", "tmmsrec",
)  # fmt: skip

STUDY = Study(
    "Every recommender of the paper beside its floors",
    beside_floors({name: name for name in TRAINED}),
    subject="tmmsrec",
    printed={
        "sasrec": "Table 3/SASRec",
        "bert4rec": "Table 3/BERT4Rec",
        "trimlp": "Table 3/TriMLP",
        "vbpr": "Table 3/VBPR",
        "vbpr-itv": "Table 3/VBPR_ITV",
        "s3rec": "Table 3/S3-Rec",
        "s3rec-itv": "Table 3/S3-Rec_ITV",
        "mgat": "Table 3/MGAT",
        "maml": "Table 3/MAML",
        "freedom": "Table 3/FREEDOM",
        "mmmlp": "Table 3/MMMLP",
        "tmmsrec-id": "Table 4/w/ ID",
        "tmmsrec-id-tie": "Table 4/w/ ID&TIE",
        "tmmsrec-no-time": "Table 4/w/ ID&V&T",
        "tmmsrec": "Table 3/TMMSRec",
    },
)
