"""What the paper prints, to stand beside our numbers where the data are the paper's.

Source: TMMSRec, Tables 3 to 6, HR@10 and NDCG@10; leave-one-out, the epoch chosen by the test part in the authors' code.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

from tmmsrec.data.dataset import Dataset

# Table 2: users, items, events.
_SIZES = {"All_Beauty": (273, 800, 1_663), "Luxury_Beauty": (5_230, 5_196, 43_682), "Prime_Pantry": (14_893, 7_787, 144_354)}


def dataset_of(dataset: Dataset) -> str | None:
    """Which of the paper's datasets this is, told by the counts of its Table 2; None for others."""
    sizes = dataset.n_users, dataset.n_items, len(dataset.interactions)
    return next((name for name, known in _SIZES.items() if known == sizes), None)


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
