"""Why some trained methods lie at or below popularity: what each lacks is given to it, one thing at a time.

The floors count the validation events, which are part of the input at test time; ``refit`` lets a method learn from them too.
Where there are many items their rows begin short, and what a convolution or a mixer adds drowns them: a network that does not hand
an item on at its start must learn to, in more steps than early stopping grants.  Rows multiplied by sqrt(d) on entry are heard;
batches of 16 users instead of 128 are eight times the steps.  BERT4Rec learns from one step in five and is asked by a mask.  TriMLP
has no residual path, and the sigmoid lets its states differ little; a tied output and GELU bring both nearer to SASRec.
"""

from __future__ import annotations

from dataclasses import replace

from tmmsrec.models.sequential import Entry
from tmmsrec.nn.backbones.mlp4rec import CausalMLP4Rec
from tmmsrec.nn.backbones.trimlp import TriMLP
from tmmsrec.nn.outputs import Tied
from tmmsrec.studies._plan import FLOORS, entrant
from tmmsrec.study.study import Entrant, Study


def _with(one: Entrant, **training: object) -> Entrant:
    return replace(one, training=replace(one.training, **training))  # type: ignore[arg-type]


SUSPECTS = ("gru4rec", "nextitnet", "mlp4rec-causal", "trimlp", "bert4rec")
HURRIED = ("nextitnet", "mlp4rec-causal", "bert4rec")

STUDY = Study(
    "Below popularity, and why",
    FLOORS
    | {name: entrant(name) for name in SUSPECTS}
    | {f"{name}, refit": _with(entrant(name), refit=True) for name in SUSPECTS}
    | {f"{name}, 8 times the steps": _with(entrant(name), batch=16) for name in HURRIED}
    | {
        "bert4rec, 8 times the steps, patient": _with(entrant("bert4rec"), batch=16, epochs=120, patience=60),
        "mlp4rec": entrant("mlp4rec"),
        "mlp4rec-causal, last steps": entrant("mlp4rec", backbone=CausalMLP4Rec()),
        "mlp4rec-causal, patient": _with(entrant("mlp4rec-causal"), patience=60),
        "mlp4rec-causal, rows scaled": entrant("mlp4rec-causal", entry=Entry(scaled=True)),
        "nextitnet, rows scaled": entrant("nextitnet", entry=Entry(scaled=True)),
        "trimlp, gelu": entrant("trimlp", backbone=TriMLP(act="gelu")),
        "trimlp, gelu, tied": entrant("trimlp", backbone=TriMLP(act="gelu"), output=Tied()),
    },
    seeds=1,
)
