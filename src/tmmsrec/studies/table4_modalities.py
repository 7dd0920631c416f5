"""Table 4: modalities and TIE, each with and without."""

from __future__ import annotations

from tmmsrec.studies._plan import beside_floors, in_twos
from tmmsrec.study.study import Study

ROWS = {
    "w/ ID": "tmmsrec-id",
    "w/ ID&TIE": "tmmsrec-id-tie",
    "w/ ID&T": "tmmsrec-id-text",
    "w/ ID&T&TIE": "tmmsrec-id-text-tie",
    "w/ ID&V": "tmmsrec-id-image",
    "w/ ID&V&TIE": "tmmsrec-id-image-tie",
    "w/ ID&V&T": "tmmsrec-no-time",
    "TMMSRec": "tmmsrec",
}

STUDY = Study(
    "Table 4: modalities and TIE",
    beside_floors(ROWS),
    printed={row: f"Table 4/{row}" for row in ROWS},
    subject="TMMSRec",
    parts={f"TIE, {without}": (with_tie, without) for with_tie, without in in_twos(ROWS)}
    | {
        "texts beside ids": ("w/ ID&T", "w/ ID"),
        "pictures beside ids": ("w/ ID&V", "w/ ID"),
        "pictures beside ids and texts": ("w/ ID&V&T", "w/ ID&T"),
        "texts beside ids and pictures": ("w/ ID&V&T", "w/ ID&V"),
    },
)
