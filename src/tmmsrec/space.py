"""What tuning may change: values to search, by the path of the field that takes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

Option = str | float


@dataclass(frozen=True)
class Range:
    """Numbers between two ends.

    Attributes:
        lo, hi: the ends; both belong to it.
        log: equal ratios are equally likely, not equal differences.
        step: only ``lo``, ``lo + step``, ... up to ``hi``; None for all numbers.
    """

    lo: float
    hi: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not self.lo < self.hi or (self.log and (self.lo <= 0 or self.step is not None)) or (self.step or 1) <= 0:
            raise ValueError(f"a Range goes from lo up to hi, by steps above 0 or by the logarithm of numbers above 0, got {self}")

    def holds(self, number: float) -> bool:
        """Whether it is one of them."""
        steps = (number - self.lo) / self.step if self.step else 0.0
        return self.lo <= number <= self.hi and math.isclose(steps, round(steps), abs_tol=1e-6)

    def text(self, number: Option) -> str:
        """How the number is written after ``FIELD=``: three digits are enough, and a command can be read."""
        return f"{float(number):.3g}"

    def __str__(self) -> str:
        return f"{self.lo:g} to {self.hi:g}" + (" (log)" if self.log else f" by {self.step:g}" if self.step else "")


@dataclass(frozen=True)
class Choice:
    """One of some values.

    Attributes:
        of: numbers, or texts as they stand after ``FIELD=``: parts by the name of their kind, lists with commas.
    """

    of: tuple[Option, ...]

    def __post_init__(self) -> None:
        if len(set(self.of)) != len(self.of) or len(self.of) < 2:
            raise ValueError(f"a Choice needs two different values at least, got {self.of}")

    def text(self, option: Option) -> str:
        """How the value is written after ``FIELD=``."""
        return str(option)

    def __str__(self) -> str:
        return " or ".join(map(str, self.of))


Axis = Range | Choice

#: Path of a field, as ``--set`` writes it, or after "training." as ``--training`` does -> what it may be.
Space = Mapping[str, Axis]
