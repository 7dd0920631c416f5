"""``list`` and ``show``: what there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmmsrec.cli import screen

if TYPE_CHECKING:
    from tmmsrec.data.dataset import Dataset
    from tmmsrec.models.base import Method

WHAT = ("methods", "parts", "studies", "runs")


def list_(
    what: Annotated[str, typer.Argument(help="methods, parts (what --set can choose from), studies or runs.")] = "methods",
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
    data: Annotated[Path | None, typer.Option(help="A Dataset folder: count each method's parameters on it.")] = None,
) -> None:
    """Methods by name, parts by place, studies, or runs in a folder."""
    from tmmsrec.data.problems import DataProblem
    from tmmsrec.values import nearest

    if what not in WHAT:
        raise DataProblem(f"unknown list '{what}'{nearest(what, WHAT)}; known: {', '.join(WHAT)}")
    if what == "runs":
        return _runs(folder)
    if what == "studies":
        return _studies()
    _methods(data) if what == "methods" else _parts()


def _methods(folder: Path | None) -> None:
    from tmmsrec import zoo
    from tmmsrec.data import store

    dataset = store.load(folder) if folder is not None else None
    table = screen.table()
    for head in ("method", "reads", "product", "parameters" if dataset else "source"):
        table.add_column(head, no_wrap=head != "source", justify="right" if head == "parameters" else "left")
    for name, method in zoo.methods().items():
        last = _parameters(method, dataset) if dataset else method.source
        product = "yes +" if method.beside else "yes" if method.inner_product else "no"
        table.add_row(name, " ".join(reads(method)), product, last, end_section=name == zoo.FLOORS[-1])
    screen.console().print(table)
    screen.say(
        "reads: id, text, image; times of past events; now, the moment of the request; users, rows of the users of its training. "
        "product: the score is one inner product, so any vector index serves it; +: with more beside it for a few items. "
        + (f"parameters: on {dataset!r}" if dataset else "--data DIR counts parameters.")
    )


def reads(method: Method) -> list[str]:
    """Everything that a method reads: modalities, and "times", "now", "users"."""
    told = {"times": method.reads_time, "now": method.reads_now, "users": method.reads_users}
    return [*method.reads, *[name for name, yes in told.items() if yes]]


def _parameters(method: Method, dataset: Dataset) -> str:
    """How many numbers are trained on a dataset; what is lacking where it cannot be built."""
    from tmmsrec.models.base import learned_numbers

    lacking = [m for m in method.reads if m != "id" and m not in dataset.features]
    if lacking:
        return f"no {lacking[0]}"
    return f"{learned_numbers(method, method.build(dataset)):,}"


def _studies() -> None:
    from tmmsrec import studies

    screen.pairs("", {name: studies.named(name).title for name in studies.names()})


def _parts() -> None:
    from tmmsrec import values
    from tmmsrec.nn.backbones import Backbone
    from tmmsrec.nn.fusion import Fusion
    from tmmsrec.nn.losses import Loss
    from tmmsrec.nn.outputs import Output
    from tmmsrec.nn.time import TimeEncoder

    places: dict[str, type] = {
        "time": TimeEncoder, "fusion": Fusion, "backbone": Backbone, "loss": Loss, "output": Output
    }  # fmt: skip
    screen.pairs("", {f"--set {place}=": ", ".join(sorted(values.offered(base))) for place, base in places.items()})


def _runs(folder: Path) -> None:
    from tmmsrec import values
    from tmmsrec.data.problems import DataProblem
    from tmmsrec.study.run import read_run

    found = sorted(p.parent for p in folder.glob("*/run.json"))
    if not found:
        raise DataProblem(f"there is no finished run in {folder}")
    table = screen.table()
    for head in ("run", "method", "data", "seed", "HR@10", "NDCG@10", "seconds"):
        table.add_column(head, no_wrap=head not in ("method", "data"))
    for one in found:
        try:
            run = read_run(one)
        except (DataProblem, values.ValueProblem) as problem:
            table.add_row(one.name, f"cannot be read here: {problem}", style="dim")
            continue
        result = [f"{run.about['result'][m]:.4f}" if run.tested else "-" for m in ("HR@10", "NDCG@10")]
        name = method_name(run.about["job"]["method"]) + (", refit" if run.job.training.refit else "")
        table.add_row(
            one.name, name, run.about["dataset"]["name"], str(run.job.seed), *result, f"{run.about['seconds']['fit']:,.1f}"
        )
    screen.console().print(table)


def method_name(method: object) -> str:
    """The zoo's name of a method given as JSON; of one that has none, the name of the likest and what is changed of it."""
    from tmmsrec import values
    from tmmsrec.models.base import Method

    if not isinstance(method, dict):
        return str(method)
    told: dict[str, Any] = method
    with suppress(values.ValueProblem):  # as a later or an earlier version may have written it
        told = values.to_json(values.from_json(Method, method))  # type: ignore[type-abstract]
    found = {name: _changes(one, told) for name, one in _named().items() if one["kind"] == told["kind"]}
    if not found:
        return str(told["kind"])
    # One of the same parts and modalities is likelier than one of others, however many numbers are changed.
    name = min(found, key=lambda one: (len(_made_of(told) - _made_of(_named()[one])), len(found[one])))
    return " ".join([name, *found[name]])


def _made_of(method: Mapping[str, Any]) -> set[tuple[str, str]]:
    """What a method is put together of: its fields that are values, by kind, and its modalities."""
    kinds = {(field, part["kind"]) for field, part in method.items() if isinstance(part, dict)}
    return kinds | {("modalities", str(method.get("modalities")))}


@cache
def _named() -> dict[str, dict[str, Any]]:
    """The methods of the zoo as JSON: a list of runs asks for them at every line."""
    from tmmsrec import values, zoo

    return {name: values.to_json(one) for name, one in zoo.methods().items()}


def _changes(old: Mapping[str, object], new: Mapping[str, object], within: str = "") -> list[str]:
    """What makes one value of the other, FIELD=VALUE."""
    from tmmsrec.study.spelling import plain

    found = []
    for field in new:
        was, is_now = old.get(field), new[field]
        if was == is_now:
            continue
        if isinstance(was, dict) and isinstance(is_now, dict) and was.get("kind") == is_now.get("kind"):
            found += _changes(was, is_now, f"{within}{field}.")
        else:
            shown = is_now["kind"] if isinstance(is_now, dict) else "null" if is_now is None else plain(is_now) or "none"
            found.append(f"{within}{field}={shown}".replace(", ", ","))
    return found


def show(what: Annotated[Path, typer.Argument(help="A Dataset, run or bundle folder.")]) -> None:
    """What a folder holds."""
    from tmmsrec.data.problems import DataProblem

    for file, shower in (("dataset.json", _dataset), ("run.json", _run), ("bundle.json", _bundle)):
        if (what / file).exists():
            return shower(what)
    inside = [p for name in ("dataset.json", "run.json", "bundle.json") for p in sorted(what.glob(f"*/{name}"))]
    hint = f"; it holds {', '.join(str(p.parent) for p in inside[:3])}" if inside else ""
    raise DataProblem(f"{what} is no Dataset, run or bundle{hint}")


def _dataset(folder: Path) -> None:
    from tmmsrec.cli.prepare import told
    from tmmsrec.data import store

    dataset = store.load(folder)
    told(dataset)
    screen.say(f"fingerprint {dataset.fingerprint}")


def _run(folder: Path) -> None:
    from tmmsrec.study.run import read_run
    from tmmsrec.study.spelling import plain

    run = read_run(folder)
    about = {k.replace("_", " "): plain(v) for k, v in run.about.items() if k not in ("format", "job")}
    screen.pairs("", {"method": method_name(run.about["job"]["method"]), **about})
    screen.say(json.dumps(run.about["job"], indent=2, ensure_ascii=False))


def _bundle(folder: Path) -> None:
    from tmmsrec import values
    from tmmsrec.recommender import Recommender
    from tmmsrec.study.spelling import plain

    held = Recommender.load(folder)
    reads = {"reads": " ".join(held.method.reads), "past times": held.method.reads_time, "moment of request": held.method.reads_now}
    screen.pairs("", {"data": repr(held.dataset), **reads, **{k: plain(v) for k, v in held.about.items()}})
    screen.say(json.dumps(values.to_json(held.method), indent=2, ensure_ascii=False))
