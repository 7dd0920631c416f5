"""What a whole path is asked: files, and what is done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tmmsrec import values, zoo
from tmmsrec.data.batch import Per
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.prepare import Preparation
from tmmsrec.data.sources.guess import Format
from tmmsrec.data.split import LeaveOneOut, Split
from tmmsrec.models.additive import Additive
from tmmsrec.models.base import Method
from tmmsrec.nn.losses import BCE, BySize, Loss
from tmmsrec.training import Training

TRAINED = ("sasrec", "tmmsrec-no-time", "tmmsrec", "tmmsrec-plus", "tmmsrec-plus-now", "tmmsrec-plus-sasrec")
TRAINING = zoo.OWN  # the paper's is what studies and ``fit`` begin with
_ROWS: dict[Per, str] = {"user": "users", "window": "windows of all their events", "event": "events"}
PLUS = ("tmmsrec-plus", "tmmsrec-plus-now", "tmmsrec-plus-sasrec")
MANY = 100_000  # items above which these, which compare each with every other, are trained only when asked for


@dataclass(frozen=True)
class Inputs:
    """The files a person brings.

    Attributes:
        interactions: events.
        items: the item table.
        images: a folder, zip or Parquet file of pictures, or "urls".
        format: of the events.
        columns: role -> column name, where names cannot be guessed.
        name: of the Dataset; the events file's when left out.
    """

    interactions: Path
    items: Path | None = None
    images: str | None = None
    format: Format = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None


@dataclass(frozen=True)
class Recipe:
    """What is done with them: a value.

    Attributes:
        preparation: which events are kept.
        text, image: encoders by name; "none" leaves the modality out.
        template: how item fields become a sentence.
        features: width of the features of the encoders that need no download.
        encoder_changes: ``MODALITY.field=value`` for an encoder: text.columns=title,brand.
        methods: trained methods by name; the floors always run.
        usual: ``field=value`` for every trained method that has the field; none may have it.
        changes: the same, after the usual ones, and somebody asked for them: one of the methods must have the field.
        loss: of methods that would learn by one random negative a step.
        training: how those are trained that have no training of their own in the zoo.
        training_changes: ``field=value`` for every training.
        seed: of everything random.
        split: which events are learned from, choose and test.
        exclude_seen: leave items that a user has met out of the rankings, in validation and in the test.
    """

    preparation: Preparation = Preparation()
    text: str = "tfidf"
    image: str = "descriptors"
    template: str = "plain"
    features: int = 128
    encoder_changes: tuple[str, ...] = ()
    methods: tuple[str, ...] = TRAINED
    usual: tuple[str, ...] = ("width=126",)
    changes: tuple[str, ...] = ()
    loss: Loss = BySize()
    training: Training = TRAINING
    training_changes: tuple[str, ...] = ()
    seed: int = 0
    split: Split = LeaveOneOut()
    exclude_seen: bool = False

    def training_of(self, name: str) -> Training:
        """How the method of this name is trained.  Raises ValueError for a change that cannot be made."""
        return values.change_all(zoo.own_training(name) or self.training, self.training_changes)


def chosen_methods(recipe: Recipe) -> dict[str, Method]:
    """Floors and trained methods of a recipe by name, each with those changes that it has a field for.

    Raises:
        ValueError: an unknown method (the nearest name is told), or a change that none of the trained methods can take.
    """
    trained = {name: named(name) for name in recipe.methods}
    for change in recipe.changes:
        takers = [one for method in trained.values() for one in _with_what_is_within(method)]
        if trained and not any(_takes(one, change) for one in takers):
            raise _problem(takers, change)
    found = {name: named(name) for name in zoo.FLOORS}
    changes = (*recipe.usual, *recipe.changes)
    return found | {n: _as_told(m, recipe, changes) for n, m in trained.items()}


def _with_what_is_within(method: Method) -> list[Method]:
    return [method] if method.within is None else [method, method.within.method]


def _as_told(method: Method, recipe: Recipe, changes: Sequence[str]) -> Method:
    """A method with the recipe's loss and changes; a network within it is trained as the recipe trains one that stands alone."""
    network = method.network if isinstance(method, Additive) else None
    made = replace(method, network=None) if isinstance(method, Additive) else method
    made = values.change_all(_by(recipe.loss, made), [c for c in changes if _takes(made, c)])
    if isinstance(made, Additive) and network is not None:
        within: Any = _as_told(network, recipe, changes)
        made = replace(made, network=within, network_training=values.change_all(recipe.training, recipe.training_changes))
    return made


def _by(loss: Loss, method: Method) -> Method:
    """The method with this loss, if it is one with the paper's."""
    return replace(method, loss=loss) if getattr(method, "loss", None) == BCE() else method  # type: ignore[type-var]


def _problem(methods: Sequence[Method], change: str) -> ValueError:
    """What is wrong with a change that none of the methods takes, as the one says it that knows what may have been meant."""
    found = []
    for method in methods:
        try:
            values.change_all(method, [change])
        except ValueError as problem:
            found.append(problem)
    return max(found, key=lambda problem: "did you mean" in str(problem))


def _takes(value: Any, change: str) -> bool:
    for name in change.partition("=")[0].strip().split("."):
        if name not in getattr(value, "__dataclass_fields__", ()):
            return False
        value = getattr(value, name)
    return True


def named(name: str) -> Method:
    """A method of the zoo by its name; raises ValueError with the nearest name."""
    known = zoo.methods()
    if name not in known:
        raise values.ValueProblem(f"unknown method '{name}'{values.nearest(name, known)}; 'tmmsrec list methods' shows all")
    return known[name]


def quick_enough(methods: Mapping[str, Method], n_items: int) -> tuple[dict[str, Method], list[str]]:
    """The methods that nobody asked for by name, but for one that is too slow for so many items; a remark if it is left out."""
    slow = [name for name in PLUS if name in methods]
    if not slow or n_items <= MANY:
        return dict(methods), []
    said = f"Left out: {', '.join(slow)}, since every item is compared with every other, and {n_items:,} are many"
    return {n: m for n, m in methods.items() if n not in slow}, [f"{said}; --method {slow[0]} trains it all the same."]


def refitted(methods: Mapping[str, Method], recipe: Recipe) -> tuple[dict[str, Method], list[str]]:
    """The methods that can be trained again on validation events where that is asked for, and a remark on those that cannot."""
    not_so = [name for name, method in methods.items() if method.within is not None and recipe.training_of(name).refit]
    said = "its network and the network's weight are chosen by validation events, which a refit would learn"
    return {n: m for n, m in methods.items() if n not in not_so}, [f"{name} was left out: {said}." for name in not_so]


def fitting(methods: Mapping[str, Method], dataset: Dataset) -> tuple[dict[str, Method], list[str]]:
    """The methods with the modalities that the data has, and a remark on those that had to go without some, or be left out."""
    found = {name: method.reading(dataset.features) for name, method in methods.items() if method.can_read(dataset.features)}
    less: dict[tuple[str, str], list[str]] = {}
    for name in found:
        method = methods[name]
        kept = found[name].reads
        missing = [m for m in method.reads if m not in kept]
        if missing:
            left = " and ".join(m for m in kept if m != "id" or len(kept) == 1)
            less.setdefault((left, " and no ".join(missing)), []).append(name)
    without = []
    for name in (name for name in methods if name not in found):
        lacking = " and no ".join(m for m in methods[name].reads if m != "id")
        without.append(f"{name} was left out: it is nothing without features, and the data has no {lacking} features.")
    return found, without + [
        f"{', '.join(names)} {'read' if len(names) > 1 else 'reads'} {left} only: the data has no {missing} features."
        for (left, missing), names in less.items()
    ]


def told_of(methods: Mapping[str, Method], recipe: Recipe) -> list[str]:
    """A remark on how those of the methods were trained that learn, and what is within them."""
    trained: dict[tuple[Training, Per], list[str]] = {}
    for name, method in methods.items():
        if method.learned:
            how = recipe.training_of(name)
            trained.setdefault((how, method.row(how.windows)), []).append(name)
    told = [f"{', '.join(names)}: {_told(how, row)}." for (how, row), names in trained.items()]
    every = dict(methods)
    for name, method in methods.items():
        if (within := method.within) is not None:
            how, called = within.training or recipe.training_of(name), f"{within.name} within {name}"
            lesson = _told(how, within.method.row(how.windows))
            told.append(f"The {called} learns before the rest and on its own: {lesson}.")
            every[f"the {called}"] = within.method
    fields = {c.partition("=")[0]: c for c in (*recipe.usual, *recipe.changes) if any(_takes(m, c) for m in every.values())}
    changed = [f"Set where a method has it: {', '.join(fields.values())}."] if fields else []
    learned = [name for name, method in every.items() if getattr(method, "loss", None) == recipe.loss]
    loss = [f"loss={type(recipe.loss).__name__}, which is not the paper's, for {', '.join(learned)}."] if learned else []
    seed = f"Trained with seed {recipe.seed}; one seed says nothing of the luck of training."
    return [" ".join([seed, *told, *loss, *changed])] if told else []


def _told(how: Training, row: Per) -> str:
    return f"about {how.batch} {_ROWS[row]} a step, at most {how.epochs} epochs, patience {how.patience}"
