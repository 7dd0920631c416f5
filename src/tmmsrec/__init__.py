"""tmmsrec: next-item recommendations from ids, texts, pictures and real time.

The names below are read when first asked for, so that ``import tmmsrec`` and the command line start at once.  The loop itself is
``tmmsrec.fit.fit``, and the paper's methods stand in ``tmmsrec.zoo``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ROOMS = {
    "data.catalog": ("Features",),
    "data.dataset": ("Dataset",),
    "data.prepare": ("Preparation", "prepare_from"),
    "data.split": ("ByTime", "LeaveOneOut"),
    "data.store": ("load", "save"),
    "extract": ("extract_images", "extract_text", "resolve_image", "resolve_text"),
    "metrics": ("HR", "MRR", "NDCG"),
    "models.sequential": ("Entry", "Sequential"),
    "nn.backbones.attention": ("Attention",),
    "nn.fusion": ("MLP", "Add", "Apart", "Linear"),
    "nn.losses": ("BCE", "CrossEntropy", "SampledSoftmax"),
    "nn.time": ("TIE", "Gap", "Learned", "Nothing", "Random", "Rotary", "Sinusoid"),
    "ranking": ("rank",),
    "recommender": ("Recommender",),
    "study.run": ("Job", "run"),
    "training": ("Adam", "Training"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "BCE", "HR", "MLP", "MRR", "NDCG", "TIE", "Adam", "Add", "Apart", "Attention", "ByTime", "CrossEntropy", "Dataset", "Entry",
    "Features", "Gap", "Job", "Learned", "LeaveOneOut", "Linear", "Nothing", "Preparation", "Random", "Recommender", "Rotary",
    "SampledSoftmax", "Sequential", "Sinusoid", "Training", "extract_images", "extract_text", "load", "prepare_from", "rank",
    "resolve_image", "resolve_text", "run", "save",
]  # fmt: skip

if TYPE_CHECKING:
    from tmmsrec.data.catalog import Features
    from tmmsrec.data.dataset import Dataset
    from tmmsrec.data.prepare import Preparation, prepare_from
    from tmmsrec.data.split import ByTime, LeaveOneOut
    from tmmsrec.data.store import load, save
    from tmmsrec.extract import extract_images, extract_text, resolve_image, resolve_text
    from tmmsrec.metrics import HR, MRR, NDCG
    from tmmsrec.models.sequential import Entry, Sequential
    from tmmsrec.nn.backbones.attention import Attention
    from tmmsrec.nn.fusion import MLP, Add, Apart, Linear
    from tmmsrec.nn.losses import BCE, CrossEntropy, SampledSoftmax
    from tmmsrec.nn.time import TIE, Gap, Learned, Nothing, Random, Rotary, Sinusoid
    from tmmsrec.ranking import rank
    from tmmsrec.recommender import Recommender
    from tmmsrec.study.run import Job, run
    from tmmsrec.training import Adam, Training


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tmmsrec' has no attribute '{name}'")
    return getattr(importlib.import_module(f"tmmsrec.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
