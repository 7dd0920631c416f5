"""The methods of the paper and those beyond it as named values, the floors, how each is trained where the usual Training does not
suit it, and what tuning may change of each.

Width and depth of TMMSRec are the best of the paper's Figure 7; TIE is not dropped, though .5 is best there (docs/results.md has
what that rate does here).  ``replace(TMMSREC, width=126)`` is a smaller one.  The
baselines have the paper's 128 (section 3.4); where TIE must fit beside them, its nearest multiple of six, 126.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from tmmsrec.models.additive import Additive
from tmmsrec.models.base import Method
from tmmsrec.models.bert4rec import BERT4Rec
from tmmsrec.models.counting import Markov, Popularity, Repeat
from tmmsrec.models.freedom import FREEDOM as _FREEDOM
from tmmsrec.models.maml import MAML as _MAML
from tmmsrec.models.mgat import MGAT as _MGAT
from tmmsrec.models.mmmlp import MMMLP as _MMMLP
from tmmsrec.models.s3rec import S3Rec
from tmmsrec.models.sequential import Entry, Sequential
from tmmsrec.models.terms import Ages, Alike, Follows, Season, Similar
from tmmsrec.models.tuned_markov import TunedMarkov
from tmmsrec.models.vbpr import VBPR as _VBPR
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.backbones.gru4rec import GRU4Rec
from tmmsrec.nn.backbones.mlp4rec import CausalMLP4Rec, MLP4Rec
from tmmsrec.nn.backbones.nextitnet import NextItNet
from tmmsrec.nn.backbones.trimlp import TriMLP
from tmmsrec.nn.fusion import MLP, Add, Apart, Linear
from tmmsrec.nn.losses import BCE, BySize, CrossEntropy
from tmmsrec.nn.outputs import Classifier, Tied
from tmmsrec.nn.time import TIE, Gap, Learned, Nothing, Random, Rotary, Sinusoid
from tmmsrec.space import Axis, Choice, Range, Space
from tmmsrec.training import Adam, Training

POPULARITY = Popularity()
REPEAT_LAST = Repeat(newest=1)
REPEAT = Repeat()
MARKOV = Markov()
MARKOV_DECAYED = Markov(decay=0.5, span=3, reach=50, backoff=0.2)
MARKOV_TUNED = TunedMarkov()

# Table 3: the baselines that read a history.
SASREC = Sequential(width=126, time=Learned(), entry=Entry(dropped="streams", scaled=True))
BERT4REC = BERT4Rec()
TRIMLP = Sequential(width=128, backbone=TriMLP(), loss=CrossEntropy(), output=Classifier())
# (Pretraining on all prefixes a hundred times over takes hours on the log of a shop.)
S3REC = S3Rec(pretraining_rows=2048)
S3REC_ITV = S3Rec(pretraining_rows=2048, modalities=("text", "image"))
MMMLP = _MMMLP()

# Table 3: the baselines that know users by rows of their own.
VBPR = _VBPR()
VBPR_ITV = _VBPR(modalities=("text", "image"))
MGAT = _MGAT()
MAML = _MAML()
FREEDOM = _FREEDOM()

TMMSREC = Sequential(modalities=("id", "text", "image"), width=768, time=TIE())

# The authors' code where it differs from their paper: one encoder for all, joined blocks, dropout .2, padding attended to.
TMMSREC_AS_CODED = replace(
    TMMSREC,
    time=TIE(dropout=0.2, layout="blocked"),
    fusion=Apart(one_encoder=True),
    backbone=Attention(dropout=0.2, key_mask=False),
    entry=Entry(dropout=0.2),
)

# Table 4: modalities and TIE.
TMMSREC_ID = replace(TMMSREC, modalities=("id",), time=Nothing())
TMMSREC_ID_TIE = replace(TMMSREC, modalities=("id",))
TMMSREC_ID_TEXT = replace(TMMSREC, modalities=("id", "text"), time=Nothing())
TMMSREC_ID_TEXT_TIE = replace(TMMSREC, modalities=("id", "text"))
TMMSREC_ID_IMAGE = replace(TMMSREC, modalities=("id", "image"), time=Nothing())
TMMSREC_ID_IMAGE_TIE = replace(TMMSREC, modalities=("id", "image"))
TMMSREC_NO_TIME = replace(TMMSREC, time=Nothing())

# Table 5: position encoders in the place of TIE (NP is TMMSREC_NO_TIME).
TMMSREC_LEARNED = replace(TMMSREC, time=Learned())
TMMSREC_RANDOM = replace(TMMSREC, time=Random())
TMMSREC_SINUSOID = replace(TMMSREC, time=Sinusoid())

# Beyond the paper: elapsed time, and the moment of the request.
TMMSREC_GAP = replace(TMMSREC, time=Gap())
TMMSREC_ROTARY = replace(TMMSREC, time=Rotary())
TMMSREC_TIE_NOW = replace(TMMSREC, time=TIE(query=True))

# Table 6: early fusion.
TMMSREC_ADD = replace(TMMSREC, fusion=Add())
TMMSREC_LINEAR = replace(TMMSREC, fusion=Linear())
TMMSREC_MLP = replace(TMMSREC, fusion=MLP())

# Figure 5: three of a baseline, one for each modality, their scores added.
SASREC_ENSEMBLE = replace(SASREC, modalities=("id", "text", "image"))
# (TriMLP's sigmoid makes states positive; multiplied with item rows directly they learn nothing, see tests/worlds.)
TRIMLP_ENSEMBLE = replace(TRIMLP, modalities=("id", "text", "image"), backbone=TriMLP(act="gelu"), loss=BCE(), output=Tied())

# Figure 6: backbones without the framework and with it, all trained as section 3.8 says.
GRU4REC = Sequential(width=126, backbone=GRU4Rec())
NEXTITNET = Sequential(width=126, backbone=NextItNet())
MLP4REC = Sequential(width=126, backbone=MLP4Rec(), steps="last")
MLP4REC_CAUSAL = Sequential(width=126, backbone=CausalMLP4Rec())
TMMSREC_GRU4REC = replace(TMMSREC, width=126, backbone=GRU4Rec())
TMMSREC_NEXTITNET = replace(TMMSREC, width=126, backbone=NextItNet())
TMMSREC_MLP4REC = replace(TMMSREC, width=126, backbone=MLP4Rec(), steps="last")
TMMSREC_MLP4REC_CAUSAL = replace(TMMSREC, width=126, backbone=CausalMLP4Rec())

# Beyond the paper: few parameters, counting among them.
TMMSREC_PLUS = Additive(similar=Similar(rank=16, dropout=0.5), alike=Alike(), follows=Follows(tempered=True), season=Season())
TMMSREC_PLUS_NOW = replace(TMMSREC_PLUS, ages=Ages(to_now=True))

# A person's own data: all events of each user, and a rate that falls slowly.  By the paper's training (a rate that falls by a tenth
# with each epoch, the newest fifty events, one random negative) logs with many events for each item end below popularity.
OWN = Training(patience=10, optimiser=Adam(decay=0.97, clip=1.0), windows=True)
TMMSREC_PLUS_SASREC = replace(TMMSREC_PLUS, network=replace(SASREC, loss=BySize()), network_training=OWN)

# Batches of single events hold as much as batches of users do.
_EVENTS = Training(batch=1024)
_ADDITIVE = Training(batch=16, optimiser=Adam(lr=0.02), epochs=20, patience=5)
_PREFIXES = Training(rows=2048, epochs=20)
_TRAININGS = {
    # A row for every event, each with 50 slots whatever it holds: a pass over all of them takes minutes.
    "mmmlp": _PREFIXES,
    "mlp4rec": _PREFIXES,
    "tmmsrec-mlp4rec": replace(_PREFIXES, epochs=12),
    "vbpr": _EVENTS,
    "vbpr-itv": _EVENTS,
    "freedom": replace(_EVENTS, batch=2048),
    "mgat": replace(_EVENTS, batch=2048, optimiser=Adam(weight_decay=1e-4)),
    # Scoring every pair of user and item is most of its time.
    "maml": replace(_EVENTS, batch=2048, epochs=24, every=12),
    # A few numbers, which all events have in common: large steps, and soon done.
    "tmmsrec-plus": _ADDITIVE,
    "tmmsrec-plus-now": _ADDITIVE,
    "tmmsrec-plus-sasrec": _ADDITIVE,
    # A masked item in a few teaches less in a step than a target at every step.
    "bert4rec": Training(optimiser=Adam(decay=0.98, clip=5.0)),
}

_DROPOUT = Range(0.0, 0.8, step=0.1)
_WIDTHS = Choice((64, 128, 256))
_LOSSES = Choice(("BCE", "CrossEntropy", "SampledSoftmax"))

# What tuning may change, by the kind of method or part: a part has the same space wherever it stands, so that no method of a table
# is favoured.  Widths where TIE may stand divide by 6 (Figure 7 has the same, and more).
_SPACES: dict[type, Space] = {
    Adam: {"lr": Range(1e-4, 1e-2, log=True), "decay": Choice((0.9, 0.95, 0.98, 1.0))},
    Sequential: {"width": Choice((66, 126, 258, 768)), "loss": _LOSSES},
    Entry: {"dropout": _DROPOUT},
    TIE: {"dropout": _DROPOUT},
    Attention: {"blocks": Choice((1, 2, 3)), "dropout": _DROPOUT},
    GRU4Rec: {"layers": Choice((1, 2, 3)), "dropout": _DROPOUT},
    NextItNet: {"dilations": Choice(("1,4", "1,4,1,4", "1,4,1,4,1,4")), "dropout": _DROPOUT},
    MLP4Rec: {"layers": Choice((1, 2, 4)), "dropout": _DROPOUT},
    CausalMLP4Rec: {"layers": Choice((1, 2, 4)), "dropout": _DROPOUT},
    TriMLP: {"sessions": Choice((1, 2, 5, 10))},
    BERT4Rec: {"width": _WIDTHS, "layers": Choice((1, 2, 3)), "masked": Choice((0.2, 0.4, 0.6)), "dropout": _DROPOUT},
    S3Rec: {"width": _WIDTHS, "layers": Choice((1, 2, 3)), "masked": Choice((0.2, 0.4, 0.6)), "dropout": _DROPOUT},
    _MMMLP: {"width": _WIDTHS, "layers": Choice((1, 2, 4)), "dropout": _DROPOUT, "loss": _LOSSES},
    _VBPR: {"width": _WIDTHS, "content_width": _WIDTHS, "rows": Range(1e-4, 1e-1, log=True), "maps": Choice((0.0, 1e-3, 1e-1))},
    _MGAT: {"width": _WIDTHS, "layers": Choice((1, 2)), "training.optimiser.weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3))},
    _MAML: {
        "width": _WIDTHS,
        "margin": Choice((0.8, 1.6, 2.4)),
        "feature_weight": Range(0.5, 50.0, log=True),
        "covariance_weight": Range(0.5, 50.0, log=True),
        "dropout": _DROPOUT,
    },
    _FREEDOM: {
        "width": _WIDTHS,
        "user_layers": Choice((1, 2, 3)),
        "item_layers": Choice((0, 1, 2)),
        "pruned": Choice((0.0, 0.5, 0.8, 0.9)),
        "image_weight": Choice((0.1, 0.5, 0.9)),
        "reg": Choice((0.0, 1e-5, 1e-4, 1e-3)),
    },
    Similar: {"rank": Choice((0, 16, 32))},
    Follows: {"span": Choice((1, 2, 3, 5)), "reach": Choice((5, 10, 20))},
}
_LARGE_STEPS: Space = {"training.optimiser.lr": Range(5e-3, 1e-1, log=True)}
# The same where a name's own value is none of those.
_OWN_SPACES: dict[str, Space] = {
    "tmmsrec-plus": _LARGE_STEPS,
    "tmmsrec-plus-now": _LARGE_STEPS,
    "tmmsrec-plus-sasrec": _LARGE_STEPS,
    "trimlp": {"width": Choice((64, 128, 256, 768))},
    "trimlp-ensemble": {"width": Choice((64, 128, 256, 768))},
}


def methods() -> dict[str, Method]:
    """Every named value of this page: "tmmsrec-no-time" -> TMMSREC_NO_TIME."""
    return {name.lower().replace("_", "-"): value for name, value in globals().items() if isinstance(value, Method)}


#: What needs no training stands in every table.
FLOORS = tuple(name for name, method in methods().items() if not method.learned)


def training(name: str) -> Training:
    """How the method of this name is trained when nothing else is said."""
    return own_training(name) or Training()


def own_training(name: str) -> Training | None:
    """The same, None where it is trained as most are."""
    return _TRAININGS.get(name)


def space(name: str, method: Method, training: Training) -> dict[str, Axis]:
    """What tuning may change of the method of this name, or of a variant of it, and of its training; empty for a floor.

    What is within it is tuned where it stands alone.
    """
    if not method.learned:
        return {}
    own = _axes(method, "")
    if method.within is not None:
        own = {path: axis for path, axis in own.items() if not path.startswith(method.within.name)}
    return {**own, **_axes(training, "training."), **_OWN_SPACES.get(name, {})}


def _axes(value: Any, prefix: str) -> dict[str, Axis]:
    found = {prefix + path: axis for path, axis in _SPACES.get(type(value), {}).items()}
    for field in fields(value):
        part = getattr(value, field.name)
        found |= _axes(part, f"{prefix}{field.name}.") if is_dataclass(part) else {}
    return found
