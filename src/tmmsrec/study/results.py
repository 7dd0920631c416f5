"""A finished study as a table: means over seeds, intervals over users and seeds, the floors, what was chosen and what it cost."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmmsrec import metrics, significance
from tmmsrec.data.split import LeaveOneOut, PaperLeak
from tmmsrec.study import published
from tmmsrec.study.conduct import Results
from tmmsrec.study.run import Run
from tmmsrec.study.tables import cell, markdown_table
from tmmsrec.study.words import protocol_of

METRICS = ("HR@10", "NDCG@10")
HEADS = ("method", *METRICS, "over seeds", "against the best floor", "p", "chosen", "epochs", "seconds", "MB", "parameters")
PAPER = ("paper's HR@10", "paper's NDCG@10")


@dataclass(frozen=True)
class Line:
    """One method's line.

    Attributes:
        name: shown.
        means: metric name -> mean over users and seeds.
        intervals: metric name -> 95 % interval over users and seeds.
        spread: least and largest mean NDCG@10 of a seed.
        floor: whether it needed no training.
        against: the paired comparison of NDCG@10 with the best floor; None for floors.
        p: of that comparison, by Holm corrected for the number of methods.
        chosen: the changes that did best in validation.
        runs: by seed.
        printed: metric name -> what the paper prints for it on these data; empty where it prints nothing.
    """

    name: str
    means: dict[str, float]
    intervals: dict[str, significance.Interval]
    spread: tuple[float, float]
    floor: bool
    against: significance.Comparison | None
    p: float
    chosen: tuple[str, ...]
    runs: Sequence[Run]
    printed: Mapping[str, float]


def lines(results: Results) -> list[Line]:
    """Floors first, in the study's order; the best floor is the one with the highest NDCG@10."""
    values = {name: {m: _values(runs, m) for m in METRICS} for name, runs in results.runs.items()}
    floors = [name for name, runs in results.runs.items() if not runs[0].about["parameters"]]
    best = max(floors, key=lambda name: values[name]["NDCG@10"].mean(), default=None)
    trained = [name for name in results.runs if name not in floors]
    found = {n: significance.paired_test(values[n]["NDCG@10"], values[best]["NDCG@10"]) for n in trained} if best else {}
    asked_alike = isinstance(results.study.split, LeaveOneOut | PaperLeak) and not results.study.exclude_seen
    paper = published.dataset_of(results.dataset) if asked_alike else None
    corrected = dict(zip(found, significance.holm([c.p for c in found.values()]), strict=True)) if found else {}
    return [
        Line(
            name=name,
            means={m: float(v.mean()) for m, v in values[name].items()},
            intervals={m: significance.interval(v) for m, v in values[name].items()},
            spread=_spread(values[name]["NDCG@10"]),
            floor=name in floors,
            against=found.get(name),
            p=float(corrected.get(name, np.nan)),
            chosen=results.chosen[name].changes,
            runs=results.runs[name],
            printed=published.printed(paper, results.study.printed[name]) if paper and name in results.study.printed else {},
        )
        for name in [*floors, *trained]
    ]


def _values(runs: Sequence[Run], metric: str) -> NDArray[np.float64]:
    """[S, U] of a metric."""
    return np.stack([metrics.parse(metric)(run.ranks) for run in runs])


def _spread(values: NDArray[np.float64]) -> tuple[float, float]:
    means = values.mean(axis=1)
    return float(means.min()), float(means.max())


def markdown(results: Results) -> str:
    """The table with what a reader must know of it."""
    found = lines(results)
    beside = PAPER if any(line.printed for line in found) else ()
    body = [[cell(text) for text in [*_cells(line), *(_of_paper(line) if beside else [])]] for line in found]
    data, study = results.dataset, results.study
    users = next(iter(results.runs.values()))[0].about["test_users"]
    trained = [e for n, e in study.entrants.items() if results.runs[n][0].about["parameters"]]
    how = protocol_of(next(iter(results.runs.values()))[0], [e.training.metric for e in trained])
    grids = sorted({len(e.grid) for e in trained})
    needless = f" (and by {results.needless} of settings not chosen; the choice did not look)" if results.needless else ""
    said = (
        f"{data!r}. {users:,} test users. {how} Trained methods: {study.seeds} seeds of the setting that did best in validation "
        f"(NDCG@10, seed 0) among {' or '.join(map(str, grids))} settings each; the test part was opened once by each of their "
        f"runs{needless}. Intervals: 95 %, users and seeds resampled together. p: paired sign flips over users against the best "
        "floor, Holm-corrected over the table. Seconds and memory: medians over seeds, one process each."
    )
    return f"## {data.name}\n\n{said}\n\n{markdown_table([*HEADS, *beside], body)}\n\n{_by_kind(found)}\n"


def kinds(run: Run) -> dict[str, NDArray[np.bool_]]:
    """The three kinds of target, each test user in one: bought again, new to the user, in nobody's training part."""
    again, cold = (run.table[name].to_numpy(zero_copy_only=False).astype(bool) for name in ("repeat", "cold"))
    return {"met before": again, "new to the user": ~again & ~cold, "in no training part": ~again & cold}


def _by_kind(found: Sequence[Line]) -> str:
    """HR@10 of every method by kind of target, with intervals over users and seeds."""
    which = {kind: users for kind, users in kinds(found[0].runs[0]).items() if users.any()}
    heads = ["HR@10 where the target is", *[f"{kind} ({int(users.sum()):,})" for kind, users in which.items()]]
    body = []
    for line in found:
        hits = _values(line.runs, "HR@10")
        each = [(hits[:, users].mean(), significance.interval(hits[:, users])) for users in which.values()]
        body.append([cell(line.name), *[f"{mean:.3f} [{within.lo:.3f}, {within.hi:.3f}]" for mean, within in each]])
    return markdown_table(heads, body)


def _cells(line: Line) -> list[str]:
    shown = [f"{line.means[m]:.4f} [{line.intervals[m].lo:.3f}, {line.intervals[m].hi:.3f}]" for m in METRICS]
    spread = "-" if len(line.runs) == 1 else f"{line.spread[0]:.4f} to {line.spread[1]:.4f}"
    against, p = "-", "-"
    if line.against is not None:
        against = f"{line.against.difference:+.4f} [{line.against.interval.lo:+.4f}, {line.against.interval.hi:+.4f}]"
        p = f"{line.p:.3f}" if line.p >= 0.001 else "< .001"
    refit = ["refit"] if line.runs[0].about["fit"].get("refit") else []
    chosen = ", ".join([c.removeprefix("training.").removeprefix("optimiser.") for c in line.chosen] + refit)
    epochs = "-" if line.floor else f"{np.median([r.about['fit']['best_epoch'] + 1 for r in line.runs]):.0f}"
    seconds = "-" if line.floor else f"{np.median([r.about['seconds']['fit'] for r in line.runs]):,.0f}"
    memory = [r.about["memory"]["peak_mb"] for r in line.runs if r.about.get("memory", {}).get("peak_mb")]
    megabytes = f"{np.median(memory):,.0f}" if memory else "-"
    parameters = f"{line.runs[0].about['parameters']:,}"
    return [line.name, *shown, spread, against, p, chosen or "-", epochs, seconds, megabytes, parameters]


def every_run(done: Sequence[Results]) -> str:
    """Every chosen run of some studies as CSV: dataset, name, seed, results, costs, versions and the whole value as JSON."""
    rows = [_as_row(results, name, run) for results in done for name, runs in results.runs.items() for run in runs]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _as_row(results: Results, name: str, run: Run) -> dict[str, object]:
    about = run.about
    return {
        "dataset": results.dataset.name,
        "fingerprint": about["dataset"]["fingerprint"],
        "method": name,
        "seed": run.job.seed,
        **about["result"],
        "validation": about["fit"]["best"],
        "epoch": about["fit"]["best_epoch"] + 1,
        "epochs": about["fit"]["epochs"],
        "refit": about["fit"]["refit"],
        "seconds": about["seconds"]["fit"],
        "ranking_seconds": about["seconds"]["rank"],
        "peak_mb": about.get("memory", {}).get("peak_mb"),
        "parameters": about["parameters"],
        **about["versions"],
        "run": run.folder.name,
        "job": json.dumps(about["job"], ensure_ascii=False),
    }


def _of_paper(line: Line) -> list[str]:
    return [f"{line.printed[m]:.4f}" if m in line.printed else "-" for m in METRICS]
