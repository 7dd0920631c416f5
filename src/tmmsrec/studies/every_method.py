"""Every recommender of the paper beside its floors, tuned by the same small grid."""

from __future__ import annotations

from dataclasses import fields, replace

from tmmsrec import zoo
from tmmsrec.models.base import Method
from tmmsrec.study.study import Entrant, Study

# Two settings for every trained method, by validation.  The rate stays: with three to eight steps an epoch, section 3.4's
# decay of a tenth an epoch would leave no more than ten epochs' worth of them.
GRID = (
    ("training.optimiser.lr=0.001", "training.optimiser.decay=1.0"),
    ("training.optimiser.lr=0.005", "training.optimiser.decay=1.0"),
)
EPOCHS, PATIENCE, PRETRAINING = 60, 8, 5  # the same for all, but for methods whose own Training has fewer epochs
WIDTH = 126  # the paper's 128 is no multiple of 6
TRAINED = (
    "sasrec", "gru4rec", "nextitnet", "mlp4rec", "mlp4rec-causal", "trimlp", "bert4rec",
    "vbpr", "vbpr-itv", "mgat", "maml", "freedom", "s3rec", "s3rec-itv", "mmmlp",
    "sasrec-ensemble", "trimlp-ensemble",
    "tmmsrec-id", "tmmsrec-id-tie", "tmmsrec-no-time", "tmmsrec",
)  # fmt: skip


def _entrant(name: str) -> Entrant:
    method: Method = zoo.methods()[name]
    has = {f.name for f in fields(method)}  # type: ignore[arg-type]
    if method.history and "width" in has:
        method = replace(method, width=WIDTH)  # type: ignore[type-var]
    if "pretraining_epochs" in has:
        method = replace(method, pretraining_epochs=PRETRAINING)  # type: ignore[type-var]
    usual = zoo.training(name)
    training = replace(usual, epochs=min(usual.epochs, EPOCHS), patience=max(PATIENCE, usual.every))
    return Entrant(method, training, GRID)


STUDY = Study(
    "Every recommender of the paper beside its floors",
    {name: Entrant(zoo.methods()[name]) for name in zoo.FLOORS} | {name: _entrant(name) for name in TRAINED},
)
