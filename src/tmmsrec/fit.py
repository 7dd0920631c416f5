"""fit(): pretraining, training and refitting, each of them the one loop.  The test part is never handed to it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tmmsrec import memory, metrics, values
from tmmsrec.checkpoint import Saver
from tmmsrec.data.batch import Pass
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import Part
from tmmsrec.lesson import Exam, Lesson
from tmmsrec.loop import Fitted, Loop, Watch
from tmmsrec.models.base import Method, Model
from tmmsrec.training import Training

Known = Callable[[Method, Training], Fitted]


@dataclass(frozen=True, eq=False)
class Start:
    """What a training begins with.

    Attributes:
        method: what to build.
        dataset: its items, features and log.
        carry: puts weights into the model that was just built; there is no pretraining then.  None for fresh parameters.
        key: names those weights, so that the checkpoint of a training that began with others is not taken up.
        best: their value in validation, which an epoch has to beat; where none does, ``Fitted.best_epoch`` is -1.
        taught: the training events hold items 1..taught only, and only those stand against the targets; None for all.
        known: trains what is within the method, or knows it trained; None to train it here.
        exclude_seen: items that a user has met are left out in validation, as they will be in the test.
    """

    method: Method
    dataset: Dataset
    carry: Callable[[Model], None] | None = None
    key: str = ""
    best: float = -1.0
    taught: int | None = None
    known: Known | None = None
    exclude_seen: bool = False


def fit(
    method: Method,
    dataset: Dataset,
    *,
    train: Part,
    valid: Part,
    training: Training = Training(),
    seed: int = 0,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> Fitted:
    """Train a method and keep the weights that do best on the validation part.

    Args:
        method: what to build.
        dataset: its items, features and log.
        train: learned from.
        valid: watched, never learned from.
        training: how.
        seed: of parameters, order, negatives and dropout.
        folder: where the checkpoint and log.jsonl stand; a checkpoint of the same job found there is taken up again.
        watch: told of the progress.

    Raises:
        ValueError: a part of the wrong name, so that a test part cannot slip in; or a modality is missing; or a refit is asked for
            of a method with another one within.
        FloatingPointError: the loss became NaN or infinite (epoch and remedy are named).
        DataProblem: the folder holds the checkpoint of another job, or the machine has too little memory (see ``memory.check``).
    """
    start = Start(method, dataset)
    return learn(start, train=train, valid=valid, training=training, seed=seed, folder=folder, watch=watch)


def learn(
    start: Start,
    *,
    train: Part,
    valid: Part,
    training: Training,
    seed: int = 0,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> Fitted:
    """``fit``, from a start."""
    within = start.method.within
    if training.refit and within is not None:
        raise ValueError(
            f"training.refit: the {within.name} of {type(start.method).__name__} and its weight are chosen by validation events, "
            "which a refit would learn; leave it false"
        )
    chosen = go_on(start, train=train, valid=valid, training=training, seed=seed, folder=folder, watch=watch)
    if not training.refit or chosen.best_epoch < 0:
        return chosen
    return refit(chosen, start, train=train, valid=valid, training=training, seed=seed, folder=folder, watch=watch)


def go_on(
    start: Start,
    *,
    train: Part,
    valid: Part,
    training: Training,
    seed: int = 0,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> Fitted:
    """Train from a start and keep the weights that do best on the validation part; never refits.  See ``fit``."""
    if (train.name, valid.name) != ("train", "valid"):
        raise ValueError(f"fit takes a train and a valid part, got '{train.name}' and '{valid.name}'")
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        return _fit(start, train, valid, training, seed, folder, watch or (lambda _: None))


def refit(
    chosen: Fitted,
    start: Start,
    *,
    train: Part,
    valid: Part,
    training: Training,
    seed: int = 0,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> Fitted:
    """Train again from the same start on training and validation events together, for as many epochs as were best."""
    as_long = replace(training, epochs=chosen.best_epoch + 1)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        within = folder and folder / "refit"
        again = _fit(start, grown(train, valid), None, as_long, seed, within, watch or (lambda _: None))
    return replace(chosen, model=again.model, refit=True, seconds=chosen.seconds + again.seconds)


def _fit(
    start: Start,
    train: Part,
    valid: Part | None,
    training: Training,
    seed: int,
    folder: Path | None,
    watch: Watch,
) -> Fitted:
    """Pretraining, where the method asks for it, and training; without a validation part, all epochs."""
    dataset = start.dataset
    method = start.method.sized(dataset.n_items)
    memory.check(method, dataset, training, 0 if valid is None else len(valid))
    torch.manual_seed(seed)
    model = method.build(dataset)
    if start.carry is not None:
        start.carry(model)
    model.taught = start.taught
    model = model.to(_device())
    within = _within(start, model, train, valid, training, seed, folder, watch)
    model.prepare(train)
    model.observe(train)
    exam = None
    if valid is not None:
        reads_more = not valid.reads_as(train)
        exam = Exam(valid, metrics.parse(training.metric), method.history, reads_more, start.exclude_seen)
    if not model.trainable:
        return Fitted(model.eval(), float("nan") if exam is None else exam(model), -1)
    stops = [hashlib.sha256(part.stop.tobytes()).hexdigest() for part in (train, valid) if part is not None]
    apart = [*([start.key] if start.key else []), *(["seen left out"] if start.exclude_seen else [])]
    job = values.key(start.method, training, [dataset.fingerprint, seed, *stops, *apart])
    among = dataset.n_items if start.taught is None else start.taught
    sampler, before, seconds = Sampler(train, among, method.negatives), method.pretraining, 0.0
    if before is not None and start.carry is None:
        lesson = Lesson(model.pretraining_loss, train, sampler, Pass(training.batch, method.history, before.per, before.rows))
        # All of it at one rate: a rate that decays by a tenth an epoch would stand still long before the end.
        how = replace(training, epochs=before.epochs, optimiser=replace(training.optimiser, decay=1.0))
        saver = Saver(folder / "pretraining", job) if folder is not None else None
        seconds = Loop(model, lesson, None, how, seed).run(saver, watch).seconds
    usual = Pass(training.batch, method.history, method.row(training.windows), training.rows)
    lesson = Lesson(model.loss, train, sampler, usual)
    saver = Saver(folder, job) if folder is not None else None
    fitted = Loop(model, lesson, exam, training, seed, start.best).run(saver, watch)
    if within is not None and exam is not None:
        fitted = _settled(fitted, exam)
        seconds += within.seconds
    return replace(fitted, seconds=fitted.seconds + seconds)


def _within(
    start: Start, model: Model, train: Part, valid: Part | None, training: Training, seed: int, folder: Path | None, watch: Watch
) -> Fitted | None:
    """Train what is within a model, if anything is, and put it there; None where nothing was trained.

    What goes on from trained weights has it trained already.
    """
    within = start.method.within
    if within is None:
        return None
    inner, trained = model.get_submodule(within.name), None
    if start.carry is None:
        how = within.training or training
        if start.known is not None:
            trained = start.known(within.method, how)
        else:
            mine = folder / within.name if folder is not None else None
            inside = Start(within.method, start.dataset, exclude_seen=start.exclude_seen)
            trained = _fit(inside, train, valid, how, seed, mine, watch)
        inner.load_state_dict(trained.model.state_dict())
    return trained


def _settled(fitted: Fitted, exam: Exam) -> Fitted:
    """The model with what is chosen by validation values once it is trained."""
    begun = time.perf_counter()
    best = fitted.model.settle(lambda: exam(fitted.model))
    return replace(fitted, best=best, seconds=fitted.seconds + time.perf_counter() - begun)


def grown(train: Part, valid: Part) -> Part:
    """The training part with the validation targets in it."""
    stop = train.stop.copy()
    stop[valid.users] = valid.stop[valid.users] + 1
    return Part("train", train.interactions, stop, np.flatnonzero(stop >= 2))


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe(fitted: Fitted) -> dict[str, Any]:
    """How a training went, for JSON."""
    best = None if np.isnan(fitted.best) else fitted.best  # NaN is no JSON
    return {
        "best": best,
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "seconds": fitted.seconds,
        "refit": fitted.refit,
    }
