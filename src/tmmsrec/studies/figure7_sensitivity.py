"""Figure 7: blocks, drop rate and width of TMMSRec, one changed at a time.

The paper says "the drop rate inside the TIE module"; the rate of the rows that enter and of the encoder stay.
"""

from __future__ import annotations

from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.time import TIE
from tmmsrec.studies._plan import FLOORS, entrant
from tmmsrec.study.study import Study, Sweep

BLOCKS = {"1 block": 1, "2 blocks": 2, "3 blocks": 3, "4 blocks": 4}
RATES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
WIDTHS = (66, 126, 258, 510, 768, 1026)  # the nearest multiples of six to powers of two, and the paper's best

STUDY = Study(
    "Figure 7: sensitivity",
    FLOORS
    | {name: entrant("tmmsrec", backbone=Attention(blocks=n)) for name, n in BLOCKS.items()}
    | {f"drop rate {p}": entrant("tmmsrec", time=TIE(dropout=p)) for p in RATES}
    | {f"width {d}": entrant("tmmsrec", width=d) for d in WIDTHS},
    subject="2 blocks",  # the paper's own, and 126 wide as all studies are
    sweeps=(
        Sweep("blocks", BLOCKS),
        Sweep("drop rate inside TIE", {f"drop rate {p}": p for p in RATES}),
        Sweep("width d of each modality", {f"width {d}": d for d in WIDTHS}),
    ),
)
