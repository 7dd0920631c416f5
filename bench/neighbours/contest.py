"""Rounds: in each, every contender trains once, one after another, with the round's number as the seed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import tmmsrec
from bench.neighbours.environments import NEIGHBOURS, OURS, OWN, Contender, Missing, interpreter
from bench.neighbours.logs import Cut
from bench.neighbours.setting import Setting
from bench.neighbours.verdict import by_epoch, seconds_to
from bench.rows import busy

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Turn:
    """One training of one contender in one round.

    Attributes:
        contender: its name.
        round: 0-based; also the seed.
        problem: why there is nothing else here; empty if all went well.
        events_per_second: steps with a target in an epoch x epochs / seconds of training.
        events_per_processor_second: the same over the seconds that all its threads had a processor.
        valid: NDCG@10 on the validation part after each epoch; test: on the test part.
        wall: seconds of each epoch's training.
        ranking_seconds: all test users, from histories at hand to ten items each; the least of three.
        import_seconds: of what a person imports; the least of two processes.
        peak_mb: most memory that its process held.
        parameters: how many it trains.
        versions: of what ran.
        load: of the machine by core, when it ended.
    """

    contender: str
    round: int
    problem: str = ""
    events_per_second: float = 0.0
    events_per_processor_second: float = 0.0
    valid: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    ranking_seconds: float = 0.0
    import_seconds: float = 0.0
    peak_mb: int = 0
    parameters: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    load: float = 0.0

    @property
    def quickest(self) -> float:
        """Events per second in the epoch that took least: first calls, and other work on the machine, only ever add."""
        return self.events_per_second * sum(self.wall) / len(self.wall) / min(self.wall)

    @property
    def best_epoch(self) -> int:
        """The epoch that did best in validation."""
        return max(range(len(self.valid)), key=self.valid.__getitem__)


@dataclass(frozen=True, eq=False)
class Contest:
    """What was measured on one log with one loss.

    Attributes:
        log: its name.
        sizes: users, items, events, and events of an epoch.
        setting: common to all; its seed is the first round's.
        turns: of every round.
    """

    log: str
    sizes: dict[str, int]
    setting: Setting
    turns: list[Turn]

    def of(self, name: str) -> list[Turn]:
        """The turns of a contender that went well, by round."""
        return [turn for turn in self.turns if turn.contender == name and not turn.problem]

    @property
    def names(self) -> list[str]:
        """Contenders in the order in which they first came."""
        return list(dict.fromkeys(turn.contender for turn in self.turns))

    @property
    def level(self) -> float:
        """The validation NDCG that "time to reach" asks for: 95 % of the best value of whoever got least far, so all reach it."""
        bests = [max(turn.valid) for turn in self.turns if not turn.problem]
        return 0.95 * min(bests) if bests else float("nan")

    def seconds_to_level(self, turn: Turn) -> float | None:
        """Training seconds until ``level``."""
        return seconds_to(self.level, turn.valid, turn.wall)

    def ratios(self, name: str, speed: Callable[[Turn], float] = lambda turn: turn.events_per_second) -> list[float]:
        """In each round, our speed by that of a contender in the same round."""
        theirs = {turn.round: turn for turn in self.of(name)}
        return [speed(turn) / speed(theirs[turn.round]) for turn in self.of(OURS.name) if turn.round in theirs]

    @property
    def fastest(self) -> str | None:
        """The fastest of the others: with the most events per second in the middle of the rounds."""
        speeds = {name: sorted(t.events_per_second for t in self.of(name)) for name in self.names if name not in OWN}
        speeds = {name: speed for name, speed in speeds.items() if speed}
        return max(speeds, key=lambda name: speeds[name][len(speeds[name]) // 2]) if speeds else None

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "log": self.log,
            "sizes": self.sizes,
            "setting": asdict(self.setting),
            "level": self.level,
            "fastest": self.fastest,
            "ratios": {name: self.ratios(name) for name in self.names if name not in OWN},
            "turns": [asdict(turn) for turn in self.turns],
        }

    @classmethod
    def read(cls, told: dict[str, Any]) -> Contest:
        """What ``told`` told."""
        return cls(told["log"], told["sizes"], Setting(**told["setting"]), [Turn(**turn) for turn in told["turns"]])


@dataclass(frozen=True)
class Rules:
    """How a contest is held.

    Attributes:
        envs: folder of the environments.
        scratch: folder for what contenders are given and hand back; each turn's is deleted after it.
        rounds: how many.
        contenders: by name; None for all.
        patience: seconds that a turn may take.
    """

    envs: Path
    scratch: Path
    rounds: int = 2
    contenders: tuple[str, ...] | None = None
    patience: float = 1200.0


def hold(
    cut: Cut,
    setting: Setting,
    rules: Rules,
    say: Callable[[str], None] = lambda _: None,
    keep: Callable[[Contest], None] = lambda _: None,
) -> Contest:
    """All rounds; the order of a round begins one contender later than that of the round before.

    ``keep`` is told of what there is after each turn, so that a run that is stopped leaves what it measured.
    """
    log = cut.dataset
    sizes = {"users": log.n_users, "items": log.n_items, "events": len(log.interactions), "events_of_an_epoch": cut.events}
    contest = Contest(log.name, sizes, setting, [])
    for at in range(rules.rounds):
        for contender in _order(at, rules.contenders):
            say(f"{log.name}, {setting.loss}, round {at + 1}: {contender.name} ...")
            turn = _turn(contender, cut, replace(setting, seed=setting.seed + at), at, rules)
            contest = replace(contest, turns=[*contest.turns, turn])
            keep(contest)
    return contest


def _order(at: int, names: tuple[str, ...] | None) -> Iterator[Contender]:
    them = [one for one in (OURS, *NEIGHBOURS) if names is None or one.name in (*names, OURS.name)]
    for n in range(len(them)):
        yield them[(n + at) % len(them)]


def _turn(contender: Contender, cut: Cut, setting: Setting, at: int, rules: Rules) -> Turn:
    folder = cut.lay_out(rules.scratch / contender.module, setting)
    try:
        python = interpreter(contender, rules.envs)
        _said([str(python), "-m", f"bench.neighbours.{contender.module}", str(folder), *contender.arguments], setting, rules)
        told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
        imported = min(_importing(python, contender, setting, rules) for _ in range(2))
        trained = (told["events"] or cut.events) * setting.epochs
        return Turn(
            contender.name,
            at,
            events_per_second=trained / sum(told["wall"]),
            events_per_processor_second=trained / sum(told["processor"]),
            valid=by_epoch(folder, "valid", cut.valid_targets, setting.epochs),
            test=by_epoch(folder, "test", cut.test_targets, setting.epochs),
            wall=told["wall"],
            ranking_seconds=told["ranking_seconds"],
            import_seconds=imported,
            peak_mb=told["peak_mb"],
            parameters=told["parameters"],
            versions=told["versions"],
            load=round(busy(), 2),
        )
    except (Missing, subprocess.TimeoutExpired, subprocess.CalledProcessError) as problem:
        return Turn(contender.name, at, problem=_why(problem))
    finally:
        shutil.rmtree(folder)


def _importing(python: Path, contender: Contender, setting: Setting, rules: Rules) -> float:
    code = f"import time; begun = time.perf_counter(); {contender.imports}; print(time.perf_counter() - begun)"
    return float(_said([str(python), "-W", "ignore", "-c", code], setting, rules).splitlines()[-1])


def _said(command: list[str], setting: Setting, rules: Rules) -> str:
    """What a process of a contender printed; it finds this folder, and tmmsrec only in our own environment."""
    paths = [str(_ROOT), *([str(Path(tmmsrec.__file__).parents[1])] if command[0] == sys.executable else [])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(setting.threads),
        "MKL_NUM_THREADS": str(setting.threads),
    }
    done = subprocess.run(command, capture_output=True, text=True, timeout=rules.patience, env=environment, check=True)
    return done.stdout


def _why(problem: Exception) -> str:
    if isinstance(problem, subprocess.CalledProcessError):
        lines = (problem.stderr or "").strip().splitlines()
        return lines[-1] if lines else f"ended with {problem.returncode}"
    if isinstance(problem, subprocess.TimeoutExpired):
        return f"took more than {problem.timeout:.0f} s"
    return str(problem)
