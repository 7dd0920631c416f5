"""Every method of the zoo trained, ranked and asked on a device that is not there: ``python -m tests.trying_elsewhere``.

Prints one JSON object: for each of them, "" or what went wrong.
"""

from __future__ import annotations

from tests import elsewhere  # first: it changes what the others import

# isort: split
import copy
import json
import sys
import traceback
from dataclasses import replace

import numpy as np
import torch

from tests.conftest import all_methods, shrunk, small
from tmmsrec import fit as training_module
from tmmsrec import zoo
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.lists import lists
from tmmsrec.models.base import Method, VectorModel
from tmmsrec.nn import streams
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.fusion import Apart
from tmmsrec.nn.losses import GBCE, CrossEntropy, InfoNCE, SampledSoftmax
from tmmsrec.ranking import rank
from tmmsrec.recommender import Recommender
from tmmsrec.training import Adam, Training

HOW = Training(epochs=1, batch=16, optimiser=Adam(clip=1.0))


def variants() -> dict[str, tuple[Method, Training]]:
    """Every named method, and the losses and ways to train of which no named method makes use."""
    plain = shrunk(zoo.TMMSREC)
    found = {one.id: (one.values[0], HOW) for one in all_methods()}
    losses = [
        CrossEntropy(),
        GBCE(negatives=4),
        InfoNCE(),
        *(SampledSoftmax(negatives=8, by=by) for by in ("uniform", "popularity", "batch")),
    ]
    found |= {repr(loss): (replace(plain, loss=loss), HOW) for loss in losses}
    by_row = replace(HOW, optimiser=replace(HOW.optimiser, tables="rowwise"))
    found["rows of their own rate"] = (replace(plain, loss=SampledSoftmax(negatives=8)), by_row)
    found["padding seen"] = (replace(plain, backbone=Attention(key_mask=False)), HOW)
    found["last step"] = (replace(plain, steps="last"), HOW)
    found["one encoder"] = (replace(plain, fusion=Apart(one_encoder=True)), HOW)
    found["windows, bf16, refit"] = (plain, replace(HOW, windows=True, bf16=True, refit=True))
    return found


def tried(method: Method, how: Training, dataset: Dataset) -> None:
    """Ranks before training are those of a processor; then it trains, and answers, where it was told to."""
    parts = LeaveOneOut().cut(dataset.interactions)
    torch.manual_seed(0)
    here = method.build(dataset).eval()
    here.prepare(parts.train)
    expected = rank(here, parts.test, history=method.history).ranks
    training_module._device = lambda: elsewhere.ELSEWHERE
    with elsewhere.Elsewhere():
        there = copy.deepcopy(here).to(elsewhere.ELSEWHERE)
        if there.trainable:
            there.prepare(parts.train)
        found = rank(there, parts.test, history=method.history).ranks
        np.testing.assert_allclose(found, expected, atol=1.0)  # two scores that nearly tie may change places
        assert (found == expected).mean() > 0.9
        listed = lists(there, parts.test, history=method.history)
        if there.trainable:  # what only counts ties at the end of its lists
            assert ((listed.items == parts.test.targets[:, None]).any(1) == (found < 10)).mean() > 0.9
        fitted = training_module.fit(method, dataset, train=parts.train, valid=parts.valid, training=how)
        if fitted.history:
            assert np.isfinite(fitted.history[0]["loss"])
            assert {one.device for one in fitted.model.parameters()} == {elsewhere.ELSEWHERE}
        mine = Recommender(method, fitted.model, dataset)
        answer = mine.recommend(3, k=5)
        assert len(answer) == 5
        assert mine.explain(3, items=[answer[1].item])[0].rank == 2
        if isinstance(fitted.model, VectorModel):
            assert len(mine.similar(4, k=3)) == 3


def problem(method: Method, how: Training) -> str:
    try:
        tried(method, how, small())
    except Exception as wrong:
        places = [f"{one.filename}:{one.lineno}" for one in traceback.extract_tb(wrong.__traceback__) if "tmmsrec" in one.filename]
        return f"{type(wrong).__name__}: {str(wrong)[:300]} ({places[-1:]})"
    return ""


if __name__ == "__main__":
    streams._pays = lambda x: x.device.type == "elsewhere"  # as on a GPU
    print(json.dumps({name: problem(*what) for name, what in variants().items() if not sys.argv[1:] or name in sys.argv[1:]}))
