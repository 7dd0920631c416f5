"""What tuning is asked and what came of it: values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, Literal

from tmmsrec import values, zoo
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import LeaveOneOut, Split
from tmmsrec.models.base import Method
from tmmsrec.space import Axis, Option, Range
from tmmsrec.study.recipe import named
from tmmsrec.study.run import Job
from tmmsrec.study.study import Entrant
from tmmsrec.training import Training

MARK = "training."

AS_IT_IS = "as it is"

State = Literal["finished", "pruned", "diverged"]


@dataclass(frozen=True)
class Tuning:
    """What is asked.

    Attributes:
        name: of a method of the zoo.
        sets: changes to it, ``field=value``, which all trials have; what they name is not searched.
        trainings: the same of its training.
        split: which events are held out.
        seed: of every training, and of what is tried.
        trials: how many are made, counting those that were stopped early.
        exclude_seen: leave out items that a user has met, as the test will.
    """

    name: str
    sets: tuple[str, ...] = ()
    trainings: tuple[str, ...] = ()
    split: Split = LeaveOneOut()
    seed: int = 0
    trials: int = 20
    exclude_seen: bool = False

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise values.ValueProblem(f"tuning needs at least one trial, got {self.trials}")
        if not self.space:
            given = f" besides {', '.join([*self.sets, *self.trainings])}" if self.sets or self.trainings else ""
            raise values.ValueProblem(
                f"there is nothing to tune in {self.name}{given}; what can be searched stands in tmmsrec/zoo.py"
            )

    @cached_property
    def method(self) -> Method:
        """As it is before anything is tried."""
        return values.change_all(named(self.name), self.sets)

    @cached_property
    def training(self) -> Training:
        """How each trial trains.  Refitting comes after the choice: trials that did it would only take twice the time."""
        return replace(values.change_all(zoo.training(self.name), self.trainings), refit=False)

    @cached_property
    def space(self) -> dict[str, Axis]:
        """What is searched: the zoo's space, but for fields that were given, or whose value is none of those to search."""
        given = [*self.sets, *(MARK + change for change in self.trainings)]
        known = zoo.space(self.name, self.method, self.training)
        left = {path: axis for path, axis in known.items() if not any(_names(change, path) for change in given)}
        return {path: axis for path, axis in left.items() if self._standing(path, axis) is not None}

    @cached_property
    def own(self) -> dict[str, Option]:
        """The point of the space that changes nothing: the first trial, so that tuning is never worse than none."""
        standing = {path: self._standing(path, axis) for path, axis in self.space.items()}
        return {path: option for path, option in standing.items() if option is not None}

    def _standing(self, path: str, axis: Axis) -> Option | None:
        """Which option of an axis its field has now; None when it has another value."""
        value: Any = self.training if path.startswith(MARK) else self.method
        path = path.removeprefix(MARK)
        if isinstance(axis, Range):
            number: float = reduce(getattr, path.split("."), value)
            return number if axis.holds(number) else None
        return next((option for option in axis.of if values.change(value, path, axis.text(option)) == value), None)

    def changes(self, point: Mapping[str, Option]) -> tuple[str, ...]:
        """A point of the space as ``field=value`` changes; what stays as it is, is left out."""
        return tuple(
            f"{path}={axis.text(point[path])}"
            for path, axis in self.space.items()
            if axis.text(point[path]) != axis.text(self.own[path])
        )

    def job(self, changes: Sequence[str]) -> Job:
        """The job of a trial; raises ValueProblem for changes that cannot be made."""
        (setting,) = Entrant(self.method, self.training, (tuple(changes),)).settings()
        return setting.job(self.seed, self.split, self.exclude_seen)

    def key(self, dataset: Dataset) -> str:
        """The name of what is kept of it; more trials go on with the same."""
        about = [dataset.fingerprint, self.seed, *(["seen left out"] if self.exclude_seen else [])]
        return f"{self.name}-{values.key(self.method, self.training, self.split, self.space, about)}"


def _names(change: str, path: str) -> bool:
    """Whether a change says what the field at a path is: by name, by a part of it, or in a whole given as JSON."""
    named, _, text = change.partition("=")
    named = named.strip()
    whole = text.lstrip().startswith("{") and path.startswith(f"{named}.")
    return path == named or named.startswith(f"{path}.") or whole


@dataclass(frozen=True)
class Trial:
    """One way that was tried.

    Attributes:
        number: from 1, in the order in which they were made.
        changes: what tells it from the method as it is, ``field=value``.
        state: "pruned" was stopped by epoch, since others had been better by then; the loss of "diverged" became infinite.
        value: best of the watched metric on the validation part; None where it diverged before there was any.
        epochs: that were trained.
        seconds: that they took.
        run: the name of its folder.
        same_as: the number of an earlier trial that was the very same, so that nothing was done; None otherwise.
    """

    number: int
    changes: tuple[str, ...]
    state: State
    value: float | None
    epochs: int
    seconds: float
    run: str
    same_as: int | None = None

    @property
    def said(self) -> str:
        """Its changes in a line."""
        return " ".join(self.changes) or AS_IT_IS


@dataclass(frozen=True, eq=False)
class Tuned:
    """What came of it.

    Attributes:
        tuning: what was asked.
        dataset: of what.
        trials: in the order in which they were made.
    """

    tuning: Tuning
    dataset: Dataset
    trials: Sequence[Trial]

    @property
    def ranked(self) -> list[Trial]:
        """Finished trials, the best first, each once; of equal ones the earlier first."""
        done = [t for t in self.trials if t.state == "finished" and t.same_as is None]
        return sorted(done, key=lambda t: -(t.value or 0.0))

    @property
    def best(self) -> Trial:
        """The best."""
        return self.ranked[0]

    def count(self, state: str) -> int:
        """How many trials ended so."""
        return sum(t.state == state for t in self.trials)

    @property
    def epochs(self) -> int:
        """What all trials came to."""
        return sum(t.epochs for t in self.trials)

    @property
    def seconds(self) -> float:
        """What all trials came to."""
        return sum(t.seconds for t in self.trials)
