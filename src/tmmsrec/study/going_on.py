"""Training on from a bundle's weights over merged data, and what that is worth."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tmmsrec import metrics, values, zoo
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.merge import reordered
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import Part
from tmmsrec.fit import Start, describe, go_on, refit
from tmmsrec.loop import Fitted
from tmmsrec.models.base import Model
from tmmsrec.ranking import rank
from tmmsrec.recommender.growing import carry, learned, with_log
from tmmsrec.recommender.state import State
from tmmsrec.study.keeping import Asked, Past, Ranks, Verdict, asked, compared, verdict
from tmmsrec.study.news import News
from tmmsrec.study.run import result
from tmmsrec.study.stages import Listener
from tmmsrec.training import Training

NEW_WEIGHTS, OLD_WEIGHTS, COUNTED = "new weights", "old weights", "counted anew"


@dataclass(frozen=True)
class Going:
    """How training goes on: a value.

    Attributes:
        epochs: most epochs; few, as the weights have learned most of it already.
        patience: epochs without a better value before stopping.
        rate: the learning rate's share of the rate that the bundle was first trained with.
        tolerance: how much worse on old data is accepted, see ``keeping.verdict``.
        changes: ``field=value`` for the Training, after all of that.
        seed: of everything random.
    """

    epochs: int = 10
    patience: int = 3
    rate: float = 0.5
    tolerance: float = 0.0
    changes: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.tolerance < 0:
            raise ValueError(f"rate must be above 0 and tolerance at least 0, got {self.rate} and {self.tolerance}")

    def training(self, first: Training) -> Training:
        """How to train after a first training; raises ValueError for a change that does not fit."""
        every = min(first.every, self.epochs)
        optimiser = replace(first.optimiser, lr=first.optimiser.lr * self.rate)
        how = replace(first, epochs=self.epochs, every=every, patience=max(self.patience, every), optimiser=optimiser)
        return values.change_all(how, self.changes)


def learn(
    news: News, past: Past, training: Training, how: Going, work: Path, base: str, listener: Listener
) -> tuple[State, dict[str, Any]]:
    """Train on from the old weights, judge, and measure; the State to keep and what is told of it.

    Args:
        news: the old weights over the merged data.
        past: how those were learned and tested.
        training: how to train on.
        how: the tolerance and the seed.
        work: where the checkpoint stands.
        base: a name for the old weights.
        listener: told of the progress.
    """
    news, questions = _in_order(news, past)
    state, data = news.state, news.state.dataset
    begun = time.perf_counter()
    told: dict[str, Any] = {"merged": news.counts}
    if not state.model.trainable:
        state, found = _recounted(news, questions, listener)
        return state, {**told, **found, "fit": None, "seconds": round(time.perf_counter() - begun, 2)}
    before = _ranks(state, questions.parts.test, questions)
    after, fitted, judged = None, None, Verdict(False, "no event was added, so there was nothing to learn")
    if news.counts["events"]["added"]:
        after, fitted, judged = _trained(news, questions, training, how, work, base, listener)
    new = _ranks(after, questions.parts.test, questions) if after is not None else None
    told |= _measured(NEW_WEIGHTS if judged.new else OLD_WEIGHTS, judged.why, before, new, questions, data, listener)
    told |= {"fit": describe(fitted) if fitted is not None else None, "seconds": round(time.perf_counter() - begun, 2)}
    kept = after if after is not None and judged.new else state
    kept.model.observe(Part.whole(data.interactions))  # each ranking showed it only what may be read before the targets
    return kept, told


def _in_order(news: News, past: Past) -> tuple[News, Asked]:
    """The items to learn from before the other new ones, so that a model can tell them by their rows; and what is asked."""

    def cut(data: Dataset) -> Asked:
        return asked(Part.whole(data.interactions), news.old, news.counts["users"]["short"]["fewer_than"], past)

    data = news.state.dataset
    rows, *_ = cut(data).order(news.state.trained, data.n_items)
    data = reordered(data, rows)
    return replace(news, state=with_log(news.state, data)), cut(data)


def _measured(
    kept: str, why: str, before: Ranks, after: Ranks | None, questions: Asked, data: Dataset, listener: Listener
) -> dict[str, Any]:
    """What is kept and why, and how the old and the new stand on the test targets."""
    floors = _floors(data, questions, listener)
    return {
        "kept": kept,
        "why": why,
        "groups": compared(before, after, floors, questions.groups()),
        "test_users": len(questions.parts.test),
        "result": result(before if after is None or kept == OLD_WEIGHTS else after),
    }


def _trained(
    news: News, questions: Asked, training: Training, how: Going, work: Path, base: str, listener: Listener
) -> tuple[State | None, Fitted, Verdict]:
    """The State with the weights of the best epoch, None where no epoch was better than the old weights; and the verdict."""
    state, valid = news.state, questions.parts.valid
    _, taught, with_valid = questions.order(state.trained, state.dataset.n_items)
    if not len(valid):
        raise DataProblem(
            "no validation target is left that the bundle has not learned (it was refitted on them); wait for more events"
        )
    old = _ranks(state, valid, questions)
    had = float(metrics.parse(training.metric)(old).mean())
    listener.stage(f"training on from {training.metric} {had:.4f} in validation")
    start = Start(
        state.method,
        state.dataset,
        lambda model: carry(state, model, taught),
        base,
        had,
        taught,
        exclude_seen=questions.exclude_seen,
    )
    common: dict[str, Any] = {
        "train": questions.parts.train,
        "valid": valid,
        "training": training,
        "seed": how.seed,
        "folder": work,
        "watch": listener.training("update"),
    }
    fitted = go_on(start, **common)
    if fitted.best_epoch < 0:
        best = max((h["validation"] for h in fitted.history if h["validation"] is not None), default=0.0)
        said = f"no epoch of {len(fitted.history)} was better in validation than the old weights"
        return None, fitted, Verdict(False, f"{said} ({training.metric} {best:.4f} against {had:.4f})")
    after = learned(state, fitted.model, taught)
    new = _ranks(after, valid, questions)
    judged = verdict(old, new, questions.of_old_events(valid), training.metric, how.tolerance)
    if judged.new and training.refit:
        listener.stage("training again from the old weights, on training and validation events together")
        more = replace(start, carry=lambda model: carry(state, model, with_valid), taught=with_valid)
        fitted = refit(fitted, more, **common)
        after = learned(state, fitted.model, with_valid)
    return after, fitted, judged


def _ranks(state: State, part: Part, questions: Asked, *, observe: bool = True) -> Ranks:
    how: dict[str, Any] = {"history": state.method.history, "exclude_seen": questions.exclude_seen}
    return rank(state.model, part, **how, observe=observe).ranks


def _recounted(news: News, questions: Asked, listener: Listener) -> tuple[State, dict[str, Any]]:
    """A method that only counts: counted anew, and asked with what may be read before each target.

    Before: counted from the events that were there before, the targets left out, so that no question knows its answer.
    """
    state, test, log = news.state, questions.parts.test, news.state.dataset.interactions
    read = test.readable & news.old
    users = log.owners
    was = Interactions.of(users[read], log.items[read], log.times[read], log.users)
    state.model.observe(Part.whole(was))
    before = _ranks(state, test, questions, observe=False)
    after = _ranks(state, test, questions)
    why = f"{type(state.method).__name__} only counts: it has no weights that could be kept"
    found = _measured(COUNTED, why, before, after, questions, state.dataset, listener)
    return learned(state, state.model, state.dataset.n_items), found


def _floors(data: Dataset, questions: Asked, listener: Listener) -> dict[str, Ranks]:
    """Test ranks of what needs no training, counted over the merged log."""
    listener.stage("the floors")
    known = zoo.methods()
    found: dict[str, Ranks] = {}
    for name in zoo.FLOORS:
        method = known[name].under(questions.exclude_seen)
        model: Model = method.build(data)
        found[name] = rank(model, questions.parts.test, history=method.history, exclude_seen=questions.exclude_seen).ranks
    return found
