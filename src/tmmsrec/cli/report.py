"""``report``: what studies or runs have found, told again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmmsrec.cli import screen

if TYPE_CHECKING:
    from tmmsrec.study.asked import Asked
    from tmmsrec.study.gather import Results


def report(
    where: Annotated[list[Path], typer.Argument(help="The OUT folder of studies; or run folders, asked the same, with --data.")],
    data: Annotated[Path | None, typer.Option(help="The Dataset folder of the runs, or of studies whose own has moved.")] = None,
    study: Annotated[list[str] | None, typer.Option(help="Only this study of the folder (may be repeated).")] = None,
    to: Annotated[list[Path] | None, typer.Option(help="Write FILE.html, .md, .tex or .csv instead of the terminal.")] = None,
) -> None:
    """Tell what was found, without doing anything anew: on the terminal, or as a page, Markdown, LaTeX or CSV."""
    from tmmsrec.data import store
    from tmmsrec.data.problems import DataProblem
    from tmmsrec.study.publish import SUFFIXES, publish
    from tmmsrec.study.results import document, every_run, is_every_run

    for file in to or []:
        if file.suffix not in (*SUFFIXES, ".csv"):
            raise DataProblem(f"{file}: a report is written as {', '.join(SUFFIXES)} or .csv")
        if file.suffix == ".csv" and file.exists() and not is_every_run(file):
            raise DataProblem(f"{file} is there and holds other data than a report's runs; choose another name")
    of_runs = all((folder / "run.json").exists() for folder in where)
    if of_runs and data is None:
        raise DataProblem("a report of runs needs their Dataset folder: --data DIR")
    done = [_of_runs(where, data)] if of_runs and data is not None else _gathered(where, study or [], data)
    told = document(done)
    if not to:
        screen.show(told)
    for file in to or []:
        if file.suffix == ".csv":
            store.atomic_text(file, every_run(done))
        else:
            publish(told, file.with_suffix(""), (file.suffix,))
        screen.say(f"written: {file}")


def _gathered(where: Sequence[Path], only: Sequence[str], data: Path | None) -> list[Results]:
    """The studies of a folder, as far as they are done."""
    from tmmsrec import studies
    from tmmsrec.data import store
    from tmmsrec.data.problems import DataProblem
    from tmmsrec.study.asked import kept
    from tmmsrec.study.gather import gather
    from tmmsrec.values import nearest

    found = []
    for out in where:
        asked: dict[str, Asked] = {a.name: a for a in kept(out)}
        for name in only:
            if name not in asked:
                raise DataProblem(f"{out} holds no study '{name}'{nearest(name, asked)}; it has {', '.join(asked)}")
        for name, one in asked.items():
            if only and name not in only:
                continue
            for folder in [str(data)] if data is not None else one.datasets:
                results = gather(one.of(studies.named(name)), store.load(Path(folder)), out / "runs")
                if results.runs or results.study.more is not None:
                    found.append(results)
                for method, runs in results.missing.items():
                    screen.say(f"{name} on {results.dataset.name}: {method} lacks {'one run' if runs == 1 else f'{runs} runs'}")
    return found


def _of_runs(folders: Sequence[Path], data: Path) -> Results:
    """Runs that were named one by one: those that differ in their seed alone are one method's."""
    from tmmsrec.cli.look import method_name
    from tmmsrec.data import store
    from tmmsrec.study.results import of_runs
    from tmmsrec.study.run import read_run

    runs = [read_run(folder) for folder in folders]
    return of_runs([(method_name(run.about["job"]["method"]), run) for run in runs], store.load(data))
