"""``export``: a bundle for machines without this package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tmmsrec.cli import screen

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Take a bundle elsewhere: ONNX, or all vectors as Parquet.")


@app.command()
def onnx(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    out: Annotated[Path, typer.Argument(help="The file to write: OUT.onnx; the items come beside it, as OUT.items.parquet.")],
) -> None:
    """The query side, histories in and user vectors out, as ONNX; compared with the library before it is kept."""
    from tmmsrec.export import write_onnx
    from tmmsrec.recommender import Recommender

    held = Recommender.load(bundle)
    done = write_onnx(held.state, out)
    same = done.parity
    shapes = {"items": "[batch, length]", "times": "[batch, length]", "at": "[batch]"}
    screen.pairs(
        "",
        {
            "graph": f"{done.path}, {done.bytes / 1e6:,.1f} MB",
            "inputs": ", ".join(f"{name} {shapes[name]}" for name in done.inputs) + f" int64, length up to {done.history}",
            "output": f"users [batch, {done.width}] float32",
            "items": f"{done.items}, {held.state.dataset.n_items:,} items, {held.state.known:,} of them recommendable",
            "largest difference": f"{same.largest:.1e} over {same.batches} batches of {_and(same.sizes)} histories, "
            f"{same.lengths[0]} to {same.lengths[-1]} columns",
        },
    )


@app.command()
def vectors(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    at: Annotated[str | None, typer.Option(help="The moment that users are asked about; now by default.")] = None,
) -> None:
    """Item vectors, and the vectors of all known users at a moment, as Parquet; their inner products are the scores, or the
    greatest part of them where the method adds something: that is said then."""
    from tmmsrec.cli.recommend import moment
    from tmmsrec.export import write_vectors
    from tmmsrec.recommender import Recommender

    state = Recommender.load(bundle).state
    done = write_vectors(state, out, None if at is None else moment(at))
    told = {
        "items": f"{out / 'items.parquet'}, {done.items:,} vectors of {done.width} numbers",
        "left out": f"{out / 'left_out.parquet'}, {done.items_left_out:,} items of which the method reads nothing",
        "users": f"{out / 'users.parquet'}, {done.users:,} vectors; {done.users_left_out:,} users have none at that moment",
    }
    if state.method.beside:
        told["scores"] = "the inner product and what the method adds beside it, which vectors do not have"
    screen.pairs("", told)


def _and(numbers: tuple[int, ...]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
