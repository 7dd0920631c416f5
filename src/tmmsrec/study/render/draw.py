"""Charts drawn by matplotlib: for a page, whose colours they take, light or dark; and as SVG and PNG files of their own."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tmmsrec.data.store import atomic_bytes
from tmmsrec.study.charts import COLOURS, Bars, Chart, Clouds, Columns, Dots, Lines, Mark

WIDTH = 5.2  # inches, at 84 units each: a phone's width
FILES = ("svg", "png")
_DPI = 200
_PAPER = {
    "ink": "#1d1f24", "soft": "#4b505a", "faint": "#757b87", "grid": "#e6e4df", "paper": "#ffffff", "floor": "#b3b6bd",
    "s1": "#2b5cc4", "s2": "#d0702a", "s3": "#23926a", "s4": "#9b479a", "s5": "#b08a1c", "s6": "#4a8fa8",
    "s7": "#b3263f", "s8": "#6f4a2f", "s9": "#6b8a00", "s10": "#e0609a", "s11": "#3b3357",
}  # fmt: skip
# Colours that nobody would choose, to be replaced by the page's own.
_PLACES = {name: f"#0123{n:02x}" for n, name in enumerate(_PAPER)}
_OUTER_IDS = re.compile(r' id="(?:figure|axes|patch|text|line2d|matplotlib\.axis|xtick|ytick|legend|\w*Collection)_\d+"')

Palette = dict[str, str]


def inline(chart: Chart) -> str:
    """An <svg> element for a page: its colours are the page's CSS variables, its words are text that can be found and read out."""
    text = _svg(chart, _PLACES)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _OUTER_IDS.sub("", text)
    for name, place in _PLACES.items():
        text = text.replace(place, f"var(--{name})")
    head, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    return f'<svg {box[0]} role="img" aria-label="{_quoted(chart.said)}" xmlns:xlink="http://www.w3.org/1999/xlink">{rest.strip()}'


def save(chart: Chart, stem: Path) -> list[Path]:
    """The chart as STEM.svg and STEM.png, on white; each is written whole or not at all."""
    written = []
    for kind in FILES:
        file = stem.with_name(f"{stem.name}.{kind}")
        atomic_bytes(file, _svg(chart, _PAPER).encode() if kind == "svg" else _png(chart))
        written.append(file)
    return written


def _svg(chart: Chart, palette: Palette) -> str:
    out = io.StringIO()
    with _style(palette, hashsalt=chart.said):
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        _drawn(chart, palette).savefig(out, format="svg", metadata=nothing, transparent=palette is _PLACES)
    return out.getvalue()


def _png(chart: Chart) -> bytes:
    out = io.BytesIO()
    with _style(_PAPER):
        _drawn(chart, _PAPER).savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
    return out.getvalue()


@contextmanager
def _style(palette: Palette, hashsalt: str | None = None) -> Iterator[None]:
    from matplotlib import rc_context

    with rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": hashsalt,
            "font.family": "DejaVu Sans",
            "font.size": 8,
            "text.color": palette["ink"],
            "text.parse_math": False,
            "axes.edgecolor": palette["faint"],
            "axes.labelcolor": palette["soft"],
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.formatter.use_mathtext": False,
            "xtick.color": palette["soft"],
            "ytick.color": palette["soft"],
            "grid.color": palette["grid"],
            "grid.linewidth": 0.8,
            "legend.frameon": False,
        }
    ):
        yield


def _drawn(chart: Chart, palette: Palette) -> Any:
    draw: dict[type, Callable[[Any, Palette], Any]] = {
        Bars: _bars, Lines: _lines, Columns: _columns, Dots: _dots, Clouds: _clouds,
    }  # fmt: skip
    return draw[type(chart)](chart, palette)


def _figure(height: float, columns: int = 1, width: float = WIDTH, rows: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _bars(chart: Bars, palette: Palette) -> Any:
    figure, ((axes,),) = _figure(0.23 * len(chart.marks) + 0.75)
    at = np.arange(len(chart.marks))
    axes.barh(at, [m.value for m in chart.marks], height=0.62, color=[palette[m.colour] for m in chart.marks])
    top = max([m.hi for m in chart.marks] + [chart.ceiling or 0.0, 1e-6])
    for n, mark in enumerate(chart.marks):
        _whisker(axes, mark, n, palette["ink"])
        axes.text(mark.hi + 0.012 * top, n, f"{mark.value:.3f}", va="center", weight="bold" if mark.strong else "normal")
    axes.set(xlim=(0, top * 1.13), xlabel=chart.axis)
    axes.set_yticks(at, [_short(m.name) for m in chart.marks], color=palette["ink"])
    for label, mark in zip(axes.get_yticklabels(), chart.marks, strict=True):
        label.set_weight("bold" if mark.strong else "normal")
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.grid(axis="x")
    if chart.ceiling:
        axes.axvline(chart.ceiling, color=palette["ink"], linestyle="--", linewidth=0.9)
        axes.set_title(f"best possible {chart.ceiling:.3f}", fontsize=8, loc="right")
    return figure


def _lines(chart: Lines, palette: Palette) -> Any:
    figure, ((axes,),) = _figure(3.0)
    place = {value: float(n) for n, value in enumerate(chart.at)}
    for curve in chart.curves:
        x = [place.get(p[0], p[0]) for p in curve.points]
        y = [p[1] for p in curve.points]
        if curve.band:
            axes.fill_between(
                x, [b[0] for b in curve.band], [b[1] for b in curve.band], color=palette[curve.colour], alpha=0.16, lw=0
            )
        marker = "o" if chart.at or len(x) == 1 else None
        axes.plot(x, y, color=palette[curve.colour], linewidth=1.6, label=curve.name, marker=marker, markersize=4)
        if 0 <= curve.best < len(x):
            axes.plot(
                x[curve.best], y[curve.best], "o", color=palette[curve.colour], markersize=5.5, markeredgecolor=palette["paper"]
            )
    if chart.level is not None:
        axes.axhline(chart.level, color=palette["faint"], linestyle="--", linewidth=1.1, label=chart.level_name)
    axes.set(xlabel=chart.x, ylabel=chart.y)
    if chart.at:
        axes.set_xticks(range(len(chart.at)), [f"{value:g}" for value in chart.at])
    else:
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(axes.get_legend_handles_labels()[1]) > 1:
        figure.legend(loc="outside upper left", ncols=2, fontsize=7.5)
    axes.grid(axis="y")
    return figure


def _columns(chart: Columns, palette: Palette) -> Any:
    from matplotlib.ticker import PercentFormatter

    figure, ((axes,),) = _figure(2.9)
    names = list(next(iter(chart.series.values()))) if chart.series else []
    wide = 0.8 / max(1, len(chart.series))
    for n, (name, shares) in enumerate(chart.series.items()):
        at = np.arange(len(names)) + (n - (len(chart.series) - 1) / 2) * wide
        drawn = axes.bar(at, [shares[k] for k in names], width=wide * 0.92, color=palette[f"s{1 + n % COLOURS}"], label=name)
        axes.bar_label(drawn, [f"{shares[k]:.0%}" for k in names], fontsize=7 if len(chart.series) == 1 else 5.5, padding=1.5)
    axes.set_xticks(range(len(names)), [_short(n) for n in names], fontsize=7)
    axes.set(xlabel=chart.x, ylabel=chart.y)
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y")
    if len(chart.series) > 1:
        figure.legend(loc="outside upper left", ncols=2, fontsize=7.5)
    return figure


def _dots(chart: Dots, palette: Palette) -> Any:
    rows = [(heading, group) for heading, groups in chart.headings.items() for group in groups]
    most = max([len(g.marks) for _, g in rows], default=1)
    figure, ((axes,),) = _figure(0.16 * most * len(rows) + 0.17 * len(rows) + 0.28 * len(chart.headings) + 1.0)
    y, before = 0.0, ""
    for heading, group in rows:
        if heading != before:
            y += 1.6
            axes.text(0, y, f"by {_short(heading, 60)}", transform=axes.get_yaxis_transform(), weight="bold", va="center")
            before = heading
        y += 1.25
        said = f"{_short(group.label, 50)} · {group.users:,} users"
        axes.text(0, y, said, transform=axes.get_yaxis_transform(), color=palette["soft"], va="center")
        for mark in group.marks:
            y += 1
            axes.axhline(y, color=palette["grid"], linewidth=0.8)
            _whisker(axes, mark, y, palette[mark.colour])
            axes.plot(mark.value, y, "o", color=palette[mark.colour], markersize=4.5)
    named = {_short(m.name): axes.plot([], [], "o-", color=palette[m.colour], markersize=4.5)[0] for _, g in rows for m in g.marks}
    figure.legend(named.values(), named, loc="outside upper left", ncols=2, fontsize=7.5)
    top = max([m.hi for _, g in rows for m in g.marks] + [1e-6])
    axes.set(ylim=(y + 1, 0.6), xlim=(0, min(1.0, top * 1.03)), xlabel=chart.axis)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return figure


def _clouds(chart: Clouds, palette: Palette) -> Any:
    columns = min(2, max(1, len(chart.panels)))
    rows = -(-len(chart.panels) // columns)
    figure, grid = _figure(2.6 * rows + 0.2, columns, rows=rows)
    shaded = None
    for axes, panel in zip(grid.flat, chart.panels, strict=False):
        colour = {"c": panel.shade, "cmap": "viridis"} if panel.shade is not None else {"color": palette["s1"]}
        drawn = axes.scatter(*panel.points.T, s=3, linewidths=0, rasterized=True, **colour)
        shaded = drawn if panel.shade is not None else shaded
        axes.set(xticks=[], yticks=[])
        axes.set_title(_short(panel.title, 44), fontsize=8)
        axes.spines[:].set_visible(False)
    for axes in grid.flat[len(chart.panels) :]:
        axes.remove()
    if shaded is not None and chart.shading:
        figure.colorbar(
            shaded, ax=list(grid.flat[: len(chart.panels)]), label=chart.shading, location="bottom", aspect=40, shrink=0.7
        )
    return figure


def _whisker(axes: Any, mark: Mark, y: float, colour: str) -> None:
    axes.plot([mark.lo, mark.hi], [y, y], color=colour, linewidth=1.0, marker="|", markersize=4)


def _short(text: str, most: int = 30) -> str:
    """A name that leaves room for what it names."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _quoted(text: str) -> str:
    from html import escape

    return escape(text, quote=True)
