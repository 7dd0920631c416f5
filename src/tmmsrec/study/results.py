"""A finished study told: its report, its chapter of a document, and every run as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut, PaperLeak
from tmmsrec.study import published
from tmmsrec.study.blocks import Chapter, Document
from tmmsrec.study.gather import Results
from tmmsrec.study.report import Report
from tmmsrec.study.run import Run
from tmmsrec.study.study import Entrant, Setting, Study
from tmmsrec.study.telling import chapter


def document(done: Sequence[Results]) -> Document:
    """Studies told, a chapter for each study on each dataset."""
    titles = list(dict.fromkeys(r.study.title for r in done))
    chapters = [chapter_of(r, with_title=len(titles) > 1) for r in done]
    return Document(titles[0] if len(titles) == 1 else f"What {len(titles)} studies found", chapters, kind="tmmsrec study")


def chapter_of(results: Results, with_title: bool = False) -> Chapter:
    """A study on a dataset."""
    name = results.dataset.name
    title = f"{results.study.title}, {name}" if with_title else name
    more = results.study.more(results) if results.study.more is not None else ()
    if not results.runs:
        return Chapter(title, more, repr(results.dataset))
    return chapter(report(results), title, more)


def report(results: Results) -> Report:
    """What is said of a study's runs."""
    study, runs = results.study, results.runs
    subject = study.subject if study.subject in runs else ""
    printed: dict[str, Mapping[str, float]] = {}
    if isinstance(study.split, LeaveOneOut | PaperLeak) and not study.exclude_seen:
        paper = published.dataset_of(results.dataset)
        printed = {n: published.printed(paper, where) for n, where in study.printed.items() if paper and n in runs}
    chosen = {name: setting.said for name, setting in results.chosen.items()}
    return Report(
        results.dataset,
        runs,
        subject,
        notes=_notes(results),
        chosen=chosen,
        printed={n: found for n, found in printed.items() if found},
        sweeps=study.sweeps,
        parts={part: pair for part, pair in study.parts.items() if set(pair) <= set(runs)},
    )


def _notes(results: Results) -> list[str]:
    study = results.study
    held = {n: e for n, e in study.entrants.items() if n in results.runs}
    said = [*(_told_of_trained(results, held)), *study.remarks]
    for name, entrant in held.items():
        if not entrant.method.learned and len(entrant.grid) > 1:
            said.append(f"{name}: the best of {len(entrant.grid)} settings in validation.")
    return said


def _told_of_trained(results: Results, held: Mapping[str, Entrant]) -> list[str]:
    grids = {len(e.grid) for n, e in held.items() if results.runs[n][0].about["parameters"]}
    if not grids:
        return []
    settings = f"{' or '.join(map(str, sorted(grids)))} settings each" + (", one budget for all" if len(grids) == 1 else "")
    seeds = "1 seed" if results.study.seeds == 1 else f"{results.study.seeds} seeds"
    needless = f" (and by {results.needless} of settings not chosen; the choice did not look)" if results.needless else ""
    return [
        f"Trained methods: {seeds} of the setting that did best in validation (seed 0) among {settings}; "
        f"the test part was opened once by each of their runs{needless}."
    ]


def of_runs(named: Sequence[tuple[str, Run]], dataset: Dataset) -> Results:
    """Runs that were named one by one, as if a study had asked for them; those that differ in their seed alone are one method's.

    Raises:
        DataProblem: a run on other data, or not tested.
    """
    found: dict[str, list[Run]] = {}
    for name, run in named:
        trained_on = {k: v for k, v in run.about["dataset"].items() if k.startswith("#")}
        if trained_on != {k: v for k, v in dataset.table2().items() if k.startswith("#")}:
            raise DataProblem(f"{run.folder} was not trained on {dataset!r}")
        found.setdefault(_apart(name, run, found), []).append(run)
    chosen = {name: Setting(runs[0].job.method, runs[0].job.training) for name, runs in found.items()}
    asked = Study(
        f"{len(named)} runs",
        {name: Entrant(setting.method, setting.training) for name, setting in chosen.items()},
        seeds=max(len(runs) for runs in found.values()),
        split=named[0][1].job.split,
        exclude_seen=named[0][1].job.exclude_seen,
    )
    return Results(asked, dataset, named[0][1].folder.parent, chosen, found, {})


def _apart(name: str, run: Run, found: Mapping[str, Sequence[Run]]) -> str:
    """The name under which a run stands: a number is added where another training has taken it."""
    number, shown = 1, name
    while shown in found and dataclasses.replace(found[shown][0].job, seed=run.job.seed) != run.job:
        number += 1
        shown = f"{name} ({number})"
    return shown


_FIRST = b"study,dataset,fingerprint,method,seed,"


def every_run(done: Sequence[Results]) -> str:
    """Every chosen run of some studies as CSV: dataset, name, seed, results, costs, versions and the whole value as JSON."""
    rows = [_as_row(results, name, run) for results in done for name, runs in results.runs.items() for run in runs]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def is_every_run(file: Path) -> bool:
    """Whether a file holds what ``every_run`` writes, of this version or another, or nothing."""
    with file.open("rb") as text:
        first = text.read(len(_FIRST))
    return first in (_FIRST, b"", b"\n")


def _as_row(results: Results, name: str, run: Run) -> dict[str, object]:
    about = run.about
    return {
        "study": results.study.title,
        "dataset": results.dataset.name,
        "fingerprint": about["dataset"]["fingerprint"],
        "method": name,
        "seed": run.job.seed,
        **about["result"],
        **{f"lists: {what.replace('_', ' ')}": value for what, value in about.get("lists", {}).items()},
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
