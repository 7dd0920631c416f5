"""Plots as inline SVG: drawn by hand, so that they take the page's colours, light or dark, and need nothing from outside.

Colours are the page's CSS variables (--ink, --faint, --grid, --floor, --s1 ... --s6); widths suit a phone as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 440
_ROW = 24


@dataclass(frozen=True)
class Bar:
    """A bar with its interval.

    Attributes:
        name: at its foot.
        value, lo, hi: mean and interval.
        colour: a CSS colour.
        strong: print it bold.
    """

    name: str
    value: float
    lo: float
    hi: float
    colour: str
    strong: bool = False


@dataclass(frozen=True)
class Line:
    """A curve: points (x, y), a colour, and the place of the one that counts (-1: none)."""

    name: str
    points: tuple[tuple[float, float], ...]
    colour: str
    best: int = -1


def ticks(lo: float, hi: float, about: int = 5) -> list[float]:
    """Round numbers from lo to hi, both inside."""
    if not hi > lo:
        return [lo]
    raw = (hi - lo) / about
    size = 10 ** math.floor(math.log10(raw))
    step = size * next(m for m in (1, 2, 2.5, 5, 10) if m * size >= raw * 0.999)
    first = math.ceil(lo / step - 1e-9)
    return [round((first + n) * step, 12) for n in range(int((hi - first * step) / step + 1e-9) + 1)]


def bars(given: Sequence[Bar], axis: str, ceiling: float | None = None) -> str:
    """Horizontal bars from zero with their 95 % intervals; a dashed line at the best possible."""
    left = 12 + 6.7 * max(len(b.name) for b in given)
    top = max([b.hi for b in given] + ([ceiling] if ceiling else []) + [1e-6]) * 1.04
    right, height = WIDTH - 56, _ROW * len(given) + 62
    x = _scale(0, top, left, right)
    base = 22 + _ROW * len(given)
    parts = _x_axis(ticks(0, top), x, 16, base, axis, (left + right) / 2)
    for n, b in enumerate(given):
        middle = 22 + _ROW * n + _ROW / 2
        weight = ' font-weight="650"' if b.strong else ""
        long = max(0.5, x(b.value) - left)
        parts += [
            f'<text x="{left - 8:.1f}" y="{middle + 4:.1f}" text-anchor="end"{weight}>{escape(b.name)}</text>',
            f'<rect x="{left:.1f}" y="{middle - 7:.1f}" width="{long:.1f}" height="14" rx="2" fill="{b.colour}"/>',
            _whisker(x(b.lo), x(b.hi), middle),
            f'<text x="{x(b.hi) + 6:.1f}" y="{middle + 4:.1f}"{weight}>{b.value:.3f}</text>',
        ]
    if ceiling:
        at = x(ceiling)
        parts += [
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="18" y2="{base}" stroke="var(--ink)" stroke-dasharray="4 3"/>',
            f'<text x="{min(at, right - 20):.1f}" y="12" text-anchor="middle">best possible {ceiling:.3f}</text>',
        ]
    return _svg(parts, height, f"{axis}: " + ", ".join(f"{b.name} {b.value:.3f}" for b in given))


def lines(given: Sequence[Line], x_axis: str, y_axis: str) -> str:
    """Curves over a number; the point that counts is marked."""
    points = [p for line in given for p in line.points]
    x_lo, x_hi = min(p[0] for p in points), max(max(p[0] for p in points), min(p[0] for p in points) + 1)
    y_lo, y_hi = min(p[1] for p in points), max(p[1] for p in points)
    pad = 0.06 * (y_hi - y_lo) or 0.05
    left, right, height, base = 58, WIDTH - 14, 270, 222
    y_lo = max(0.0, y_lo - pad) if y_lo >= 0 else y_lo - pad
    x, y = _scale(x_lo, x_hi, left, right), _scale(y_lo, y_hi + pad, base, 14)
    whole = [t for t in ticks(x_lo, x_hi) if t == int(t)]
    parts = _x_axis(whole, x, base, base, x_axis, (left + right) / 2)
    parts += _y_axis(ticks(y_lo, y_hi + pad), y, left, right, y_axis, (base + 14) / 2)
    for line in given:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2" stroke-linejoin="round"/>')
        if 0 <= line.best < len(line.points):
            a, b = line.points[line.best]
            parts.append(
                f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="4.5" fill="{line.colour}" stroke="var(--paper)" stroke-width="1.5"/>'
            )
    return _svg(parts, height, f"{y_axis} over {x_axis} of " + ", ".join(line.name for line in given))


def columns(given: Mapping[str, float], x_axis: str, y_axis: str, colour: str = "var(--s1)") -> str:
    """Vertical bars, one per named group, in percent."""
    left, right, height, base = 52, WIDTH - 10, 256, 196
    y = _scale(0, max([*given.values(), 1e-9]) * 1.1, base, 14)
    step = (right - left) / max(1, len(given))
    parts = _y_axis(ticks(0, max([*given.values(), 1e-9]) * 1.1), y, left, right, y_axis, (base + 14) / 2, percent=True)
    for n, (name, value) in enumerate(given.items()):
        at, tall = left + step * n, base - y(value)
        parts += [
            f'<rect x="{at + 3:.1f}" y="{y(value):.1f}" width="{step - 6:.1f}" height="{tall:.1f}" rx="2" fill="{colour}"/>',
            f'<text x="{at + step / 2:.1f}" y="{base + 16}" text-anchor="middle" class="tiny">{escape(name)}</text>',
            f'<text x="{at + step / 2:.1f}" y="{y(value) - 4:.1f}" text-anchor="middle" class="small">{value:.0%}</text>',
        ]
    parts.append(_label((left + right) / 2, base + 42, x_axis))
    return _svg(parts, height, f"{y_axis} by {x_axis}: " + ", ".join(f"{k} {v:.1%}" for k, v in given.items()))


def dots(groups: Sequence[tuple[str, Sequence[tuple[str, int, Sequence[Bar]]]]], axis: str) -> str:
    """Dots with intervals: for each heading its groups (label, users), and a dot per method in each."""
    every = [b for _, rows in groups for _, _, bars_ in rows for b in bars_]
    left, right = 16, WIDTH - 16
    x = _scale(0, min(1.0, max([b.hi for b in every] + [1e-6]) * 1.03), left, right)
    parts, at = [], 20.0
    for heading, rows in groups:
        parts.append(f'<text x="{left}" y="{at:.1f}" font-weight="650">by {escape(heading)}</text>')
        at += 8
        for label, users, each in rows:
            parts.append(f'<text x="{left}" y="{at + 13:.1f}" class="small">{escape(label)} &#183; {users:,} users</text>')
            at += 20
            for b in each:
                parts += [
                    f'<line x1="{left}" x2="{right}" y1="{at + 4:.1f}" y2="{at + 4:.1f}" stroke="var(--grid)"/>',
                    _whisker(x(b.lo), x(b.hi), at + 4, b.colour),
                    f'<circle cx="{x(b.value):.1f}" cy="{at + 4:.1f}" r="4.5" fill="{b.colour}"/>',
                ]
                at += 11
            at += 5
        at += 18
    parts = _x_axis(ticks(0, x.hi), x, at - 10, at - 10, axis, (left + right) / 2) + parts
    return _svg(parts, at + 32, f"{axis} by groups of users")


class _scale:
    """A straight map from numbers to places."""

    def __init__(self, lo: float, hi: float, start: float, end: float) -> None:
        self.lo, self.hi, self.start, self.end = lo, hi, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.lo) / ((self.hi - self.lo) or 1) * (self.end - self.start)


def _x_axis(at: Iterable[float], x: _scale, top: float, base: float, label: str, middle: float) -> list[str]:
    parts = [f'<line x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{base:.1f}" y2="{base:.1f}" stroke="var(--faint)"/>']
    for t in at:
        parts += [
            f'<line x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{top:.1f}" y2="{base + 4:.1f}" stroke="var(--grid)"/>',
            f'<text x="{x(t):.1f}" y="{base + 17:.1f}" text-anchor="middle" class="small">{t:g}</text>',
        ]
    return [*parts, _label(middle, base + 34, label)]


def _y_axis(
    at: Iterable[float], y: _scale, left: float, right: float, label: str, middle: float, percent: bool = False
) -> list[str]:
    parts = []
    for t in at:
        text = f"{t:.0%}" if percent else f"{t:g}"
        parts += [
            f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y(t):.1f}" y2="{y(t):.1f}" stroke="var(--grid)"/>',
            f'<text x="{left - 6:.1f}" y="{y(t) + 4:.1f}" text-anchor="end" class="small">{text}</text>',
        ]
    parts.append(
        f'<text transform="translate(12 {middle:.1f}) rotate(-90)" text-anchor="middle" class="axis">{escape(label)}</text>'
    )
    return parts


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" class="axis">{escape(text)}</text>'


def _whisker(lo: float, hi: float, y: float, colour: str = "var(--ink)") -> str:
    ends = "".join(f"M{at:.1f} {y - 4:.1f}v8" for at in (lo, hi))
    return f'<path d="M{lo:.1f} {y:.1f}H{hi:.1f}{ends}" stroke="{colour}" stroke-width="1.4" fill="none"/>'


def _svg(parts: list[str], height: float, said: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(said, quote=True)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
