"""A report as text: a table for the terminal, and Markdown."""

from __future__ import annotations

from collections.abc import Callable

from rich.markup import escape
from rich.table import Table

from tmmsrec.significance import Comparison
from tmmsrec.study.report import METRICS, Report, Row, SliceLine, comparisons, places, slice_lines
from tmmsrec.study.words import facts, headline, remarks

Mark = Callable[[str, int], str]


def number(row: Row, metric: str) -> str:
    """A mean with its interval, "0.4120 [0.373, 0.451]"."""
    return f"{row.means[metric]:.4f} [{row.intervals[metric].lo:.3f}, {row.intervals[metric].hi:.3f}]"


def seconds(row: Row) -> str:
    """Training time; a dash where there was no training."""
    return "-" if row.floor else f"{row.seconds:,.1f}"


def cells(report: Report, row: Row, mark: Mark) -> list[str]:
    """The cells of a row, first and second places marked."""
    marked = [mark(number(row, m), places(report.rows, m).get(row.name, 0)) for m in METRICS]
    return [*marked, seconds(row)]


def terminal(report: Report) -> Table:
    """The table for the terminal: best bold, second underlined, floors and trained methods apart, the ceiling last."""

    def mark(text: str, place: int) -> str:
        style = {1: "bold", 2: "underline"}.get(place)
        text = escape(text)
        return f"[{style}]{text}[/{style}]" if style else text

    table = Table(title=None, header_style="bold")
    table.add_column("method", no_wrap=True)
    for metric in METRICS:
        table.add_column(f"{metric} [95 % interval]".replace("[", "\\["), justify="right", no_wrap=True)
    table.add_column("seconds", justify="right")
    for at, row in enumerate(report.rows):
        last_floor = row.floor and at + 1 < len(report.rows) and not report.rows[at + 1].floor
        last = at + 1 == len(report.rows) and bool(report.ceiling)
        table.add_row(escape(row.name), *cells(report, row, mark), end_section=last_floor or last)
    if report.ceiling:
        table.add_row("best possible", *[ceiling(report, m) for m in METRICS], "")
    return table


def ceiling(report: Report, metric: str) -> str:
    """What the best possible scorer earns, "" where nobody knows."""
    return f"{report.ceiling[metric]:.4f}" if metric in report.ceiling else ""


def slices_terminal(lines: list[SliceLine], title: str) -> Table:
    """Slices by method for the terminal."""
    table = Table(title=title, header_style="bold", title_justify="left")
    table.add_column("users grouped by")
    table.add_column("users", justify="right")
    for name in lines[0].methods:
        table.add_column(escape(name), justify="right")
    for at, line in enumerate(lines):
        ends = at + 1 < len(lines) and lines[at + 1].by != line.by
        shown = [f"{s.mean:.3f} ({s.interval.lo:.3f}-{s.interval.hi:.3f})" for s in line.methods.values()]
        table.add_row(f"{line.by}: {line.label}", f"{line.users:,}", *shown, end_section=ends)
    return table


def markdown(report: Report) -> str:
    """The whole report as Markdown."""

    def mark(text: str, place: int) -> str:
        return {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(place, text)

    heads = ["method", *[f"{m} (95 % interval)" for m in METRICS], "seconds"]
    body = [[cell(r.name), *cells(report, r, mark)] for r in report.rows]
    if report.ceiling:
        body.append(["*best possible*", *[ceiling(report, m) for m in METRICS], ""])
    pieces = [
        f"# {report.dataset.name}",
        headline(report),
        markdown_table(heads, body),
        "\n".join(f"- {cell(r)}" for r in remarks(report)),
        f"## {report.about.name} against the others, NDCG@10 on the same users",
        markdown_table(["against", "difference (95 % interval)", "p", "better / worse / same"], compared(comparisons(report))),
        "## HR@10 by groups of test users",
        _sliced(slice_lines(report.tables)),
        "## The data",
        markdown_table(["", ""], [[k, cell(v)] for k, v in facts(report.dataset).items()]),
    ]
    return "\n\n".join(pieces) + "\n"


def probability(p: float) -> str:
    """A p-value, "0.0359"; tiny ones only as such."""
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def compared(found: dict[str, Comparison]) -> list[list[str]]:
    """Rows of the paired comparison: name, difference with interval, p, wins and losses."""
    return [
        [
            name,
            f"{c.difference:+.4f} [{c.interval.lo:+.4f}, {c.interval.hi:+.4f}]",
            probability(c.p),
            f"{c.wins:,} / {c.losses:,} / {c.users - c.wins - c.losses:,}",
        ]
        for name, c in found.items()
    ]


def _sliced(lines: list[SliceLine]) -> str:
    heads = ["grouped by", "group", "users", *lines[0].methods]
    return markdown_table(heads, [[x.by, x.label, f"{x.users:,}", *[f"{s.mean:.3f}" for s in x.methods.values()]] for x in lines])


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def markdown_table(heads: list[str], body: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
