"""``study``: methods side by side, tuned alike on validation alone, with several seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tmmsrec.cli import screen
from tmmsrec.cli.train import Protocol, Quiet, Seen


def study(
    name: Annotated[str, typer.Argument(help="A study: see 'tmmsrec list studies'.")],
    datasets: Annotated[list[Path], typer.Argument(help="Dataset folders; each gets a table of its own.")],
    out: Annotated[Path, typer.Option(help="A folder for runs and tables; what is there is not done again.")] = Path("study-out"),
    seeds: Annotated[int | None, typer.Option(help="Seeds of each chosen setting; the study's own number by default.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only these entrants and the floors (may be repeated).")] = None,
    processes: Annotated[int, typer.Option(help="Runs side by side, each with an equal share of the cores.")] = 1,
    training: Annotated[list[str] | None, typer.Option("--training", help="A field of every training: epochs=5.")] = None,
    protocol: Protocol = "leave-one-out",
    exclude_seen: Seen = False,
    quick: Annotated[bool, typer.Option("--quick", help="Narrow, short, one seed, no tuning: only a look.")] = False,
    quiet: Quiet = False,
) -> None:
    """Do a study, go on with one that was stopped, and write its tables to OUT/NAME.md and every run to OUT/NAME.csv."""
    from dataclasses import replace

    from tmmsrec import studies
    from tmmsrec.data import split, store
    from tmmsrec.study.conduct import conduct
    from tmmsrec.study.results import every_run, markdown

    asked = studies.named(name).only(method).changed(training or [])
    asked = replace(asked, split=split.protocol(protocol), exclude_seen=exclude_seen)
    asked = asked.quick() if quick else asked
    asked = replace(asked, seeds=seeds) if seeds is not None else asked
    done = []
    for folder in datasets:
        dataset = store.load(folder)
        with screen.Screen(quiet=quiet) as listener:
            listener.stage(f"{name} on {dataset!r}")
            done.append(conduct(asked, dataset, out / "runs", processes=processes, listener=listener))
    text = "\n".join([f"# {asked.title}\n", *map(markdown, done)])
    file = out / f"{name}.md"
    store.atomic_text(file, text)
    store.atomic_text(file.with_suffix(".csv"), every_run(done))
    screen.say(text)
    screen.say(f"written to {file}; every run with its value, seed, revision and versions in {file.with_suffix('.csv')}")
