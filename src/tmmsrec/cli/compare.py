"""``compare``: one run against another, on the same users."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmmsrec.cli import screen

if TYPE_CHECKING:
    from tmmsrec.data.dataset import Dataset
    from tmmsrec.study.compare import Differences, Move


def compare(
    one: Annotated[Path, typer.Argument(help="A run folder.")],
    other: Annotated[Path, typer.Argument(help="Another, asked the same.")],
    data: Annotated[Path | None, typer.Option(help="Their Dataset folder, for the ids of users and items.")] = None,
    metric: Annotated[str, typer.Option(help="Of the groups and of the users named: HR@10, NDCG@20, ...")] = "NDCG@10",
    users: Annotated[int, typer.Option(help="How many users are named on each side.")] = 5,
) -> None:
    """The first run minus the second: by how much, how surely, in which groups, and for which users."""
    from tmmsrec.cli.look import method_name
    from tmmsrec.data import store
    from tmmsrec.data.problems import DataProblem
    from tmmsrec.study import compare as work
    from tmmsrec.study.run import read_run

    a, b = read_run(one), read_run(other)
    dataset = store.load(data) if data is not None else None
    if dataset is not None and dataset.fingerprint != a.about["dataset"]["fingerprint"]:
        raise DataProblem(f"{data} is not the data that {one} was trained on (another fingerprint)")
    found = work.compare(a, b, metric=metric, most=users)
    for mark, run in (("A", a), ("B", b)):
        screen.say(f"{mark}  {method_name(run.about['job']['method'])}, seed {run.job.seed}: {run.folder}")
    screen.console().print(_whole(found))
    screen.console().print(_grouped(found, metric))
    for title, moves in (("A places better", found.gained), ("B places better", found.lost)):
        if moves:
            screen.console().print(_moves(title, moves, dataset))
    if dataset is None:
        screen.tell("\nUsers and targets are told by their rows in the data; --data DATASET tells their ids.")
    screen.tell("\nd: Cohen's, of the pairs. A/B/same: users with whom A is better, B is better, neither is.")
    screen.tell("Intervals: 95 %, bootstrap over users. p: paired sign flips over users; over the groups Holm-corrected.")
    screen.tell("One seed each: the luck of training is not in these intervals; a study with several seeds has it.")


def _table(title: str, heads: list[str], left: int = 1) -> Any:
    table = screen.table(title)
    for at, head in enumerate(heads):
        table.add_column(head, justify="left" if at < left else "right", no_wrap=at >= left)
    return table


def _compared(one: Any, digits: int = 4) -> list[str]:
    from tmmsrec.study.spelling import probability

    return [
        f"{one.difference:+.{digits}f} [{one.interval.lo:+.{digits}f}, {one.interval.hi:+.{digits}f}]",
        probability(one.p),
        f"{one.effect:+.2f}",
        f"{one.wins}/{one.losses}/{one.users - one.wins - one.losses}",
    ]


def _whole(found: Differences) -> Any:
    table = _table("", ["metric", "A", "B", "A - B [95 % interval]", "p", "d", "A/B/same"])
    for name, one in found.whole.items():
        a, b = found.means[name]
        table.add_row(name, f"{a:.4f}", f"{b:.4f}", *_compared(one))
    return table


def _grouped(found: Differences, metric: str) -> Any:
    table = _table(f"{metric} by groups of test users", ["users with", "users", "A", "B", "A - B [95 % interval]", "p"])
    for at, one in enumerate(found.groups):
        if not at or found.groups[at - 1].by != one.by:
            table.add_row(f"[bold]{one.by}[/]")
        difference, p, *_ = _compared(one.compared, 3)
        means = [f"{mean:.3f}" for mean in one.means]
        table.add_row(f"  {one.label}", f"{one.compared.users:,}", *means, difference, p)
    return table


def _moves(title: str, moves: list[Move], dataset: Dataset | None) -> Any:
    from rich.markup import escape

    table = _table(title, ["user", "target", "what it is", "events", "days before", "place in A", "place in B"], left=3)
    for one in moves:
        user = str(one.user) if dataset is None else str(dataset.users[one.user])
        target = str(one.target) if dataset is None else str(dataset.catalog.ids[one.target])
        kind = "had before" if one.facts["repeat"] else "in no training" if one.facts["cold"] else "new to the user"
        gap = one.facts["gap_days"]
        days = "-" if gap != gap else f"{gap:,.0f}"
        places = [f"{rank + 1:,.1f}".removesuffix(".0") for rank in one.ranks]
        table.add_row(escape(user), escape(target), kind, f"{one.facts['length']:,}", days, *places)
    return table
