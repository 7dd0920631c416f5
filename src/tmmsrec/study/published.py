"""What the paper prints, to stand beside our numbers where the data are the paper's.

Source: TMMSRec, Tables 3 to 6, HR@10 and NDCG@10; leave-one-out, the epoch chosen by the test part in the authors' code.  Table 2
and section 1 (Figure 2) for the data.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tmmsrec.data.dataset import Dataset


@dataclass(frozen=True)
class Sizes:
    """A row of Table 2: numbers of users, items and events, and the share of user-item pairs without an event."""

    users: int
    items: int
    events: int
    sparsity: float


_SIZES = {
    "All_Beauty": Sizes(273, 800, 1_663, 0.9924),
    "Luxury_Beauty": Sizes(5_230, 5_196, 43_682, 0.9984),
    "Prime_Pantry": Sizes(14_893, 7_787, 144_354, 0.9988),
}
OVER_100_DAYS = {"All_Beauty": 0.2425}  # section 1 on Figure 2 (a): the share of all gaps that exceed 100 days
PAIR = ("B00W259T7G", "B0010ZBORW")  # Figure 2 (b): two items of All_Beauty, their gaps "vary from 1 day to 210 days"
PAIR_DAYS = (1, 210)


def dataset_of(dataset: Dataset) -> str | None:
    """Which of the paper's datasets this is, told by the counts of its Table 2; None for others."""
    sizes = dataset.n_users, dataset.n_items, len(dataset.interactions)
    return next((name for name, known in _SIZES.items() if (known.users, known.items, known.events) == sizes), None)


def sizes(dataset: Dataset) -> Sizes | None:
    """The row of Table 2 for one of the paper's datasets; None for others."""
    name = dataset_of(dataset)
    return None if name is None else _SIZES[name]


def printed(dataset: str, row: str) -> dict[str, float]:
    """Metric -> the number printed in a row, "Table 3/SASRec", for one of the paper's datasets; empty where there is none."""
    return dict(_all().get((dataset, row), {}))


@cache
def _all() -> dict[tuple[str, str], dict[str, float]]:
    found: dict[tuple[str, str], dict[str, float]] = {}
    with (files(__package__) / "published_results.csv").open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            key = line["dataset"], f"{line['table']}/{line['method']}"
            found.setdefault(key, {})[line["metric"]] = float(line["value"])
    return found
