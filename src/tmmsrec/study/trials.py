"""What is told of a tuning: its budget, its trials as a page and as CSV, and the command that trains and tests the best."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from tmmsrec import values
from tmmsrec.data.split import PaperLeak
from tmmsrec.study.render.markdown import grid
from tmmsrec.study.tuning import MARK, Trial, Tuned

COLUMNS = ("method", "data", "trial", "state", "validation", "epochs", "seconds", "changes", "same_as", "run", "job")
SUMMARY = ("method", "as it is", "best", "finished", "pruned", "epochs", "seconds")


def budgets(all_: Sequence[Tuned]) -> list[str]:
    """What each choice was allowed to cost and to see; methods with the same budget are named together."""
    found: dict[str, list[str]] = {}
    for tuned in all_:
        asked, how = tuned.tuning, tuned.tuning.training
        closed = "" if isinstance(asked.split, PaperLeak) else "; the test part stayed closed"
        seen = "; items the user has met are left out" if asked.exclude_seen else ""
        rows = f" of {how.rows:,} rows" if how.rows is not None else ""
        allowed = (
            f"{asked.trials} trials, each with seed {asked.seed} and at most {how.epochs} epochs{rows}, ended after {how.patience} "
            f"without a better value; chosen by {how.metric} of the validation part alone ({asked.split.said}{seen}){closed}."
        )
        found.setdefault(allowed, []).append(asked.name)
    return [f"Budget of {', '.join(names)}: {allowed}" for allowed, names in found.items()]


def cost(tuned: Tuned) -> str:
    """What the trials came to."""
    made = {"finished": "finished", "pruned": "stopped early (pruned by epoch)", "diverged": "diverged"}
    told = [f"{tuned.count(state)} {word}" for state, word in made.items() if tuned.count(state) or state != "diverged"]
    twice = sum(t.same_as is not None for t in tuned.trials)
    told += [f"{twice} of them the same as an earlier one"] if twice else []
    return f"{', '.join(told)}: {tuned.epochs:,} epochs, {tuned.seconds:,.0f} s."


def command(tuned: Tuned, dataset: Path, out: Path, protocol: str) -> str:
    """The command that opens the test part for the best trial, whose training is there already, unless it is to be refitted.

    Args:
        tuned: what was done.
        dataset: its folder.
        out: the folder of runs and trials.
        protocol: as the command line names it.
    """
    asked, best = tuned.tuning, tuned.best.changes
    words = ["tmmsrec", "fit", asked.name, str(dataset)]
    for change in (*asked.sets, *(c for c in best if not c.startswith(MARK))):
        words += ["--set", change]
    for change in (*asked.trainings, *(c.removeprefix(MARK) for c in best if c.startswith(MARK))):
        words += ["--training", change]
    words += ["--seed", str(asked.seed)] if asked.seed else []
    words += ["--protocol", protocol] if protocol != "leave-one-out" else []
    words += ["--exclude-seen"] if asked.exclude_seen else []
    return shlex.join([*words, "--runs", str(out / "runs")])


def page(tuned: Tuned, then: str) -> str:
    """A tuning in Markdown: budget, cost, every trial, the command for what comes then, and what was searched."""
    asked = tuned.tuning
    ranked = tuned.ranked
    trials = [*ranked, *(t for t in tuned.trials if t not in ranked)]
    searched = [(f"`{path}`", axis.text(asked.own[path]), str(axis)) for path, axis in asked.space.items()]
    lines = [
        f"# {asked.name} tuned on {tuned.dataset.name}\n",
        f"{budgets([tuned])[0]}\n\n{cost(tuned)}\n",
        grid(("trial", f"validation {asked.training.metric}", "changes", "epochs", "seconds", "ended"), map(_cells, trials)),
        f"\nThis trains what is not trained yet, and tests the best:\n\n    {then}\n\nSearched:\n",
        grid(("field", "as it is", "values"), searched),
    ]
    return "\n".join(lines) + "\n"


def together(all_: Sequence[Tuned]) -> str:
    """Several methods side by side in Markdown."""
    title = [f"# Tuned on {all_[0].dataset.name}\n", *(f"{budget}\n" for budget in budgets(all_))]
    rows = [(*summary(tuned), tuned.best.said) for tuned in all_]
    return "\n".join([*title, grid((*SUMMARY, "changes"), rows)]) + "\n"


def summary(tuned: Tuned) -> tuple[str, ...]:
    """A method's line among several: validation as it is and at its best, and for how much."""
    values_ = number(tuned.trials[0].value), number(tuned.best.value)
    counts = str(tuned.count("finished")), str(tuned.count("pruned"))
    return tuned.tuning.name, *values_, *counts, f"{tuned.epochs:,}", f"{tuned.seconds:,.0f}"


def number(value: float | None) -> str:
    """A validation value."""
    return "-" if value is None else f"{value:.4f}"


def every_trial(tuned: Tuned) -> str:
    """Every trial as a line of CSV, with its whole job, so that a line is enough to do it again."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for t in tuned.trials:
        about = {
            "method": tuned.tuning.name,
            "data": tuned.dataset.name,
            "trial": t.number,
            "state": t.state,
            "validation": t.value,
        }
        about |= {"epochs": t.epochs, "seconds": t.seconds, "changes": " ".join(t.changes), "same_as": t.same_as, "run": t.run}
        writer.writerow({**about, "job": json.dumps(values.to_json(tuned.tuning.job(t.changes)), ensure_ascii=False)})
    return out.getvalue()


def _cells(trial: Trial) -> tuple[str, ...]:
    ended = trial.state if trial.same_as is None else f"{trial.state}, the same as {trial.same_as}"
    return str(trial.number), number(trial.value), trial.said, str(trial.epochs), f"{trial.seconds:,.1f}", ended
