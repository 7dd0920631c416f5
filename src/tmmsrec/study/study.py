"""A study: methods on one dataset, tuned alike on validation alone, and run with several seeds.

A study is a value; its runs lie in a folder and are shared by every study that holds them (``study.run``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tmmsrec import values
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import LeaveOneOut, Split
from tmmsrec.models.base import Method
from tmmsrec.study.recipe import fitting
from tmmsrec.study.run import Job
from tmmsrec.training import Training

if TYPE_CHECKING:
    from tmmsrec.study.blocks import Section
    from tmmsrec.study.gather import Results

QUICK_WIDTH, QUICK_EPOCHS = 24, 3


@dataclass(frozen=True)
class Setting:
    """One way to train a method.

    Attributes:
        method: with the changes made.
        training: with the changes made.
        changes: what tells it from the entrant's own, ``field=value``.
    """

    method: Method
    training: Training
    changes: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The changes for people: "lr=0.001, decay=1.0"."""
        return ", ".join(c.removeprefix("training.").removeprefix("optimiser.") for c in self.changes)

    def job(self, seed: int, split: Split, exclude_seen: bool = False) -> Job:
        """The job with a seed."""
        return Job(self.method, self.training, split, seed, exclude_seen)


@dataclass(frozen=True)
class Entrant:
    """A method in a study.

    Attributes:
        method: what is trained and tested.
        training: how.
        grid: the settings to choose from by validation, each a tuple of ``field=value`` changes: of the method, or of the
            training where the field begins with ``training.``.  One empty tuple is no tuning.
    """

    method: Method
    training: Training = field(default_factory=Training)
    grid: tuple[tuple[str, ...], ...] = ((),)

    def settings(self) -> list[Setting]:
        """Every setting of the grid; raises ValueProblem for a change that cannot be made."""
        return [self._setting(changes) for changes in self.grid]

    def changed(self, changes: Sequence[str]) -> Entrant:
        """With changes to the training: what they name is no longer chosen, and settings that are the same by it stand once."""
        named = {"training." + change.partition("=")[0].strip() for change in changes}
        grid = dict.fromkeys(tuple(c for c in setting if c.partition("=")[0].strip() not in named) for setting in self.grid)
        return dataclasses.replace(self, training=values.change_all(self.training, changes), grid=tuple(grid))

    def quick(self) -> Entrant:
        """The same method narrow, trained for a few epochs with its first setting."""
        widths = {f.name: getattr(self.method, f.name) for f in dataclasses.fields(self.method)}  # type: ignore[arg-type]
        small: dict[str, Any] = {"width": min(widths["width"], QUICK_WIDTH)} if "width" in widths else {}
        small |= {"pretraining_epochs": 1} if "pretraining_epochs" in widths else {}
        training = dataclasses.replace(self.training, epochs=QUICK_EPOCHS, rows=512, every=min(self.training.every, QUICK_EPOCHS))
        if (within := self.method.within) is not None:
            inner = Entrant(within.method, within.training or self.training).quick()
            small |= {within.name: inner.method, f"{within.name}_training": inner.training}
        return Entrant(dataclasses.replace(self.method, **small), training, self.grid[:1])  # type: ignore[type-var]

    def _setting(self, changes: tuple[str, ...]) -> Setting:
        mark = "training."
        of_training = [c.removeprefix(mark) for c in changes if c.startswith(mark)]
        of_method = [c for c in changes if not c.startswith(mark)]
        return Setting(values.change_all(self.method, of_method), values.change_all(self.training, of_training), changes)


@dataclass(frozen=True)
class Sweep:
    """A curve over what a study changes step by step.

    Attributes:
        axis: what is changed, with its unit.
        steps: entrant -> the number it stands at.
    """

    axis: str
    steps: Mapping[str, float]


@dataclass(frozen=True)
class Study:
    """What is asked.

    Attributes:
        title: of the table.
        entrants: name -> entrant, in the table's order.
        seeds: how many seeds each chosen setting is run with, 0, 1, ...; the first one is the one that settings are chosen by.
        split: which events are held out.
        exclude_seen: leave out what a user has met when ranking the test part.
        printed: entrant -> where the paper prints its numbers, "Table 3/SASRec".
        subject: the entrant that all others are compared with; the last one when left out.
        sweeps: what is changed step by step, each shown as a curve.
        parts: what a part is worth: its name -> (an entrant with it, the same without it).
        beside: the same is asked once more with this split, for ``more`` to compare.
        fewer: a method goes without the modalities that the data lacks; otherwise it is left out there.  Those that become the same
            by it stand once, by the first of their names.
        remarks: what else is to be known of the entrants.
        more: sections of its own, made of the finished study.
    """

    title: str
    entrants: Mapping[str, Entrant] = field(default_factory=dict)
    seeds: int = 3
    split: Split = LeaveOneOut()
    exclude_seen: bool = False
    printed: Mapping[str, str] = field(default_factory=dict)
    subject: str = ""
    sweeps: tuple[Sweep, ...] = ()
    parts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    beside: Split | None = None
    fewer: bool = False
    remarks: tuple[str, ...] = ()
    more: Callable[[Results], Sequence[Section]] | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise values.ValueProblem(f"a study needs at least one seed, got {self.seeds}")

    def fitting(self, dataset: Dataset) -> Study:
        """The study with the entrants whose modalities the data has, or with ``fewer``, all by those that it has."""
        if self.fewer:
            return self._with_fewer(dataset)
        able = {n: e for n, e in self.entrants.items() if set(e.method.reads) - {"id"} <= set(dataset.features)}
        return dataclasses.replace(self, entrants=able)

    def _with_fewer(self, dataset: Dataset) -> Study:
        methods, _ = fitting({n: e.method for n, e in self.entrants.items()}, dataset)
        able = {n: e for n, e in self.entrants.items() if n in methods}
        first: dict[tuple[Method, Training, tuple[tuple[str, ...], ...]], str] = {}
        same = {n: first.setdefault((methods[n], e.training, e.grid), n) for n, e in able.items()}
        left_out = [n for n in self.entrants if n not in methods]
        _, remarks = fitting({n: self.entrants[n].method for n in (*first.values(), *left_out)}, dataset)
        return dataclasses.replace(
            self,
            entrants={n: dataclasses.replace(self.entrants[n], method=methods[n]) for n in first.values()},
            subject=same.get(self.subject, self.subject),
            parts=_once(self.parts, same),
            remarks=(*self.remarks, *remarks),
        )

    def only(self, names: Collection[str] | None) -> Study:
        """The study with the named entrants and all that need no training or no grid; raises ValueProblem for an unknown name."""
        if not names:
            return self
        for name in names:
            if name not in self.entrants:
                known = ", ".join(map(repr, self.entrants))  # names have commas of their own
                raise values.ValueProblem(f"'{name}' is not in this study{values.nearest(name, self.entrants)}; it has {known}")
        kept = {n: e for n, e in self.entrants.items() if n in names or not e.method.learned or len(e.grid) == 1}
        return dataclasses.replace(self, entrants=kept)

    def changed(self, changes: Sequence[str]) -> Study:
        """The study with changes to every training, which no grid takes back; raises ValueProblem for one that cannot be made."""
        return dataclasses.replace(self, entrants={n: e.changed(changes) for n, e in self.entrants.items()})

    def quick(self, seeds: int = 1) -> Study:
        """A look at the whole study in minutes: narrow, short, no tuning; its title says so."""
        entrants = {name: entrant.quick() for name, entrant in self.entrants.items()}
        told = "one seed" if seeds == 1 else f"{seeds} seeds"
        title = f"{self.title} (--quick: width {QUICK_WIDTH}, {QUICK_EPOCHS} epochs, {told}, no tuning: only a look)"
        return dataclasses.replace(self, title=title, entrants=entrants, seeds=seeds, printed={})

    def under(self, split: Split) -> Study:
        """The same study with another split, and nothing beside it."""
        return dataclasses.replace(self, split=split, beside=None, more=None)

    def job(self, setting: Setting, seed: int) -> Job:
        """A setting's job with a seed."""
        return setting.job(seed, self.split, self.exclude_seen)

    def tuning(self) -> Iterator[tuple[str, Setting, Job]]:
        """The jobs that settings are chosen by: every setting with the first seed."""
        for name, entrant in self.entrants.items():
            for setting in entrant.settings():
                yield name, setting, self.job(setting, 0)

    def repeats(self, chosen: Mapping[str, Setting]) -> Iterator[tuple[str, Job]]:
        """The jobs of the other seeds, for the settings that were chosen."""
        for name, setting in chosen.items():
            yield from ((name, self.job(setting, seed)) for seed in range(1, self.seeds))


def _once(parts: Mapping[str, tuple[str, str]], same: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The pairs by the names that stand now: none of one entrant with itself, and none twice."""
    found: dict[str, tuple[str, str]] = {}
    for part, (with_it, without) in parts.items():
        pair = same.get(with_it, ""), same.get(without, "")
        if all(pair) and pair[0] != pair[1] and pair not in found.values():
            found[part] = pair
    return found
