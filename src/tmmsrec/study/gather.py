"""What was done of a study: its finished runs, read from their folder, and the settings that validation chose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tmmsrec.data.dataset import Dataset
from tmmsrec.study.run import Run, is_done, read_run
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
    study = study.fitting(dataset)
    tried: dict[str, list[float]] = {}
    chosen: dict[str, Setting] = {}
    runs: dict[str, list[Run]] = {}
    missing: dict[str, int] = {}
    tuned, kept = set(), set()
    for name, entrant in study.entrants.items():
        settings, seeds = entrant.settings(), study.seeds if entrant.method.learned else 1
        keys = [study.job(s, 0).key(dataset) for s in settings]
        done = [root / key for key in keys if is_done(root / key, test=False)]
        tried[name] = [_validation(read_run(folder)) for folder in done]
        tuned |= {folder.name for folder in done}
        if len(done) < len(settings):
            missing[name] = len(settings) - len(done) + seeds - 1
            continue
        chosen[name] = max(zip(tried[name], settings, strict=True), key=lambda at: _known(at[0]))[1]
        folders = [root / study.job(chosen[name], seed).key(dataset) for seed in range(seeds)]
        tested = [folder for folder in folders if is_done(folder, test=True)]
        kept |= {folder.name for folder in folders}
        if tested:
            runs[name] = [read_run(folder) for folder in tested]
        if len(tested) < seeds:
            missing[name] = seeds - len(tested)
    needless = sum(read_run(root / key).tested for key in tuned - kept)
    beside = gather(study.under(study.beside), dataset, root) if study.beside is not None else None
    return Results(study, dataset, root, chosen, runs, tried, needless, missing, beside)


def _validation(run: Run) -> float:
    found = run.about["fit"]["best"]
    return math.nan if found is None else float(found)


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value
