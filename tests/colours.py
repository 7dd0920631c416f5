"""Colours of the parts of a score: which parts there are, and whether eyes can tell their colours apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from tests.conftest import shrunk, small
from tmmsrec import zoo
from tmmsrec.data.batch import ranking_batches
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.models.base import VectorModel
from tmmsrec.models.terms import Lately

# Ottosson 2020: from linear sRGB to the cones, and from their cube roots to OKLab.
_TO_CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
_TO_LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def parts_of_methods() -> Iterator[list[str]]:
    """The parts of a score by every method of the zoo that tells them, and by the one of ours that has most."""
    data = small()
    valid = LeaveOneOut().cut(data.interactions).valid
    _, batch = next(ranking_batches(valid, size=3, length=20))
    most = replace(zoo.TMMSREC_PLUS_SASREC, network=zoo.TMMSREC, lately=Lately())
    for method in {*zoo.methods().values(), most}:
        model = shrunk(method).build(data).eval()
        if isinstance(model, VectorModel):
            model.prepare(valid)
            model.observe(valid)
            yield list(model.shares_of_score(batch, torch.ones(3, 1, dtype=torch.int64)))


def contrast(one: str, other: str) -> float:
    """Of two colours #rrggbb, from 1 to 21 (WCAG 2); a bar is legible from 3 on."""
    darker, lighter = sorted(float(_linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def nearest(colours: Mapping[str, str]) -> tuple[float, str, str]:
    """The two that are most alike, and how far they are from one another: a distance in OKLab."""
    lab = {name: np.array(_TO_LAB) @ np.cbrt(np.array(_TO_CONES) @ _linear(c)) for name, c in colours.items()}
    return min((float(np.linalg.norm(lab[a] - lab[b])), a, b) for a, b in itertools.combinations(lab, 2))


def _linear(colour: str) -> np.ndarray:
    shown = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
