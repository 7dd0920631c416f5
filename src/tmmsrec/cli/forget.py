"""Whoever wants to be forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tmmsrec.cli import screen


def forget(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    user: Annotated[list[str], typer.Option(help="Somebody who wants to be forgotten (may be repeated).")],
    data: Annotated[Path | None, typer.Option(help="Where its service keeps what is sent; beside the bundle by default.")] = None,
) -> None:
    """Remove users and their events from a bundle, and from what its service has kept; the service must not run."""
    from tmmsrec.serve.forgetting import forget_users

    gone = forget_users(bundle, user, data)
    many = "1 user" if len(set(user)) == 1 else f"{len(set(user))} users"
    screen.tell(f"Forgotten: {many}, {gone.events:,} events of the bundle and {gone.sent:,} that were sent to its service.")
    screen.tell(
        "What is counted is counted without them. What was learned from them stays in the weights until they are trained anew, and "
        "the files that the bundle was made from, and its runs and reports, are as they were."
    )
