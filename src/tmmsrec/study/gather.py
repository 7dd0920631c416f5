"""What was done of a study: its finished runs, read from their folder, and the settings that validation chose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tmmsrec.data.dataset import Dataset
from tmmsrec.study.run import Run
from tmmsrec.study.runs import Runs
from tmmsrec.study.study import Setting, Study


@dataclass(frozen=True, eq=False)
class Results:
    """A study, as far as it is done.

    Attributes:
        study: what was asked, with the entrants that the data has the modalities for.
        dataset: what it was asked of.
        root: the folder of the runs.
        chosen: name -> the setting that did best in validation.
        runs: name -> the chosen setting's tested runs by seed.
        tried: name -> best validation value of every setting that is done, in the grid's order.
        needless: how many runs of settings that were not chosen have ranked the test part (in other studies, or by other means).
        missing: name -> how many runs are still to be done, where there are any.
        beside: the same study with the split that stands beside its own.
    """

    study: Study
    dataset: Dataset
    root: Path
    chosen: Mapping[str, Setting]
    runs: Mapping[str, Sequence[Run]]
    tried: Mapping[str, Sequence[float]]
    needless: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    beside: Results | None = None


def gather(study: Study, dataset: Dataset, root: Path) -> Results:
    """Read what was done; a method has chosen once all its settings are done."""
    return Gathering(study, dataset, Runs(root)).now()


class Gathering:
    """A study that is read again and again while it is done: settings and names are made once, and each run is read once.

    Attributes:
        study: what was asked, with the entrants that the data has the modalities for.
        dataset: what it was asked of.
        runs: of the folder.
        beside: the same with the split that stands beside the study's own.
    """

    def __init__(self, study: Study, dataset: Dataset, runs: Runs) -> None:
        self.study, self.dataset, self.runs = study.fitting(dataset), dataset, runs
        self.beside = Gathering(study.under(study.beside), dataset, runs) if study.beside is not None else None
        self._settings = {name: entrant.settings() for name, entrant in self.study.entrants.items()}
        self._keys: dict[tuple[str, tuple[str, ...], int], str] = {}

    def now(self) -> Results:
        """What is done by now."""
        tried: dict[str, list[float]] = {}
        chosen: dict[str, Setting] = {}
        runs: dict[str, list[Run]] = {}
        missing: dict[str, int] = {}
        tuned, kept = set(), set()
        for name, entrant in self.study.entrants.items():
            settings, seeds = self._settings[name], self.study.seeds if entrant.method.learned else 1
            done = self._done([self._key(name, s, 0) for s in settings], test=False)
            tried[name] = [_validation(run) for run in done]
            tuned |= {run.folder.name for run in done}
            if len(done) < len(settings):
                missing[name] = len(settings) - len(done) + seeds - 1
                continue
            chosen[name] = max(zip(tried[name], settings, strict=True), key=lambda at: _known(at[0]))[1]
            keys = [self._key(name, chosen[name], seed) for seed in range(seeds)]
            tested = self._done(keys, test=True)
            kept |= set(keys)
            if tested:
                runs[name] = tested
            if len(tested) < seeds:
                missing[name] = seeds - len(tested)
        needless = sum(self.runs.read(key).tested for key in tuned - kept)
        beside = self.beside.now() if self.beside is not None else None
        return Results(self.study, self.dataset, self.runs.root, chosen, runs, tried, needless, missing, beside)

    def _key(self, name: str, setting: Setting, seed: int) -> str:
        at = name, setting.changes, seed
        if at not in self._keys:
            self._keys[at] = self.study.job(setting, seed).key(self.dataset)
        return self._keys[at]

    def _done(self, keys: Sequence[str], *, test: bool) -> list[Run]:
        return [run for run in (self.runs.done(key, test=test) for key in keys) if run is not None]


def _validation(run: Run) -> float:
    found = run.about["fit"]["best"]
    return math.nan if found is None else float(found)


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value
