"""``doctor``: what this machine offers, and whether a Dataset is sound."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated

import typer

from tmmsrec.cli import screen

NEEDED = ("torch", "numpy", "scipy", "pyarrow", "duckdb", "ibis-framework", "pydantic", "scikit-learn", "scikit-image", "pillow")
MISSING = "missing"
OURS = "dev"  # the extra for those who work on tmmsrec itself


def doctor(
    dataset: Annotated[Path | None, typer.Argument(help="A Dataset folder to check.")] = None,
) -> None:
    """Versions, cores, speed and disk; with a folder, whether the Dataset in it is sound."""
    found = [] if dataset is None else _checked(dataset)  # first: a folder that is none is said at once
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
        **{f"extra [{name}]": _extra(name, packages) for name, packages in extras().items()},
    }
    screen.pairs("", machine)
    if usable_cores() > threads:
        screen.say(
            f"torch uses fewer threads than there are cores; OMP_NUM_THREADS is {os.environ.get('OMP_NUM_THREADS', 'not set')}"
        )
    for line in found:
        screen.say(line)


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
        return MISSING


def extras() -> dict[str, list[str]]:
    """Extra -> the packages it asks for, as the installed tmmsrec declares them for its users."""
    found: dict[str, list[str]] = {}
    try:
        lines = requires("tmmsrec") or []
    except PackageNotFoundError:  # run from its source without being installed
        return {}
    for line in lines:
        asked = re.fullmatch(r"""([\w.-]+).*;.*\bextra == ['"]([\w-]+)['"].*""", line)
        if asked and asked[2] != OURS:
            found.setdefault(asked[2], []).append(asked[1])
    return dict(sorted(found.items()))


def _extra(name: str, packages: Iterable[str]) -> str:
    missing = [one for one in packages if _version(one) == MISSING]
    return f"lacks {', '.join(missing)}: pip install 'tmmsrec[{name}]'" if missing else "present"


def _checked(folder: Path) -> list[str]:
    """What there is to say of a sound Dataset; raises DataProblem for any other folder."""
    from tmmsrec.data import store
    from tmmsrec.data.split import LeaveOneOut

    dataset = store.load(folder)
    dataset.check()
    parts = LeaveOneOut().cut(dataset.interactions)
    cold = (parts.train.item_counts(dataset.n_items)[parts.test.targets] == 0).mean()
    short = [f"{n}: {1 - f.coverage:.1%} of the items lack it" for n, f in dataset.features.items() if f.coverage < 1]
    none = f"no features yet: {screen.command('extract', folder)}"
    return [
        f"{folder} is sound: {dataset!r}",
        f"{len(parts.test):,} users to test on; {cold:.1%} of their last items are in nobody's training part",
        "; ".join(short) if short else "no item lacks a modality" if dataset.features else none,
    ]
