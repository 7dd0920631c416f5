"""What was asked of a study, kept beside its runs, so that it can be told again: a value, OUT/studies/NAME.json."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tmmsrec import values
from tmmsrec.data import split, store
from tmmsrec.data.problems import DataProblem
from tmmsrec.study.study import Study

FORMAT = 1
_FOLDER = "studies"


@dataclass(frozen=True)
class Asked:
    """A study by its name, and what was changed in it.

    Attributes:
        name: of the study.
        datasets: Dataset folders; relative ones are seen from where the command was given.
        seeds: of each chosen setting; None for the study's own number.
        methods: only these entrants and the floors; all when empty.
        training: fields of every training, ``field=value``.
        protocol: see ``data.split.protocol``.
        exclude_seen: items that the user has met are left out of the ranking.
        quick: only a look.
    """

    name: str
    datasets: tuple[str, ...]
    seeds: int | None = None
    methods: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    protocol: str = "leave-one-out"
    exclude_seen: bool = False
    quick: bool = False

    def of(self, named: Study) -> Study:
        """The study with the changes; ``named`` is the one of this name.  Raises ValueProblem for a change it cannot take."""
        asked = named.only(self.methods).changed(self.training)
        asked = replace(asked, split=split.protocol(self.protocol), exclude_seen=self.exclude_seen)
        if self.quick:
            return asked.quick() if self.seeds is None else asked.quick(self.seeds)
        return replace(asked, seeds=self.seeds) if self.seeds is not None else asked

    def keep(self, out: Path) -> None:
        """Write it down."""
        told = {"format": FORMAT, "asked": values.to_json(self)}
        store.atomic_text(out / _FOLDER / f"{self.name}.json", values.canonical(told) + "\n")


def kept(out: Path) -> list[Asked]:
    """Every study that was asked for in a folder, by name; raises DataProblem where there is none."""
    files = sorted((Path(out) / _FOLDER).glob("*.json"))
    if not files:
        of_run = f"; 'tmmsrec run' has told its own in {out}/report.html" if (Path(out) / "report.html").exists() else ""
        runs = ", and runs are told by their folders: tmmsrec report RUN RUN --data DATASET"
        raise DataProblem(f"{out} holds no study: tmmsrec study NAME DATASET --out {out} makes one{runs}{of_run}")
    return [values.from_json(Asked, store.read_about(file, "study", FORMAT)["asked"]) for file in files]
