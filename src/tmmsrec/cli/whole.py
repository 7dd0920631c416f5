"""``run`` and ``demo``: the whole path in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmmsrec.cli import prepare as options
from tmmsrec.cli import screen
from tmmsrec.cli.train import Protocol, Quiet, Seed, Seen, Sets, Trainings

if TYPE_CHECKING:
    from tmmsrec.study.path import Outcome
    from tmmsrec.study.samples import Sample


def run(
    interactions: Annotated[Path, typer.Option(help=options.EVENTS)],
    out: Annotated[Path, typer.Option(help="A folder for all results; what is there already is not done again.")],
    items: options.Items = None,
    images: options.Images = None,
    name: Annotated[str | None, typer.Option(help="Name of the Dataset.")] = None,
    format: options.Format = "auto",
    user_column: options.Column = None,
    item_column: options.Column = None,
    time_column: options.Column = None,
    item_id_column: options.ItemsColumn = None,
    image_column: options.ItemsColumn = None,
    min_events: options.MinEvents = 5,
    min_item_events: options.MinItemEvents = 1,
    ties: options.Ties = "file",
    duplicates: options.Duplicates = "keep",
    require: options.Require = "",
    catalogue: options.Catalogue = "events",
    time: options.Time = "auto",
    time_zone: options.Zone = "UTC",
    text: options.Text = "tfidf",
    image: options.Image = "descriptors",
    template: options.Template = "plain",
    encoder: options.Encoders = None,
    method: Annotated[list[str] | None, typer.Option(help="Train this instead of the usual five (may be repeated).")] = None,
    width: Annotated[int | None, typer.Option(help="Width d of each stream, usually 126; TIE needs a multiple of 6.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs.")] = None,
    sets: Sets = None,
    training: Trainings = None,
    protocol: Protocol = "leave-one-out",
    exclude_seen: Seen = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """From your files to a trained model, an honest table, a page and a bundle."""
    from tmmsrec.data import split
    from tmmsrec.study.path import whole_path
    from tmmsrec.study.recipe import TRAINED, Inputs, Recipe

    trainings = [*([f"epochs={epochs}"] if epochs is not None else []), *(training or [])]
    recipe = Recipe(
        preparation=options.preparation(min_events, min_item_events, ties, duplicates, require, catalogue, time, time_zone),
        text=text,
        image=image,
        template=template,
        encoder_changes=tuple(encoder or ()),
        methods=tuple(method) if method else TRAINED,
        changes=(*([] if width is None else [f"width={width}"]), *(sets or [])),
        training_changes=tuple(trainings),
        seed=seed,
        split=split.protocol(protocol),
        exclude_seen=exclude_seen,
    )
    columns = options.roles(user_column, item_column, time_column, item_id_column, image_column)
    inputs = Inputs(interactions, items, images, format, columns, name)  # type: ignore[arg-type]
    with screen.Screen(quiet=quiet) as listener:
        outcome = whole_path(inputs, recipe, out, listener=listener)
    told(outcome)
    screen.say(f"\nLook into it: {_opened(outcome.folder / 'bundle')}")


def demo(
    out: Annotated[Path, typer.Option(help="A folder for all results.")] = Path("demo-out"),
    users: Annotated[int, typer.Option(help="Customers of the shop.")] = 1500,
    items: Annotated[int, typer.Option(help="Garments of the shop.")] = 600,
    sets: Sets = None,
    training: Trainings = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """The whole path on a made-up fashion shop whose best possible score is known; needs no file."""
    from dataclasses import replace

    from tmmsrec.data.shop import Shop
    from tmmsrec.study.demo import RECIPE
    from tmmsrec.study.demo import demo as go

    changes = (*RECIPE.changes, *(sets or []))
    recipe = replace(RECIPE, changes=changes, training_changes=tuple(training or []), seed=seed)
    with screen.Screen(quiet=quiet) as listener:
        made = go(Shop(users, items, seed), out, recipe=recipe, listener=listener)
    told(made.outcome)
    better = {k: v for k, v in made.ceilings.items() if v != dict(made.outcome.report.ceiling)}
    for knows, best in better.items():
        screen.say(f"Best possible for one who knows {knows}: HR@10 {best['HR@10']:.4f}, NDCG@10 {best['NDCG@10']:.4f}")
    screen.say(f"  {made.raw}    the three raw files: {screen.command('run')} takes yours in the same way")
    screen.say(f"\nLook into it: {_opened(out / 'bundle')}")


def told(outcome: Outcome) -> None:
    """The table, its remarks, one recommendation with its reasons, and what lies where."""
    from tmmsrec.study.render import terminal
    from tmmsrec.study.telling import main_table
    from tmmsrec.study.words import headline, remarks

    report, folder = outcome.report, outcome.folder
    screen.console().print(terminal.table(main_table(report)))
    for remark in (headline(report), *remarks(report)):
        screen.tell(remark)
    if report.samples:
        _sample(report.samples[0], report.about.name)
    screen.say("")
    screen.say(f"  {folder / 'report.html'}    the page; report.md and report.tex beside it say the same")
    ask = screen.command("recommend", folder / "bundle", "--user", outcome.dataset.users[0], "--explain")
    screen.say(f"  {folder / 'bundle'}    {report.about.name}: {ask}")
    screen.say(f"  {folder / 'runs'}    every run; {folder / 'data'} the Dataset")


def _opened(bundle: Path) -> str:
    """How to open the page of the service: the command, and before it what is not installed."""
    from importlib.util import find_spec

    lacking = "" if find_spec("fastapi") and find_spec("uvicorn") else "pip install 'tmmsrec[serve]', then "
    return f"{lacking}{screen.command('serve', bundle)}, and http://127.0.0.1:8000 in a browser"


def _sample(sample: Sample, name: str) -> None:
    from rich.markup import escape

    screen.say("")
    had = "; ".join(f"{i.title or i.item} ({i.note})" for i in sample.history)
    screen.tell(f"User {sample.user} had: {had}.")
    screen.tell(f"On {sample.at} {name} recommends, with the share of each part in the score:")
    table = screen.table()
    table.add_column("item", no_wrap=True)
    table.add_column("title")
    for part in sample.recommended[0].parts:
        table.add_column(part.name, justify="right")
    for item in sample.recommended:
        cells = [escape(item.item), escape(item.title), *[f"{p.share:+.2f}" for p in item.parts]]
        table.add_row(*cells, style="bold" if item.hit else "")
    screen.console().print(table)
    screen.tell(
        f"Taken: {sample.taken.title or sample.taken.item} ({sample.taken.item}), at place {sample.rank:,.0f} of all items."
    )
