"""Figure 4 as a section: item rows of every modality in two dimensions, and whether like rows are had by the same users."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import Part
from tmmsrec.study.blocks import Block, Cell, Figure, Points, Section, Table, Text
from tmmsrec.study.charts import Clouds, Panel
from tmmsrec.study.gather import Results
from tmmsrec.study.item_rows import MOST, SEED, ItemRows, by_lot, of_features, of_run
from tmmsrec.study.neighbours import NEAREST, Company, company
from tmmsrec.study.projection import FEWEST, projected
from tmmsrec.study.run import Run

_SHADING = "log10(1 + events of the item in the training part)"


def sections(results: Results) -> Sequence[Section]:
    """Features, and the ID rows of the first seed's run of every entrant."""
    dataset = results.dataset
    train = results.study.split.cut(dataset.interactions).train
    kinds, remarks = of_features(dataset), []
    for name, runs in results.runs.items():
        kinds += (found := of_run(runs[0], dataset, name))
        remarks += [_moved(name, runs[0], *found)] if found else []
    remarks += [f"{name}: not trained yet." for name in results.study.entrants if name not in results.runs]
    return [
        Section("Features in two dimensions", _clouds(kinds, dataset, train, remarks)),
        Section("Are like items had by the same users?", _companies(kinds, train)),
    ]


def _moved(name: str, run: Run, before: ItemRows, after: ItemRows) -> str:
    items = np.flatnonzero(after.present)
    cosines = (before.directions(items) * after.directions(items)).sum(axis=1)
    epoch = run.about["fit"]["best_epoch"] + 1
    return (
        f"{name}: the rows kept are those after epoch {epoch}, which did best in validation; an item's row then has a cosine of "
        f"{cosines.mean():.2f} with the one it began with, on average (1: the same direction, 0: nothing in common)."
    )


def _clouds(kinds: Sequence[ItemRows], dataset: Dataset, train: Part, remarks: list[str]) -> list[Block]:
    shade = np.log10(1.0 + train.item_counts(dataset.n_items))
    panels, remarks = [], [*remarks]
    for kind in kinds:
        items = by_lot(kind.present)
        points = projected(kind.directions(items), SEED)
        if points is None:
            remarks.append(f"{kind.name}: fewer than {FEWEST} items have such a row, or all rows are the same: nothing to see.")
        else:
            panels.append(Panel(f"{kind.name} ({len(items):,})", points, shade[items]))
    missing = [name for name in ("text", "image") if name not in dataset.features]
    if missing:
        remarks.append(
            f"The data has no {' and no '.join(missing)} features: 'tmmsrec extract' makes them where it has the sources."
        )
    text = (
        f"t-SNE of rows at length 1, so that near means alike by the cosine; at most {MOST:,} items drawn by lot (seed {SEED}), "
        "and only such as have the modality. ID rows before training are the very start of the run whose end is shown. The shade "
        "says how often an item was met in training. Read it with care: t-SNE keeps who is next to whom; distances between far "
        "clusters, their sizes, and axes mean nothing, and every panel has axes of its own, so that two panels that look "
        "different do not show by that that their modalities are."
    )
    figure = [Figure(Clouds(tuple(panels), _SHADING), "features", "As Figure 4.")] if panels else []
    return [Text(text), *figure, *([Points(remarks)] if remarks else [])]


def _companies(kinds: Sequence[ItemRows], train: Part) -> list[Block]:
    found = [(kind.name, company(kind, train)) for kind in kinds]
    rows = [_row(name, of) for name, of in found if of is not None]
    missing = [f"{name}: no two such items were had by one user in the training part." for name, of in found if of is None]
    if not rows:
        return [Points(missing)]
    heads = ["rows", "items", f"of the {NEAREST} nearest [95 % interval]", "nearest of another item", "any items", "candidates"]
    note = (
        f"Of an item's {NEAREST} nearest rows by the cosine, in all their dimensions: the share that some user had together with "
        "the item in the training part (interval: items resampled). Then the same with the nearest rows of another item: what is "
        f"left where only being near to many counts; and with items drawn evenly. At most {MOST:,} items drawn by lot (seed "
        f"{SEED}); items and candidates occur in the training part. Rows after training have learned from that part, features "
        "have not."
    )
    table = Table(heads, rows, note=note, label="company")
    return [table, *([Points(missing)] if missing else [])]


def _row(name: str, of: Company) -> list[Cell | str]:
    nearest = "" if of.nearest == NEAREST else f" ({of.nearest} nearest)"
    share = Cell(f"{of.share:.1%}{nearest}", faint=f"[{of.within.lo:.1%}, {of.within.hi:.1%}]")
    return [name, f"{of.items:,}", share, f"{of.dealt:.1%}", f"{of.chance:.1%}", f"{of.candidates:,}"]
