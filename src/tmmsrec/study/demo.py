"""The whole path on the demo shop, whose best possible score is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tmmsrec import values
from tmmsrec.data.shop import FILES, Shop, write_shop
from tmmsrec.study.path import Outcome, whole_path
from tmmsrec.study.recipe import Inputs, Recipe
from tmmsrec.study.stages import Listener, Silent, Stages
from tmmsrec.training import Adam, Training

# Small enough for two cores and a few minutes; every trained method gets the same.
RECIPE = Recipe(
    changes=("width=66", "loss=CrossEntropy", "entry.dropout=0.5", "backbone.dropout=0.2", "backbone.norm=pre"),
    training=Training(epochs=30, patience=4, optimiser=Adam(lr=3e-3, decay=0.97, clip=1.0)),
)


@dataclass(frozen=True, eq=False)
class Demo:
    """What came of it.

    Attributes:
        outcome: of the whole path.
        raw: the folder with the three raw files.
        ceilings: what one knows -> the best possible HR@10 and NDCG@10.
    """

    outcome: Outcome
    raw: Path
    ceilings: dict[str, dict[str, float]]


def demo(shop: Shop, out: Path, *, recipe: Recipe = RECIPE, listener: Listener | None = None) -> Demo:
    """Write the shop's three files and go the whole path with them, as with anybody's."""
    listener = listener or Silent()
    stages, raw = Stages(out), out / "raw"
    key = values.key(shop)
    if stages.stands("shop", key) and all((raw / name).exists() for name in FILES):
        listener.stage("demo shop: as before")
    else:
        listener.stage(f"demo shop: {shop.users:,} customers, {shop.items:,} garments; drawing the pictures")
        stages.begin("shop")
        made = write_shop(shop, raw)
        stages.done("shop", key, ceilings=made.dataset.report["ceilings"], ceiling=made.dataset.report["ceiling"])
    told = stages.facts("shop")
    events, items, images = (raw / name for name in FILES)
    inputs = Inputs(events, items, str(images), name="demo shop")
    # Everybody in the shop is in the ceiling, so nobody may be dropped for a short history.
    whole = replace(recipe, preparation=replace(recipe.preparation, min_events=3))
    outcome = whole_path(inputs, whole, out, listener=listener, ceiling=told["ceiling"])
    return Demo(outcome, raw, told["ceilings"])
