"""A report as one HTML page that needs nothing else: style, plots and pictures are in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import groupby

import numpy as np

from tmmsrec import values
from tmmsrec.data.dataset import Dataset
from tmmsrec.significance import Slice
from tmmsrec.study import plots
from tmmsrec.study.plots import Bar, Line
from tmmsrec.study.report import METRICS, Report, Row, SliceLine, comparisons, places, slice_lines
from tmmsrec.study.samples import Part, Sample, Shown
from tmmsrec.study.tables import ceiling, compared, seconds
from tmmsrec.study.words import facts, headline, plain, remarks

_GAPS = (("0", 1), ("1-3", 4), ("4-7", 8), ("8-14", 15), ("15-30", 31), ("31-60", 61), ("61-100", 101), ("101-365", 366))
FEWEST = 20  # users behind a dot
_MEANING = "HR@10 is the share of users whose next item is among the first ten; NDCG@10 also says how near the top it is."


def page(report: Report) -> str:
    """The page; everything that comes from the data is escaped."""
    colours = colours_of(report.rows, report.about)
    sections = [
        _result(report, colours),
        _samples(report.samples),
        _slices(report, colours),
        _curves(report, colours),
        _data(report.dataset),
        _provenance(report),
    ]
    style = files("tmmsrec.study").joinpath("page.css").read_text(encoding="utf-8")
    name = escape(report.dataset.name)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{name}: what comes next</title>'
        f"<style>{style}</style></head><body><main>"
        f'<header><p class="eyebrow">tmmsrec report</p><h1>What comes next in {name}</h1>'
        f'<p class="lead">{escape(headline(report))}</p></header>{"".join(s for s in sections if s)}</main></body></html>\n'
    )


def colours_of(rows: Sequence[Row], subject: Row) -> dict[str, str]:
    """Floors grey, the subject in the first colour, the other trained methods in the next ones."""
    others = [r.name for r in rows if not r.floor and r.name != subject.name]
    found = {r.name: "var(--floor)" for r in rows if r.floor}
    found |= {name: f"var(--s{2 + at % 5})" for at, name in enumerate(others)}
    return found | {subject.name: "var(--s1)"}


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _table(heads: Sequence[str], body: Sequence[str], kind: str = "") -> str:
    cells = "".join(f"<th>{escape(h)}</th>" for h in heads)
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{cells}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _row(first: str, cells: Sequence[str], kind: str = "") -> str:
    return f'<tr class="{kind}"><th scope="row">{first}</th>{"".join(f"<td>{c}</td>" for c in cells)}</tr>'


def _figure(svg: str, text: str = "", legend: Sequence[tuple[str, str]] = ()) -> str:
    keys = "".join(f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in legend)
    return f'<figure>{svg}<figcaption><div class="legend">{keys}</div>{escape(text)}</figcaption></figure>'


def _result(report: Report, colours: dict[str, str]) -> str:
    at = {m: places(report.rows, m) for m in METRICS}
    body = []
    for n, row in enumerate(report.rows):
        first_trained = not row.floor and n and report.rows[n - 1].floor
        cells = [*[_number(row, m, at[m]) for m in METRICS], seconds(row)]
        body.append(_row(escape(row.name), cells, "apart" if first_trained else ""))
    if report.ceiling:
        body.append(_row("best possible", [*[ceiling(report, m) for m in METRICS], ""], "apart faint"))
    drawn = []
    for m in METRICS:
        given = [_bar(r, m, colours[r.name], r.name == report.about.name) for r in report.rows]
        drawn.append(_figure(plots.bars(given, f"{m} on {report.users:,} test users", report.ceiling.get(m))))
    against = [_row(escape(name), cells) for name, *cells in compared(comparisons(report))]
    return _section(
        "Result",
        _table(["method", *[f"{m}, 95 % interval" for m in METRICS], "seconds"], body, "result"),
        f'<p class="note">Best in bold, second underlined; methods that need no training above the line. {_MEANING} '
        "Seconds: training and validation.</p>",
        f'<div class="figures">{"".join(drawn)}</div>',
        "<ul>" + "".join(f"<li>{escape(r)}</li>" for r in remarks(report)) + "</ul>",
        f"<h3>{escape(report.about.name)} against the others, on the same users</h3>",
        _table(["against", "NDCG@10 difference, 95 % interval", "p", "users better / worse / same"], against),
    )


def _bar(row: Row, metric: str, colour: str, strong: bool) -> Bar:
    return Bar(row.name, row.means[metric], row.intervals[metric].lo, row.intervals[metric].hi, colour, strong)


def _number(row: Row, metric: str, at: dict[str, int]) -> str:
    mean = f"{row.means[metric]:.4f}"
    mean = {1: f"<strong>{mean}</strong>", 2: f"<u>{mean}</u>"}.get(at.get(row.name, 0), mean)
    lo, hi = row.intervals[metric]
    return f'{mean} <span class="faint">{lo:.4f} to {hi:.4f}</span>'


def _samples(given: Sequence[Sample]) -> str:
    if not given:
        return ""
    names = list(dict.fromkeys(p.name for s in given for r in s.recommended for p in r.parts))
    legend = "".join(f'<span><i style="background:var(--m{1 + n % 4})"></i>{escape(m)}</span>' for n, m in enumerate(names))
    return _section(
        "Recommendations to look at",
        f'<p class="note">{len(given)} users drawn by lot, asked about just before their last event. Under each item: how much '
        "of its score comes from each modality (to the right for it, to the left against it). "
        "What the user really took next is framed.</p>"
        f'<div class="legend">{legend}</div>',
        *[_sample(s, names) for s in given],
    )


def _sample(sample: Sample, names: list[str]) -> str:
    earlier = f", and {sample.earlier:,} earlier" if sample.earlier else ""
    found = "" if any(r.hit for r in sample.recommended) else f", at place {sample.rank:,.0f}"
    largest = max([abs(p.share) for r in sample.recommended for p in r.parts] + [1e-9])
    cards = [
        f"<h3>User {escape(sample.user)}, {escape(sample.at)}</h3>",
        f'<p class="small">Had{earlier}:</p><ol class="items">{"".join(_item(i) for i in sample.history)}</ol>',
        f'<p class="small">Was given:</p><ol class="items">{"".join(_item(r, names, largest) for r in sample.recommended)}</ol>',
        f'<p class="small">Took{found}:</p><ol class="items">{_item(sample.taken)}</ol>',
    ]
    return f'<article class="sample">{"".join(cards)}</article>'


def _item(item: Shown, names: Sequence[str] = (), largest: float = 1.0) -> str:
    picture = f'<img src="{item.picture}" alt="" loading="lazy">' if item.picture else '<div class="blank">no picture</div>'
    shares = "".join(_share(p, names.index(p.name), largest) for p in item.parts)
    title = escape(item.title or item.item)
    return (
        f'<li class="{"hit" if item.hit else ""}">{picture}<b title="{escape(item.item, quote=True)}">{title}</b>'
        f'<span class="faint">{escape(item.note)}</span>{shares}</li>'
    )


def _share(part: Part, at: int, largest: float) -> str:
    width = 50 * abs(part.share) / largest
    left = 50 if part.share >= 0 else 50 - width
    said = escape(f"{part.name}: {part.share:+.2f}", quote=True)
    style = f"left:{left:.1f}%;width:{width:.1f}%;background:var(--m{1 + at % 4})"
    return f'<div class="share" title="{said}"><i style="{style}"></i></div>'


def _slices(report: Report, colours: dict[str, str]) -> str:
    lines = slice_lines(report.tables)
    trained = [r.name for r in report.rows if not r.floor]
    shown = [report.about.name, *[n for n in trained if n != report.about.name][-2:]]
    if report.best_floor is not None and report.best_floor.name not in shown:
        shown.append(report.best_floor.name)
    # A dot for a handful of users would only stretch the axis; the table below has them all.
    enough = [x for x in lines if x.users >= FEWEST] or lines
    halves = _halved([(by, list(each)) for by, each in groupby(enough, key=lambda x: x.by)])
    drawn = [_figure(plots.dots([(by, _dots(each, shown, colours)) for by, each in half], "HR@10")) for half in halves if half]
    body = [_row(escape(f"{x.by}: {x.label}"), [f"{x.users:,}", *[f"{s.mean:.3f}" for s in x.methods.values()]]) for x in lines]
    legend = "".join(f'<span><i style="background:{colours[n]}"></i>{escape(n)}</span>' for n in shown)
    return _section(
        "For whom it works",
        f'<div class="legend">{legend}</div><div class="figures">{"".join(drawn)}</div>',
        f'<p class="note">Groups of at least {FEWEST} users, 95 % intervals.</p>',
        "<details><summary>All methods and groups, HR@10</summary>"
        + _table(["users grouped by", "users", *[r.name for r in report.rows]], body)
        + "</details>",
    )


def _halved(given: list[tuple[str, list[SliceLine]]]) -> list[list[tuple[str, list[SliceLine]]]]:
    """Two columns of about equal length."""
    total, held = sum(len(each) for _, each in given), 0
    halves: list[list[tuple[str, list[SliceLine]]]] = [[], []]
    for by, each in given:
        halves[0 if held < total / 2 and not halves[1] else 1].append((by, each))
        held += len(each)
    return halves


def _dots(lines: list[SliceLine], shown: list[str], colours: dict[str, str]) -> list[tuple[str, int, list[Bar]]]:
    return [(x.label, x.users, [_dot(n, x.methods[n], colours[n]) for n in shown]) for x in lines]


def _dot(name: str, of: Slice, colour: str) -> Bar:
    return Bar(name, of.mean, of.interval.lo, of.interval.hi, colour)


def _curves(report: Report, colours: dict[str, str]) -> str:
    trained = [r for r in report.rows if not r.floor and r.run.history]
    if not trained:
        return ""
    metric = trained[0].run.job.training.metric
    legend = [(r.name, colours[r.name]) for r in trained]
    drawn = []
    for what, label in (("validation", f"validation {metric}"), ("loss", "training loss")):
        curves = [_curve(r, what, colours[r.name]) for r in trained]
        drawn.append(_figure(plots.lines([c for c in curves if c.points], "epoch", label), legend=legend))
    text = '<p class="note">The dot marks the epoch whose weights were kept: the best in validation.</p>'
    return _section("How training went", f'<div class="figures">{"".join(drawn)}</div>', text)


def _curve(row: Row, what: str, colour: str) -> Line:
    points = [(float(h["epoch"]) + 1, float(h[what])) for h in row.run.history if h[what] is not None]
    best = next((n for n, p in enumerate(points) if p[0] == row.run.about["fit"]["best_epoch"] + 1), -1)
    return Line(row.name, tuple(points), colour, best)


def _data(dataset: Dataset) -> str:
    body = [_row(escape(k), [escape(v)]) for k, v in facts(dataset).items()]
    axes = ("days between neighbouring events of a user", "share of neighbouring events")
    figure = _figure(plots.columns(gap_shares(dataset), *axes))
    return _section("The data", f'<div class="figures">{figure}{_table(["", ""], body, "facts")}</div>')


def gap_shares(dataset: Dataset) -> dict[str, float]:
    """Days between neighbouring events of a user -> share of all such neighbours."""
    log = dataset.interactions
    inside = np.ones(max(0, len(log) - 1), dtype=bool)
    ends = log.offsets[1:-1] - 1
    inside[ends[(ends >= 0) & (ends < len(inside))]] = False
    days = np.diff(log.times)[inside] // 86_400
    which = np.digitize(days, [edge for _, edge in _GAPS])
    counts = np.bincount(which, minlength=len(_GAPS) + 1) / max(1, len(days))
    return dict(zip([*[n for n, _ in _GAPS], "> 365"], counts.tolist(), strict=True))


def _provenance(report: Report) -> str:
    first = report.rows[0].run
    lines = {
        "Versions": plain(first.about["versions"]),
        "Seed": str(first.job.seed),
        "Dataset fingerprint": report.dataset.fingerprint,
        **{f"Features: {n}": plain(f.provenance) for n, f in sorted(report.dataset.features.items())},
        **{f"Run: {r.name}": f"{r.run.folder.name}, {int(r.run.about['parameters']):,} parameters" for r in report.rows},
    }
    body = [_row(escape(k), [escape(v)]) for k, v in lines.items()]
    job = json.dumps(values.to_json(report.about.run.job), indent=2, ensure_ascii=False)
    return _section(
        "Where it comes from",
        "<details><summary>Versions, seeds, runs, features</summary>" + _table(["", ""], body, "facts") + "</details>",
        f"<details><summary>{escape(report.about.name)}, the whole value</summary><pre>{escape(job)}</pre></details>",
    )
