"""``update``: a bundle goes on with new events and items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmmsrec.cli import prepare as options
from tmmsrec.cli import screen
from tmmsrec.cli.train import Quiet, Seed, Trainings

if TYPE_CHECKING:
    from tmmsrec.study.update import Updated


def update(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    interactions: Annotated[Path, typer.Option(help=f"New events; those that are known are left out. {options.EVENTS}")],
    items: Annotated[Path | None, typer.Option(help="An item table that has the new items; it may have all.")] = None,
    images: options.Images = None,
    renew_items: Annotated[bool, typer.Option("--renew-items", help="Known items take the table's texts and numbers.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the bundle there; in its own place when left out.")] = None,
    format: options.Format = "auto",
    user_column: options.Column = None,
    item_column: options.Column = None,
    time_column: options.Column = None,
    item_id_column: options.ItemsColumn = None,
    image_column: options.ItemsColumn = None,
    time: options.Time = "auto",
    epochs: Annotated[int, typer.Option(help="Most epochs.")] = 10,
    rate: Annotated[float, typer.Option(help="The learning rate's share of the first training's.")] = 0.5,
    tolerance: Annotated[float, typer.Option(help="How much worse (NDCG@10) on old data is accepted, beyond noise.")] = 0.0,
    training: Trainings = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Merge new events and items into a bundle and train on; the old weights stay where the new ones are worse on old data."""
    from tmmsrec.study.going_on import Going
    from tmmsrec.study.recipe import Inputs
    from tmmsrec.study.update import update as do

    columns = options.roles(user_column, item_column, time_column, item_id_column, image_column)
    inputs = Inputs(interactions, items, images, format, columns)  # type: ignore[arg-type]
    how = Going(epochs=epochs, rate=rate, tolerance=tolerance, changes=tuple(training or ()), seed=seed)
    with screen.Screen(quiet=quiet, epochs=True) as listener:
        done = do(bundle, inputs, how, out=out, time=time, renew=renew_items, listener=listener)  # type: ignore[arg-type]
    told(done, interactions)


def told(done: Updated, events: Path) -> None:
    """What came, what was kept, how it stands, and what to do with it."""
    from tmmsrec.data.store import load
    from tmmsrec.study import update_words as words
    from tmmsrec.study.render import terminal

    for line in words.came(done.told["merged"]):
        screen.tell(line)
    if not done.changed:
        screen.say(f"Nothing in {events} is new: {done.folder} holds what the bundle held.")
        return
    screen.tell(words.decision(done.told))
    screen.console().print(terminal.table(words.standing(done.told)))
    for line in words.remarks(done.told):
        screen.tell(line)
    user = load(done.folder / "dataset", features=False).users[0]
    screen.say("")
    screen.say(f"  {done.folder}    try it: {screen.command('recommend', done.folder, '--user', user, '--explain')}")
    screen.tell("  A running service goes on with the bundle that it has read; tell it to reload, and it takes this one.")
