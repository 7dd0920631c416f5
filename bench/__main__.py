"""``python -m bench [ROW ...] [--quick] [--out FILE]``: measure, print a table, and say where a goal is missed."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Read once, when torch loads: idle threads sleep.  Where they spin, as they do by default, a machine that is shared with other
# work loses a factor of ten, and the figures speak of the neighbours.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from rich.console import Console
from rich.table import Table

from bench.rows import Row, busy, machine

ROWS = ("training", "softmax", "ranking", "prepare", "extract", "recommend", "search", "serve", "methods", "epoch", "large")
BY_NAME = ("epoch", "large")  # measured when asked for: minutes to half an hour, up to 16 GB of disk and 9 GB of memory


def main() -> int:
    """Run the rows asked for (all by default); 0 when every goal was met, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure speed and memory against the goals.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of {', '.join(ROWS)}; all by default but {', '.join(BY_NAME)}")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer repetitions: a first look, not a figure to quote")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--threads", type=int, help="threads for tensor work (default: torch's own choice)")
    asked = parser.parse_args()
    unknown = set(asked.rows) - set(ROWS)
    if unknown:
        parser.error(f"no row '{sorted(unknown)[0]}'; there are {', '.join(ROWS)}")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    console, about = Console(), machine()
    found: list[Row] = []
    for name in asked.rows or [row for row in ROWS if row not in BY_NAME]:
        console.print(f"[dim]measuring {name} ...[/dim]")
        found += importlib.import_module(f"bench.{name}").run(quick=asked.quick)
    about["load_per_core_after"] = round(busy(), 2)
    console.print(_table(found, about))
    if any(row.met is False for row in found) and about["load_per_core_after"] > 1.2 * about["threads"] / about["cores"]:
        console.print(
            f"Load {about['load_per_core_after']} a core: other work shared the machine, so a goal missed here may be theirs."
        )
    if asked.out:
        asked.out.write_text(json.dumps(_record(found, about, asked.quick), indent=1) + "\n", encoding="utf-8")
    return 0 if all(row.met is not False for row in found) else 1


def _table(found: list[Row], about: dict[str, Any]) -> Table:
    where = f"{about['cores']} cores, torch {about['torch']} with {about['threads']} threads, load {about['load_per_core']} a core"
    table = Table(title="Speed and memory", caption=f"{where}; shared machines only ever make figures worse")
    for column in ("what", "goal", "measured", "verdict", "note"):
        table.add_column(column, justify="right" if column in ("goal", "measured") else "left")
    for row in found:
        goal = "" if row.goal is None else f"{'>=' if row.least else '<'} {row.goal:g} {row.unit}"
        style = {True: "green", False: "red", None: ""}[row.met]
        table.add_row(row.name, goal, f"{row.measured:.3g} {row.unit}", row.verdict, row.note, style=style)
    return table


def _record(found: list[Row], about: dict[str, Any], quick: bool) -> dict[str, Any]:
    rows = [{**asdict(row), "met": row.met, "verdict": row.verdict} for row in found]
    return {"machine": about, "quick": quick, "rows": rows}


if __name__ == "__main__":
    sys.exit(main())
