"""``python -m bench.neighbours [--envs DIR] [--data DIR ...] [--out FILE] [--quick]``: tables, and JSON with all behind them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console

from bench.neighbours import telling
from bench.neighbours.contest import Contest, Rules, hold
from bench.neighbours.environments import NEIGHBOURS
from bench.neighbours.logs import Cut, luxury_like
from bench.neighbours.setting import Setting
from bench.rows import machine
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.store import load

_QUICK = Setting(width=32, epochs=2)


def main(given: list[str] | None = None) -> int:
    """Hold a contest for each log and loss; 0 however it ends, since neighbours may be missing or fast."""
    asked = _asked(given)
    console = Console()
    setting = _QUICK if asked.quick else Setting()
    given_settings = ("epochs", "width", "threads", "dropout", "lr", "batch", "seed")
    setting = replace(setting, **{name: getattr(asked, name) for name in given_settings if getattr(asked, name) is not None})
    torch.set_num_threads(setting.threads)
    about = {**machine(), "date": datetime.now(UTC).isoformat(timespec="minutes")}
    done: list[Contest] = []

    def keep(latest: Contest) -> None:
        if asked.out:
            told = {"machine": about, "quick": asked.quick, "contests": [contest.told() for contest in (*done, latest)]}
            asked.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as scratch:
        rules = Rules(asked.envs, Path(scratch), asked.rounds or (1 if asked.quick else 3), _names(asked.only), asked.patience)
        for log in _logs(asked):
            for loss in asked.losses:
                say = lambda text: console.print(f"[dim]{text}[/dim]")  # noqa: E731
                done.append(hold(Cut.of(log, setting.length), replace(setting, loss=loss), rules, say, keep))
                console.print(telling.table(done[-1], console.width))
    if asked.markdown:
        asked.markdown.write_text("\n\n".join(telling.markdown(contest) for contest in done) + "\n", encoding="utf-8")
    return 0


def _asked(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.neighbours", description="Other libraries beside us, in one run.")
    add = parser.add_argument
    add("--envs", type=Path, default=Path.home() / ".cache" / "tmmsrec-neighbours", help="where environments are made and kept")
    add("--data", type=Path, nargs="*", default=[], help="folders of datasets, measured after the made log")
    add("--no-made", action="store_true", help="leave the made log out")
    add("--losses", nargs="+", choices=("ce", "bce"), default=["ce", "bce"], help="softmax cross-entropy, BCE with one negative")
    add("--only", nargs="+", metavar="NAME", help=f"any of {', '.join(repr(one.name) for one in NEIGHBOURS)}; all by default")
    add("--rounds", type=int, help="trainings of each contender, each with its own seed (3; 1 with --quick)")
    for name, kind in (("epochs", int), ("width", int), ("batch", int), ("dropout", float), ("lr", float), ("threads", int)):
        add(f"--{name}", type=kind, help=f"default: {getattr(Setting(), name)}")
    add("--seed", type=int, help="of the first round; the second has one more, and so on")
    add("--patience", type=float, default=1200.0, help="seconds after which a training is given up")
    add("--quick", action="store_true", help="small: a first look, not a figure to quote")
    add("--out", type=Path, help="write everything as JSON")
    add("--markdown", type=Path, help="write the tables as Markdown")
    return parser.parse_args(given)


def _names(only: list[str] | None) -> tuple[str, ...] | None:
    known = {one.name for one in NEIGHBOURS}
    unknown = sorted(set(only or ()) - known)
    if unknown:
        raise SystemExit(f"no contender '{unknown[0]}'; there are {', '.join(sorted(known))}")
    return None if only is None else tuple(only)


def _logs(asked: argparse.Namespace) -> list[Dataset]:
    made = [] if asked.no_made else [luxury_like(400, 300, 4_000) if asked.quick else luxury_like()]
    return made + [load(folder, features=False) for folder in asked.data]


if __name__ == "__main__":
    sys.exit(main())
