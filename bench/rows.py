"""A row of the report, and the machine it was measured on."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Row:
    """One goal and what was measured.

    Attributes:
        name: what was measured.
        goal: the number to reach, in ``unit``; None for a figure that is only reported.
        measured: what was reached, in ``unit``.
        unit: of both, for instance "times", "s", "%".
        least: whether the goal is a least (True) or a most value.
        note: where the time went, or why the goal was missed.
        numbers: everything behind it, for JSON.
    """

    name: str
    goal: float | None
    measured: float
    unit: str
    least: bool
    note: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None when there is none."""
        if self.goal is None:
            return None
        return self.measured >= self.goal if self.least else self.measured < self.goal

    @property
    def verdict(self) -> str:
        """Met, or by how much it was missed."""
        if self.met is None or self.goal is None:
            return "reported"
        return "met" if self.met else f"missed by {abs(self.measured / self.goal - 1):.0%}"


def seconds(action: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def spent(action: Callable[[], object]) -> float:
    """Processor seconds of one call, over all its threads: what neighbours on the machine hardly change."""
    begun = time.process_time()
    action()
    return time.process_time() - begun


def median(values: list[float]) -> float:
    """The middle one."""
    return float(statistics.median(values))


def busy() -> float:
    """Load of the machine over the last minute by core: above 1 others compete with the measurement."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else float("nan")


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_per_core": round(busy(), 2),
    }
