"""A contest told: as tables for the terminal and for Markdown, which say the same."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich import box
from rich.table import Table

from bench.neighbours.contest import Contest, Turn
from bench.neighbours.environments import OURS, OWN

COLUMNS = (
    "contender",
    "events/s",
    "quickest epoch",
    "per processor second",
    "ours is faster by",
    "by quickest epochs",
    "NDCG@10",
    "reaches the level in",
    "peak MB",
    "ranking",
    "import",
)

FIRST = ("contender", "events/s", "ours is faster by", "NDCG@10", "peak MB")  # where there is no room for all
ROOM = 150  # columns of a terminal that all of them need


def rows(contest: Contest) -> list[list[str]]:
    """Cells under ``COLUMNS``: the middle over rounds, with least and most where they differ."""
    return [_row(contest, name) for name in contest.names]


def _row(contest: Contest, name: str) -> list[str]:
    turns = contest.of(name)
    if not turns:
        return [name, "not measured", *[""] * (len(COLUMNS) - 2)]
    reached = [contest.seconds_to_level(turn) for turn in turns]
    return [
        name,
        _spread([t.events_per_second for t in turns], ",.0f"),
        _spread([t.quickest for t in turns], ",.0f"),
        _spread([t.events_per_processor_second for t in turns], ",.0f"),
        "" if name in OWN else _spread(contest.ratios(name), ".1f", " times"),
        "" if name in OWN else _spread(contest.ratios(name, lambda turn: turn.quickest), ".1f", " times"),
        _spread([t.test[t.best_epoch] for t in turns], ".3f"),
        "never" if None in reached else _spread([s for s in reached if s is not None], ".1f", " s"),
        _spread([float(t.peak_mb) for t in turns], ",.0f"),
        _spread([t.ranking_seconds for t in turns], ".2f", " s"),
        _spread([t.import_seconds for t in turns], ".1f", " s"),
    ]


def _spread(values: Sequence[float], how: str, unit: str = "") -> str:
    if not values:
        return ""
    middle, least, most = (f"{value:{how}}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle}{unit}" if least == most else f"{middle}{unit} ({least} to {most})"


def title(contest: Contest) -> str:
    """What was measured."""
    how, sizes = contest.setting, contest.sizes
    loss = "softmax cross-entropy" if how.loss == "ce" else "BCE, one negative"
    return (
        f"{contest.log}, {loss}: {sizes['users']:,} users, {sizes['items']:,} items, {sizes['events']:,} events; d={how.width}, "
        f"{how.blocks} blocks, {how.heads} head(s), length {how.length}, batch {how.batch}, dropout {how.dropout:g}, "
        f"lr {how.lr:g}, {how.epochs} epochs, {how.threads} threads"
    )


def verdict(contest: Contest, goal: float = 10.0) -> str:
    """Whether the goal is met against the fastest of the others, and by which NDCG."""
    if contest.fastest is None or not contest.of(OURS.name):
        return "nothing to compare"
    ratio = statistics.median(contest.ratios(contest.fastest))
    ours, theirs = (round(_ndcg(contest.of(name)), 3) for name in (OURS.name, contest.fastest))
    speed = f"{ratio:.1f} times the events/s of the fastest of the others ({contest.fastest}); goal {goal:g}: "
    speed += "met" if ratio >= goal else f"missed by {1 - ratio / goal:.0%}"
    return f"{speed}. NDCG@10 {ours:.3f} against {theirs:.3f}: {'no worse' if ours >= theirs else 'worse'}"


def _ndcg(turns: list[Turn]) -> float:
    return statistics.mean(turn.test[turn.best_epoch] for turn in turns)


def table(contest: Contest, width: int) -> Table:
    """For a terminal of so many columns; a narrow one gets the first of them, the rest stands in the files."""
    kept = COLUMNS if width >= ROOM else FIRST
    shown = Table(title=title(contest), caption=f"{_level(contest)}  {verdict(contest)}", box=box.SIMPLE_HEAD)
    for column in kept:
        shown.add_column(column, justify="left" if column == "contender" else "right")
    for row in rows(contest):
        cells = dict(zip(COLUMNS, row, strict=True))
        shown.add_row(*[cells[column] for column in kept], style="bold" if row[0] == OURS.name else "")
    return shown


def markdown(contest: Contest) -> str:
    """For a document."""
    lines = [f"**{title(contest)}**", "", _line(COLUMNS), _line(["---", *["--:"] * (len(COLUMNS) - 1)])]
    lines += [_line(row) for row in rows(contest)]
    return "\n".join([*lines, "", f"{_level(contest)} {verdict(contest)}."])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _level(contest: Contest) -> str:
    loads = [turn.load for turn in contest.turns if not turn.problem]
    load = f"{min(loads):.1f} to {max(loads):.1f}" if loads else "unknown"
    absent = {turn.contender: turn.problem for turn in contest.turns if turn.problem and not contest.of(turn.contender)}
    why = "".join(f" {name} was not measured: {problem}." for name, problem in absent.items())
    return f"The level is a validation NDCG@10 of {contest.level:.3f}; load of the machine by core {load}.{why}"
