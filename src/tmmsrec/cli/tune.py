"""``tune``: settings of methods, tried with one budget and chosen on validation alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tmmsrec.cli import screen
from tmmsrec.cli.train import Protocol, Quiet, Seed, Seen, Sets, Trainings

SHOWN = 10


def tune(
    methods: Annotated[list[str], typer.Argument(metavar="METHOD...", help="One or more: see 'tmmsrec list methods'.")],
    dataset: Annotated[Path, typer.Argument(help="A Dataset folder.")],
    trials: Annotated[int, typer.Option(help="For each method: how many settings are tried, those stopped early among them.")] = 20,
    out: Annotated[Path, typer.Option(help="A folder for runs and tables; what is there is not done again.")] = Path("tune-out"),
    sets: Sets = None,
    training: Trainings = None,
    protocol: Protocol = "leave-one-out",
    exclude_seen: Seen = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Try settings of a method, choose by validation, and say how to test the best; the same command goes on where it stopped.

    What --set and --training name is the same in every trial.
    """
    from tmmsrec.data import split, store
    from tmmsrec.study import trials as told
    from tmmsrec.study.tune import tune as do
    from tmmsrec.study.tuning import Tuning

    data, cut = store.load(dataset), split.protocol(protocol)
    changes = tuple(sets or ()), tuple(training or ())
    asked = [Tuning(name, *changes, cut, seed, trials, exclude_seen) for name in dict.fromkeys(methods)]
    done = []
    store.make_folder(out)
    with screen.Screen(quiet=quiet) as listener:
        for one in asked:
            listener.stage(f"{one.name} on {data!r}")
            listener.note(f"searched: {', '.join(one.space)}")
            done.append(do(one, data, out, listener=listener))
            then = told.command(done[-1], dataset, out, protocol)
            store.atomic_text(out / f"{one.name}.md", told.page(done[-1], then))
            store.atomic_text(out / f"{one.name}.csv", told.every_trial(done[-1]))
    for tuned in done:
        name = tuned.tuning.name
        best = [(t.number, told.number(t.value), t.said, t.epochs, f"{t.seconds:,.1f}") for t in tuned.ranked[:SHOWN]]
        screen.say(f"{name}: {told.cost(tuned)}")
        _table(("trial", tuned.tuning.training.metric, "changes", "epochs", "seconds"), best)
        screen.say(f"every trial: {out / name}.md and .csv; to test the best:")
        screen.say(told.command(tuned, dataset, out, protocol))
    if len(done) > 1:
        store.atomic_text(out / "methods.md", told.together(done))
        screen.say(f"side by side, also in {out / 'methods.md'}:")
        _table(told.SUMMARY, map(told.summary, done))
    for budget in told.budgets(done):
        screen.tell(budget)


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from rich.markup import escape

    table = screen.table()
    for head in heads:
        words = head in ("method", "changes")
        table.add_column(head, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for row in rows:
        table.add_row(*[escape(str(cell)) for cell in row])
    screen.console().print(table)
