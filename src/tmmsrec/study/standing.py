"""How a study stands while it runs."""

from __future__ import annotations

import math

from tmmsrec.study.blocks import Table
from tmmsrec.study.gather import Results
from tmmsrec.study.report import METRICS


def standing(results: Results) -> Table:
    """A line for each method: settings tried, best validation value so far, seeds tested, and their means."""
    lines = []
    for name, entrant in results.study.entrants.items():
        tried, runs = results.tried.get(name, ()), results.runs.get(name, ())
        known = [v for v in tried if not math.isnan(v)]
        means = {m: sum(run.about["result"][m] for run in runs) / len(runs) for m in METRICS} if runs else {}
        lines.append(
            [
                name,
                f"{len(tried)} of {len(entrant.grid)}",
                f"{max(known):.4f}" if known else "-",
                f"{len(runs)}",
                *[f"{means[m]:.4f}" if m in means else "" for m in METRICS],
            ]
        )
    return Table(["method", "settings", "validation", "seeds", *METRICS], lines)
