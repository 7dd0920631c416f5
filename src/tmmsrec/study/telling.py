"""A report in words, tables and charts: the sections that every way of showing it shares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa

from tmmsrec import values
from tmmsrec.data.dataset import Dataset
from tmmsrec.study.blocks import Beside, Block, Cell, Chapter, Code, Facts, Figure, Fold, Gallery, Points, Section, Table, Text
from tmmsrec.study.charts import COLOURS, Bars, Columns, Curve, Dots, Group, Lines, Mark
from tmmsrec.study.gaps import gap_shares
from tmmsrec.study.listing import lists_table
from tmmsrec.study.report import METRICS, Report, Row, Versus, against_floor, against_others, places, with_and_without
from tmmsrec.study.slices import SliceLine, groups, kinds, slice_lines
from tmmsrec.study.spelling import plain, probability, signed
from tmmsrec.study.study import Sweep
from tmmsrec.study.words import facts, headline, remarks

FEWEST = 20  # users behind a dot
SHOWN = 5  # curves in one chart
_MEANING = "HR@10 is the share of users whose next item is among the first ten; NDCG@10 also says how near the top it is."


def chapter(report: Report, title: str = "", more: Sequence[Section] = ()) -> Chapter:
    """Everything that is told of a report; ``more`` are a study's own sections."""
    sections = [Section("Result", [*result(report), *comparisons(report)]), *more]
    if report.sweeps:
        sections.append(Section("Step by step", [sweep(report, s, n) for n, s in enumerate(report.sweeps)]))
    if report.samples:
        sections.append(Section("Recommendations to look at", [Gallery(report.samples)]))
    sections.append(Section("For whom it works", for_whom(report)))
    told = {r.name: [run.about.get("lists", {}) for run in r.runs] for r in report.rows}
    if (shown := lists_table(told, _floors_end(report), n_items=report.dataset.n_items)) is not None:
        sections.append(Section("What the lists are like", [shown]))
    if report.trained:
        sections += [Section("How training went", curves(report)), Section("What it cost", [costs(report)])]
    sections += [Section("The data", about_data(report.dataset)), Section("Where it comes from", provenance(report))]
    return Chapter(title or f"What comes next in {report.dataset.name}", sections, headline(report))


def result(report: Report) -> list[Block]:
    """The table, its charts, and what a reader must know of them."""
    drawn = []
    for m in METRICS:
        marks = tuple(_bar(r, m, colours(report)[r.name], r.name == report.about.name) for r in report.rows)
        drawn.append(Figure(Bars(marks, f"{m} on {report.users:,} test users", report.ceiling.get(m)), m.replace("@", "").lower()))
    return [main_table(report), Beside(drawn), Points(remarks(report))]


def main_table(report: Report) -> Table:
    """Means with intervals, the paper's beside them where it prints any, and seconds; the ceiling last."""
    beside = METRICS if report.printed else ()
    at = {m: places(report.rows, m) for m in METRICS}
    rows: list[list[Cell | str]] = []
    for r in report.rows:
        ours = [_mean(r, m, at[m].get(r.name, 0)) for m in METRICS]
        papers = [f"{report.printed[r.name][m]:.4f}" if m in report.printed.get(r.name, {}) else "-" for m in beside]
        rows.append([r.name, *ours, *papers, "-" if r.floor else f"{r.seconds:,.1f}"])
    rules = _floors_end(report)
    if report.ceiling:
        rules |= {len(rows)}
        best = [f"{report.ceiling[m]:.4f}" if m in report.ceiling else "" for m in METRICS]
        rows.append(["best possible", *best, *["" for _ in beside], ""])
    note = f"Best in bold, second underlined; what needs no training above the line. {_MEANING} Seconds: training and validation."
    heads = ["method", *[f"{m} [95 % interval]" for m in METRICS], *[f"paper's {m}" for m in beside], "seconds"]
    return Table(heads, rows, rules, note, "result")


def _floors_end(report: Report) -> frozenset[int]:
    floors = sum(r.floor for r in report.rows)
    return frozenset({floors} if 0 < floors < len(report.rows) else ())


def _mean(of: Row, metric: str, place: int) -> Cell:
    lo, hi = of.intervals[metric]
    return Cell(f"{of.means[metric]:.4f}", place, f"[{lo:.3f}, {hi:.3f}]")


def _bar(of: Row, metric: str, colour: str, strong: bool) -> Mark:
    return Mark(of.name, of.means[metric], of.intervals[metric].lo, of.intervals[metric].hi, colour, strong)


def colours(report: Report) -> dict[str, str]:
    """Floors grey, the subject in the first colour, the other trained methods in the next ones."""
    others = [r.name for r in report.trained if r.name != report.about.name]
    found = {r.name: "floor" for r in report.rows if r.floor}
    found |= {name: f"s{2 + at % (COLOURS - 1)}" for at, name in enumerate(others)}
    return found | {report.about.name: "s1"}


def comparisons(report: Report) -> list[Block]:
    """The subject against the others, and everyone who was trained against the best floor; NDCG@10 on the same users."""
    subject, floor = report.about, report.best_floor
    found: list[Block] = []
    if len(report.rows) > 1:
        others = versus_table(against_others(report), f"{subject.name} against", "against-others")
        found += [Text(f"{subject.name} against the others, NDCG@10 on the same users:"), others]
    if floor is not None and len(report.trained) > 1:
        each = versus_table(against_floor(report), "method", "against-floor")
        found += [Text(f"Everyone who was trained against the best floor, {floor.name}, in the same way:"), each]
    if report.parts:
        parts = versus_table(with_and_without(report), "part", "parts")
        found += [Text("What each part is worth, the method with it against the same without it, in the same way:"), parts]
    if found:
        seeds = (
            "sign flips over users"
            if report.seeds == 1
            else "over users and seeds, which are crossed (t with Satterthwaite's degrees)"
        )
        found.append(Text(f"p: paired test, {seeds}, Holm-corrected over each table. d: Cohen's d of the pairs."))
    return found


def versus_table(found: Mapping[str, Versus], first: str, label: str) -> Table:
    """Differences with intervals, tests and counts."""
    heads = [first, "difference [95 % interval]", "relative", "p", "d", "users better / worse / same"]
    rows: list[list[Cell | str]] = [
        [
            name,
            Cell(signed(v.found.difference), 0, f"[{signed(v.found.interval.lo)}, {signed(v.found.interval.hi)}]"),
            signed(v.improvement, ".1%") if np.isfinite(v.improvement) else "-",
            probability(v.p),
            signed(v.found.effect, ".2f"),
            f"{v.found.wins:,} / {v.found.losses:,} / {v.found.users - v.found.wins - v.found.losses:,}",
        ]
        for name, v in found.items()
    ]
    return Table(heads, rows, label=label)


def sweep(report: Report, asked: Sweep, at: int) -> Block:
    """Both metrics over what was changed step by step, with intervals, beside the best floor."""
    by_name = {r.name: r for r in report.rows}
    steps = [(x, by_name[name]) for name, x in asked.steps.items() if name in by_name]
    drawn = []
    for m in METRICS:
        points = tuple((x, r.means[m]) for x, r in steps)
        band = tuple((r.intervals[m].lo, r.intervals[m].hi) for _, r in steps)
        floor = report.best_floor
        level, said = (floor.means[m], f"best floor: {floor.name}") if floor is not None else (None, "")
        chart = Lines((Curve(asked.axis, points, "s1", band=band),), asked.axis, m, level, said, tuple(x for x, _ in steps))
        drawn.append(Figure(chart, f"sweep-{at + 1}-{m.replace('@', '').lower()}"))
    return Beside(drawn)


def for_whom(report: Report) -> list[Block]:
    """Hits by kind of target, charts of groups for a few methods, and a table of all."""
    first = report.rows[0].first.table
    tables: dict[str, list[pa.Table]] = {r.name: [run.table for run in r.runs] for r in report.rows}
    lines = slice_lines(tables, groups(first, report.dataset))
    shown = [r.name for r in _few(report, 3)]
    # A dot for a handful of users would only stretch the axis; the table below has them all.
    enough = [x for x in lines if x.users >= FEWEST] or lines
    halves = _halved([(by, list(each)) for by, each in groupby(enough, key=lambda x: x.by)])
    drawn = [
        Figure(Dots({by: _dots(each, shown, colours(report)) for by, each in half}, "HR@10"), f"groups-{n + 1}")
        for n, half in enumerate(halves)
        if half
    ]
    return [
        by_kind(tables, _floors_end(report)),
        Fold("The same in NDCG@10", [by_kind(tables, _floors_end(report), "NDCG@10")]),
        Beside(drawn),
        Text(f"Drawn: groups of at least {FEWEST} users, means over users and seeds with 95 % intervals."),
        Fold("All methods and groups, HR@10", [slices_table(lines)]),
    ]


def slices_table(lines: Sequence[SliceLine], *, intervals: bool = False) -> Table:
    """A line for each group of test users: how many, and each method's mean, with its interval where that is asked for."""
    rows: list[list[Cell | str]] = []
    for x in lines:
        means = [Cell(f"{s.mean:.3f}", 0, "[{:.3f}, {:.3f}]".format(*s.interval) if intervals else "") for s in x.methods.values()]
        rows.append([f"{x.by}: {x.label}", f"{x.users:,}", *means])
    rules = frozenset(n for n in range(1, len(lines)) if lines[n].by != lines[n - 1].by)
    return Table(["users grouped by", "users", *lines[0].methods], rows, rules, label="groups")


def by_kind(tables: Mapping[str, Sequence[pa.Table]], rules: frozenset[int] = frozenset(), metric: str = "HR@10") -> Table:
    """A metric of every method by kind of target, those never seen in training among them."""
    lines = slice_lines(tables, {"": kinds(next(iter(tables.values()))[0])}, metric)
    rows: list[list[Cell | str]] = [
        [name, *[Cell(f"{x.methods[name].mean:.3f}", 0, "[{:.3f}, {:.3f}]".format(*x.methods[name].interval)) for x in lines]]
        for name in tables
    ]
    heads = [f"{metric} where the target is", *[f"{x.label} ({x.users:,} users)" for x in lines]]
    return Table(heads, rows, rules, label="kinds")


def _few(report: Report, most: int) -> list[Row]:
    """The subject, the best of the others that were trained, and the best floor."""
    others = sorted((r for r in report.trained if r.name != report.about.name), key=lambda r: -r.means["NDCG@10"])
    floor = [report.best_floor] if report.best_floor is not None and report.best_floor.name != report.about.name else []
    return [report.about, *others[: most - 1], *floor]


def _halved(given: list[tuple[str, list[SliceLine]]]) -> list[list[tuple[str, list[SliceLine]]]]:
    """Two columns of about equal length."""
    total, held = sum(len(each) for _, each in given), 0
    halves: list[list[tuple[str, list[SliceLine]]]] = [[], []]
    for by, each in given:
        halves[0 if held < total / 2 and not halves[1] else 1].append((by, each))
        held += len(each)
    return halves


def _dots(lines: list[SliceLine], shown: list[str], palette: Mapping[str, str]) -> tuple[Group, ...]:
    return tuple(
        Group(
            x.label,
            x.users,
            tuple(Mark(n, x.methods[n].mean, x.methods[n].interval.lo, x.methods[n].interval.hi, palette[n]) for n in shown),
        )
        for x in lines
    )


def curves(report: Report) -> list[Block]:
    """Validation and loss by epoch, of the first seed."""
    shown = [r for r in _few(report, SHOWN) if r.first.history]
    if not shown:
        return [Text("No epochs to show.")]
    drawn = []
    metric = shown[0].first.job.training.metric
    for what, label in (("validation", f"validation {metric}"), ("loss", "training loss")):
        found = tuple(c for c in (_curve(r, what, colours(report)[r.name]) for r in shown) if c.points)
        if found:
            drawn.append(Figure(Lines(found, "epoch", label), what))
    few = f" The subject and the best {SHOWN - 1} others of {len(report.trained)}." if len(report.trained) > SHOWN else ""
    return [Beside(drawn), Text(f"Seed 0. The dot marks the epoch whose weights were kept: the best in validation.{few}")]


def _curve(of: Row, what: str, colour: str) -> Curve:
    points = [(float(h["epoch"]) + 1, float(h[what])) for h in of.first.history if h[what] is not None]
    best = next((n for n, p in enumerate(points) if p[0] == of.first.about["fit"]["best_epoch"] + 1), -1)
    return Curve(of.name, tuple(points), colour, best)


def costs(report: Report) -> Table:
    """What was chosen, epochs, seconds, memory, parameters, and how far seeds lie apart."""
    heads = ["method", "chosen", "epochs", "seconds", "MB", "parameters", "NDCG@10 over seeds"]
    rows = []
    for r in report.trained:
        fits = [run.about["fit"] for run in r.runs]
        refit = ["refit"] if fits[0].get("refit") else []
        lo, hi = r.spread("NDCG@10")
        rows.append(
            [
                r.name,
                ", ".join([*filter(None, [report.chosen.get(r.name, "")]), *refit]) or "-",
                f"{np.median([fit['best_epoch'] + 1 for fit in fits]):.0f} of {np.median([fit['epochs'] for fit in fits]):.0f}",
                f"{r.seconds:,.1f}",
                f"{r.megabytes:,.0f}" if r.megabytes is not None else "-",
                f"{int(r.first.about['parameters']):,}",
                f"{lo:.4f} to {hi:.4f}" if len(r.runs) > 1 else "-",
            ]
        )
    note = (
        "Medians over seeds. Epochs: the one kept, of those trained. MB: the most that the process held, Python and torch included."
    )
    return Table(heads, rows, note=note, label="costs")


def about_data(dataset: Dataset) -> list[Block]:
    """What the data is, and how far neighbouring events lie apart."""
    axes = ("days between neighbouring events of a user", "share of neighbouring events")
    return [Beside([Figure(Columns({dataset.name: gap_shares(dataset)}, *axes), "gaps"), Facts(facts(dataset))])]


def provenance(report: Report) -> list[Block]:
    """Versions, seeds, runs, features, and the whole value of the subject."""
    first = report.rows[0].first
    lines = {
        "Versions": plain(first.about["versions"]),
        "Seeds": ", ".join(str(s) for s in sorted({run.job.seed for r in report.rows for run in r.runs})),
        "Dataset fingerprint": report.dataset.fingerprint,
        **{f"Features: {n}": plain(f.provenance) for n, f in sorted(report.dataset.features.items())},
        **{f"Runs: {r.name}": ", ".join(run.folder.name for run in r.runs) for r in report.rows},
    }
    job = json.dumps(values.to_json(report.about.first.job), indent=2, ensure_ascii=False)
    return [
        Fold("Versions, seeds, runs, features", [Facts(lines)]),
        Fold(f"{report.about.name}, the whole value", [Code(job)]),
    ]
