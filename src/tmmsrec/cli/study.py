"""``study``: methods side by side, tuned alike on validation alone, with several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmmsrec.cli import screen
from tmmsrec.cli.train import Protocol, Quiet, Seen

if TYPE_CHECKING:
    from tmmsrec.study.gather import Results


def study(
    name: Annotated[str, typer.Argument(help="A study (see 'tmmsrec list studies'), or 'all' of them.")],
    datasets: Annotated[list[Path] | None, typer.Argument(help="Dataset folders; each gets a table of its own.")] = None,
    data: Annotated[list[Path] | None, typer.Option("--data", help="The same, as an option.")] = None,
    out: Annotated[Path, typer.Option(help="A folder for runs and tables; what is there is not done again.")] = Path("study-out"),
    seeds: Annotated[int | None, typer.Option(help="Seeds of each chosen setting; the study's own number by default.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only these entrants and the floors (may be repeated).")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "--processes", help="Runs side by side; each has its share of the cores.")] = 1,
    training: Annotated[list[str] | None, typer.Option("--training", help="A field of every training: epochs=5.")] = None,
    protocol: Protocol = "leave-one-out",
    exclude_seen: Seen = False,
    quick: Annotated[bool, typer.Option("--quick", help="Narrow, short, one seed, no tuning: only a look.")] = False,
    quiet: Quiet = False,
) -> None:
    """Do a study, go on with one that was stopped, and tell it in OUT/NAME.html, .md, .tex and .csv, with its charts."""
    from tmmsrec import studies
    from tmmsrec.data import store
    from tmmsrec.data.problems import DataProblem
    from tmmsrec.study.asked import Asked
    from tmmsrec.study.conduct import conduct

    folders = [*(datasets or []), *(data or [])]
    if not folders:
        raise DataProblem("a study needs a Dataset folder: tmmsrec study NAME DATASET (see 'tmmsrec prepare')")
    for one in studies.names() if name == "all" else [name]:
        asked = Asked(
            one, tuple(str(f) for f in folders), seeds, tuple(method or ()), tuple(training or ()), protocol, exclude_seen, quick
        )
        what = asked.of(studies.named(one))
        store.make_folder(out)
        done = []
        for folder in folders:
            dataset = store.load(folder)
            with screen.Screen(quiet=quiet) as listener:
                listener.stage(f"{one} on {dataset!r}")
                done.append(conduct(what, dataset, out / "runs", processes=jobs, listener=listener))
        asked.keep(out)
        _told(one, done, out)


def _told(name: str, done: Sequence[Results], out: Path) -> None:
    from tmmsrec.data import store
    from tmmsrec.study.publish import publish
    from tmmsrec.study.results import document, every_run

    told = document(done)
    screen.show(told)
    files = publish(told, out / name)
    if any(results.runs for results in done):
        files.append(out / f"{name}.csv")
        store.atomic_text(files[-1], every_run(done))
    shown = ", ".join(str(f) for f in files if f.parent == out)
    charts = sum(f.parent != out for f in files)
    screen.say(f"\nwritten: {shown}" + (f", and {charts} files of charts in {out / 'figures'}" if charts else ""))
