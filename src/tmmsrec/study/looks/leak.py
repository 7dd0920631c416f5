"""What it is worth to choose the epoch by the test items, as the authors' code does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tmmsrec import significance
from tmmsrec.study.blocks import Cell, Section, Table, Text
from tmmsrec.study.gather import Results
from tmmsrec.study.report import METRICS, row
from tmmsrec.study.spelling import probability, signed


def sections(results: Results) -> Sequence[Section]:
    """Every trained method with its epoch and setting chosen by validation, and by the test items themselves."""
    leaky = results.beside
    if leaky is None:
        return []
    both = [name for name, runs in results.runs.items() if runs[0].about["parameters"] and name in leaky.runs]
    rows: list[list[Cell | str]] = []
    gains: dict[str, list[float]] = {m: [] for m in METRICS}
    for metric in METRICS:
        found = {name: _difference(results, leaky, name, metric) for name in both}
        corrected = significance.holm([c.p for _, _, c in found.values()])
        for (name, (honest, peeking, compared)), p in zip(found.items(), corrected, strict=True):
            within = f"[{signed(compared.interval.lo)}, {signed(compared.interval.hi)}]"
            cells: list[Cell | str] = [
                f"{honest:.4f}",
                f"{peeking:.4f}",
                Cell(signed(compared.difference), 0, within),
                probability(float(p)),
            ]
            rows.append([f"{name}, {metric}", *cells])
            gains[metric].append(compared.difference)
    heads = ["method", "by validation", "by the test items", "worth [95 % interval]", "p"]
    note = (
        "Setting and epoch chosen by NDCG@10 of the validation events, and of the test events. Each seed is its own "
        "pair; tests over users and seeds, Holm-corrected over each metric."
    )
    mean = ", ".join(f"{np.mean(gains[m]):+.4f} {m}" for m in METRICS) if both else "nothing"
    text = Text(f"On average over {len(both)} trained methods, looking at the test items is worth {mean}.")
    table = Table(heads, rows, frozenset({len(both)} if both else ()), note, "leak")
    return [Section("What it is worth to choose by the test items", [text, table])]


def _difference(honest: Results, leaky: Results, name: str, metric: str) -> tuple[float, float, significance.Comparison]:
    """Means of both, and the paired difference over users and over the seeds that both have."""
    ours, theirs = row(name, honest.runs[name]), row(name, leaky.runs[name])
    seeds = min(len(ours.runs), len(theirs.runs))
    pairs = theirs.values(metric)[:seeds] - ours.values(metric)[:seeds]
    return ours.means[metric], theirs.means[metric], significance.paired_test(pairs, np.zeros(pairs.shape[1]))
