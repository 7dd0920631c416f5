"""Charts as values: what is to be seen, not how it is drawn (``render.draw``).

Colours are names of the palette: "floor" (grey), "s1" the method in question, "s2" ... "s11" the others, "ink".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLOURS = 11  # s1 ... s11; the twelfth thing has the first again


@dataclass(frozen=True)
class Mark:
    """A number with its interval.

    Attributes:
        name: at its foot.
        value, lo, hi: mean and 95 % interval.
        colour: of the palette.
        strong: printed bold.
    """

    name: str
    value: float
    lo: float
    hi: float
    colour: str = "s1"
    strong: bool = False


@dataclass(frozen=True)
class Bars:
    """Horizontal bars from zero, each with its interval.

    Attributes:
        marks: from top to bottom.
        axis: what the numbers are.
        ceiling: the best possible, a dashed line.
    """

    marks: tuple[Mark, ...]
    axis: str
    ceiling: float | None = None

    @property
    def said(self) -> str:
        """In words."""
        return f"{self.axis}: " + ", ".join(f"{m.name} {m.value:.3f}" for m in self.marks)


@dataclass(frozen=True)
class Curve:
    """Points (x, y) in the order of x, the place of the one that counts (-1: none), and the band of their intervals."""

    name: str
    points: tuple[tuple[float, float], ...]
    colour: str = "s1"
    best: int = -1
    band: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Lines:
    """Curves over a number.

    Attributes:
        curves: each in its colour.
        x, y: what the axes are, with their units.
        level, level_name: a dashed horizontal line to compare with.
        at: the only ticks of x, evenly spaced, where the numbers grow like powers.
    """

    curves: tuple[Curve, ...]
    x: str
    y: str
    level: float | None = None
    level_name: str = ""
    at: tuple[float, ...] = ()

    @property
    def said(self) -> str:
        """In words."""
        return f"{self.y} over {self.x} of " + ", ".join(c.name for c in self.curves)


@dataclass(frozen=True)
class Columns:
    """Vertical bars: shares of a whole by group, side by side where there are several series.

    Attributes:
        series: name -> group -> share, the same groups for all.
        x, y: what the axes are, with their units.
    """

    series: Mapping[str, Mapping[str, float]]
    x: str
    y: str

    @property
    def said(self) -> str:
        """In words."""
        each = [f"{name} " + ", ".join(f"{k} {v:.1%}" for k, v in shares.items()) for name, shares in self.series.items()]
        return f"{self.y} by {self.x}: " + "; ".join(each)


@dataclass(frozen=True)
class Group:
    """Some test users, how many, and how well each method does for them."""

    label: str
    users: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Dots:
    """Dots with intervals: under each heading its groups, in each group a dot for every method."""

    headings: Mapping[str, tuple[Group, ...]]
    axis: str

    @property
    def said(self) -> str:
        """In words."""
        return f"{self.axis} by groups of users"


@dataclass(frozen=True, eq=False)
class Panel:
    """One cloud of points.

    Attributes:
        title: above it.
        points: [n, 2].
        shade: [n] a number that colours each point, None for one colour.
    """

    title: str
    points: NDArray[np.float64]
    shade: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Clouds:
    """Clouds of points beside each other.

    Attributes:
        panels: each with axes of its own, which mean nothing by themselves.
        shading: what the colour of a point says, "" where there is but one.
    """

    panels: tuple[Panel, ...]
    shading: str = ""

    @property
    def said(self) -> str:
        """In words."""
        return "points in two dimensions: " + "; ".join(f"{p.title}, {len(p.points):,} points" for p in self.panels)


Chart = Bars | Lines | Columns | Dots | Clouds
