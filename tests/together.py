"""Trainings that several processes share: ``torchrun -m tests.together DATASET RUNS NAME...``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from tests.conftest import shrunk
from tmmsrec import zoo
from tmmsrec.data import store
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.losses import CrossEntropy, SampledSoftmax
from tmmsrec.nn.time import TIE
from tmmsrec.processes import joined
from tmmsrec.study.run import Job, run
from tmmsrec.training import Adam, Training

HOW = Training(epochs=4, batch=10, optimiser=Adam(lr=0.01, clip=1.0))


def jobs() -> dict[str, Job]:
    """Methods whose dropout is nil, so that a process on its own draws nothing that others would draw differently."""
    still = replace(zoo.TMMSREC.entry, dropout=0.0)
    plain = replace(shrunk(zoo.TMMSREC), entry=still, backbone=Attention(dropout=0.0), time=TIE(dropout=0.0))
    methods = {
        "bce": plain,
        "cross-entropy": replace(plain, loss=CrossEntropy()),
        "shared negatives": replace(plain, loss=SampledSoftmax(negatives=8, by="popularity")),
        "the batch's targets": replace(plain, loss=SampledSoftmax(negatives=8, by="batch")),
        "last step": replace(plain, steps="last"),
        "pairs": shrunk(zoo.VBPR),
        "pairs and maps": shrunk(zoo.VBPR, maps=0.1),
        "pairs and all items": shrunk(zoo.MAML, dropout=0.0, attention_dropout=0.0),
        "a sum": shrunk(zoo.MGAT, loss="sum"),
        "rows": plain,
        "counts": zoo.methods()["markov"],
    }
    found = {name: Job(method, HOW, seed=3) for name, method in methods.items()}
    by_row = replace(HOW, optimiser=replace(HOW.optimiser, tables="rowwise"))
    found["rows"] = replace(found["rows"], training=by_row)
    found["one row"] = Job(plain, replace(HOW, batch=1, epochs=2), seed=3)  # one of two processes has nothing, step by step
    return found | {"refit": Job(plain, replace(HOW, refit=True, bf16=True), seed=4)}


if __name__ == "__main__":
    with joined():
        data = store.load(Path(sys.argv[1]))
        for name in sys.argv[3:]:
            run(jobs()[name], data, Path(sys.argv[2]))
