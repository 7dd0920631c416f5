"""``audit``: what a split may give away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tmmsrec.cli import screen
from tmmsrec.cli.train import Protocol

_STYLES = {"fine": "green", "know": "yellow", "leak": "bold red"}


def audit(
    dataset: Annotated[Path, typer.Argument(help="A Dataset folder.")],
    runs: Annotated[Path | None, typer.Option(help="A folder of runs, to count how often the test part was opened.")] = None,
    protocol: Protocol = "leave-one-out",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Leaks, and what else a reader of test results must know: order, duplicates, the future, unseen items, features, openings."""
    from dataclasses import asdict

    from rich.markup import escape
    from rich.table import Table

    from tmmsrec.data import store
    from tmmsrec.data.problems import DataProblem
    from tmmsrec.data.split import protocol as split_of
    from tmmsrec.study import audit as work

    if runs is not None and not runs.is_dir():
        raise DataProblem(f"{runs} is no folder of runs")
    split = split_of(protocol)
    data = store.load(dataset)
    found = work.audit(data, split, runs, screen.program())
    if as_json:
        typer.echo(json.dumps([asdict(f) for f in found], indent=2, ensure_ascii=False))
        return
    screen.tell(f"{data!r}. {split.said}.")
    table = Table(show_header=False, box=None, padding=(1, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in sorted(found, key=lambda f: list(_STYLES).index(f.verdict)):
        remedy = [f"[dim]->[/] {escape(one.remedy)}"] if one.remedy else []
        told = "\n".join([f"[bold]{escape(one.what)}[/]", escape(one.said), *remedy])
        table.add_row(f"[{_STYLES[one.verdict]}]{one.verdict}[/]", told)
    screen.console().print(table)
    screen.say()
    counts = {verdict: sum(f.verdict == verdict for f in found) for verdict in _STYLES}
    screen.say(f"{counts['leak']} {'leak' if counts['leak'] == 1 else 'leaks'}, {counts['know']} to know of, {counts['fine']} fine")
