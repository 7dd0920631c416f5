"""``fit`` and ``evaluate``: one run, and what may be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tmmsrec.cli import screen

if TYPE_CHECKING:
    from tmmsrec.data.dataset import Dataset
    from tmmsrec.models.base import Model
    from tmmsrec.study.run import Job

Sets = Annotated[list[str] | None, typer.Option("--set", help="A field of the method: time.dropout=0.2, loss=CrossEntropy.")]
Trainings = Annotated[list[str] | None, typer.Option("--training", help="A field of the training: epochs=50, optimiser.lr=0.002.")]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but results.")]
Protocol = Annotated[str, typer.Option(help="leave-one-out, by-time=VALID_FROM,TEST_FROM, cold-items=SHARE or paper-leak.")]
Seen = Annotated[bool, typer.Option("--exclude-seen", help="Leave items that the user has met out of the ranking.")]
OwnSeen = Annotated[
    bool | None,
    typer.Option("--exclude-seen/--keep-seen", help="Leave out what the user has met, or keep it; as it was tested by default."),
]


def fit(
    name: Annotated[str, typer.Argument(help="A method: see 'tmmsrec list methods'.")],
    dataset: Annotated[Path, typer.Argument(help="A Dataset folder.")],
    sets: Sets = None,
    training: Trainings = None,
    seed: Seed = 0,
    protocol: Protocol = "leave-one-out",
    exclude_seen: Seen = False,
    runs: Annotated[Path, typer.Option(help="Where runs are kept; a run that is there is not done again.")] = Path("runs"),
    quiet: Quiet = False,
) -> None:
    """Train a method and test it once; the same command goes on with a run that was stopped.

    Under torchrun several processes, on one machine or many, train one model together:
    torchrun --nproc-per-node 4 -m tmmsrec fit ...
    """
    from tmmsrec import memory, values, zoo
    from tmmsrec.data import split, store
    from tmmsrec.processes import joined
    from tmmsrec.study.recipe import named
    from tmmsrec.study.run import Job
    from tmmsrec.study.run import run as do

    data = store.load(dataset)
    method = values.change_all(named(name), sets or [])
    how = values.change_all(zoo.training(name), training or [])
    job = Job(method, how, split.protocol(protocol), seed, exclude_seen)
    folder = runs / job.key(data)
    with joined() as processes, screen.Screen(quiet=quiet or not processes.first, epochs=True) as listener:
        if (folder / "run.json").exists():
            listener.note("this run was done before")
        elif not quiet and processes.first and name not in zoo.FLOORS:
            for line in memory.told(method, data, how):
                listener.note(line)
        done = do(job, data, runs, watch=listener.training(name))
    if not processes.first:
        return
    told = done.about["fit"]
    refit = ", then refit on training and validation events" if told.get("refit") else ""
    if told["epochs"]:
        kept = f"epoch {told['best_epoch'] + 1} of {told['epochs']} kept, validation {job.training.metric} {told['best']:.4f}"
        screen.say(f"{name}: {kept}{refit}, {told['seconds']:,.1f} s")
    _results(done.table["rank"].to_numpy(), done.about["items_ranked"], exclude_seen)
    screen.say(f"run: {folder}")


def evaluate(
    what: Annotated[Path, typer.Argument(help="A run or a bundle.")],
    dataset: Annotated[Path | None, typer.Argument(help="The Dataset folder; a bundle carries its own.")] = None,
    exclude_seen: OwnSeen = None,
    metric: Annotated[str, typer.Option(help="Shown in the slices: HR@10, NDCG@20, ...")] = "HR@10",
) -> None:
    """Metrics with 95 % intervals, slices by target, repetition, history and gap, and what the lists are like."""
    from tmmsrec import metrics
    from tmmsrec.study.listing import lists_table
    from tmmsrec.study.render import terminal
    from tmmsrec.study.slices import groups, slice_lines
    from tmmsrec.study.telling import slices_table

    metrics.parse(metric)
    of = _of_bundle if (what / "bundle.json").exists() else _of_run
    found, data = of(what, dataset, exclude_seen)
    _results(found.table["rank"].to_numpy(), found.items, found.seen_left_out)
    lines = slice_lines({metric: [found.table]}, groups(found.table, data), metric)
    screen.console().print(terminal.table(slices_table(lines, intervals=True)))
    if (shown := lists_table({"all": [found.lists]}, n_items=found.items, first="lists of")) is not None:
        screen.console().print(*terminal.blocks([shown]), sep="\n")


class _Found(NamedTuple):
    """A row for each test user, how many items were ranked, and what the lists are like (nothing where it was not written down)."""

    table: Any
    items: int
    seen_left_out: bool
    lists: Mapping[str, Any]


def _of_bundle(what: Path, dataset: Path | None, exclude_seen: bool | None) -> tuple[_Found, Dataset]:
    from tmmsrec.data import store
    from tmmsrec.data.problems import DataProblem
    from tmmsrec.recommender import Recommender
    from tmmsrec.study.run import Job

    held = Recommender.load(what)
    data = store.load(dataset) if dataset is not None else held.dataset
    if list(data.catalog.ids) != list(held.dataset.catalog.ids):
        raise DataProblem(f"{dataset} has other items than the bundle {what}: its model cannot rank them")
    screen.tell(f"{held.split.said}. That nothing was learned from the targets is true only of the data the bundle was made of.")
    known = None
    if held.method.reads_users:  # by rows of their own, which those have who were there when it was trained
        known = held.trained_users
        if not data.users.array[:known].equals(held.dataset.users.array[:known]):
            raise DataProblem(f"{dataset} has other users than the bundle {what}, whose model knows its own by their rows")
        if came := data.n_users - known:
            screen.tell(f"{came:,} users who came after the training are left out: the method knows a user by a learned row.")
    left_out = held.seen_left_out if exclude_seen is None else exclude_seen
    return _ranked(Job(held.method, split=held.split), held.model, data, left_out, known), data


def _of_run(what: Path, dataset: Path | None, exclude_seen: bool | None) -> tuple[_Found, Dataset | None]:
    from tmmsrec.data import store
    from tmmsrec.data.problems import DataProblem
    from tmmsrec.study.run import read_run

    run = read_run(what)
    left_out = run.job.exclude_seen if exclude_seen is None else exclude_seen
    if dataset is None and left_out == run.job.exclude_seen:
        return _Found(run.table, int(run.about["items_ranked"]), left_out, run.about.get("lists", {})), None
    if dataset is None:
        seen = "left out" if run.job.exclude_seen else "kept"
        raise DataProblem(f"{what} was ranked with seen items {seen}; to rank again, name its Dataset folder too")
    data = store.load(dataset)
    if data.fingerprint != run.about["dataset"]["fingerprint"]:
        raise DataProblem(f"{dataset} is not the data that {what} was trained on (another fingerprint)")
    return _ranked(run.job, run.model(data), data, left_out), data


def _ranked(job: Job, model: Model, data: Dataset, exclude_seen: bool, known: int | None = None) -> _Found:
    """Of the first ``known`` users where that is given."""
    from tmmsrec.data.merge import least_events, of_enough
    from tmmsrec.ranking import rank
    from tmmsrec.study.run import per_user, told_of_lists

    job = replace(job, exclude_seen=exclude_seen)
    if not job.method.learned:  # what counts counts anew, and chooses as it is asked
        model = job.method.build(data)
    parts = of_enough(job.split.cut(data.interactions), least_events(data), others_read=False)
    test = parts.test if known is None else replace(parts.test, users=parts.test.users[parts.test.users < known])
    ranks = rank(model, test, history=job.method.history, exclude_seen=exclude_seen)
    table = per_user(ranks, parts.train, test, data.n_items)
    return _Found(table, ranks.n_items, exclude_seen, told_of_lists(job, model, data, parts.train, test))


def _results(ranks: object, items: int, exclude_seen: bool) -> None:
    import numpy as np

    from tmmsrec import metrics, significance

    given = np.asarray(ranks)
    table = screen.table()
    for head in ("metric", "mean", "95 % interval"):
        table.add_column(head, justify="left" if head == "metric" else "right")
    for k in (5, 10, 20):
        for name in ("HR", "NDCG", "MRR"):
            each = metrics.parse(f"{name}@{k}")(given)
            lo, hi = significance.interval(each)
            table.add_row(f"{name}@{k}", f"{each.mean():.4f}", f"{lo:.4f} to {hi:.4f}", end_section=name == "MRR")
    screen.console().print(table)
    seen = "left out" if exclude_seen else "kept"
    screen.tell(f"{len(given):,} test users, all {items:,} items ranked, ties at their mean rank, seen items {seen}")
