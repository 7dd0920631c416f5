"""The one training loop, and what it is told and tells.

Every random draw is a function of (seed, epoch, step), so a loop that was killed anywhere and started again ends with the same
weights as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tmmsrec.checkpoint import Checkpoint, Saver
from tmmsrec.data.ahead import ahead
from tmmsrec.data.batch import Batch
from tmmsrec.data.stored import leave_to_python
from tmmsrec.lesson import Exam, Lesson
from tmmsrec.models.base import Model
from tmmsrec.optimiser import clip, optimiser
from tmmsrec.processes import Processes
from tmmsrec.sharing import shared
from tmmsrec.training import Training


@dataclass(frozen=True)
class Progress:
    """What a watcher is told.

    Attributes:
        epoch: 0-based.
        done: share of the epoch's steps that are done, 1 at its end.
        loss: mean so far in this epoch.
        validation: the watched metric, None until the epoch's end.
        best: the best value so far.
        events_per_second: steps with a target that were trained on, per second of this epoch.
        left: seconds left if no better value comes and patience or epochs run out.
    """

    epoch: int
    done: float
    loss: float
    validation: float | None
    best: float
    events_per_second: float
    left: float


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model, with the weights that did best in validation, and how it went.

    Attributes:
        model: in evaluation mode.
        best: the best validation value (NaN where nothing was watched).
        best_epoch: 0-based, -1 for a model that needed no training, or that no epoch made better than it began.
        history: one record per epoch: epoch, loss, lr, validation, seconds, events.
        seconds: spent training and validating, over all starts.
        refit: whether the weights were then learned anew on training and validation events together.
    """

    model: Model
    best: float
    best_epoch: int
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    refit: bool = False


Watch = Callable[[Progress], None]


class Loop:
    """One training: the state that a checkpoint holds, and what moves it.

    Where there are several processes, each has its share of every batch and of the users in validation, and all of them make the
    same steps; the first of them writes and speaks.

    ``best`` is the validation value that an epoch has to beat to be kept: what the model it goes on from has already.
    """

    def __init__(self, model: Model, lesson: Lesson, valid: Exam | None, training: Training, seed: int, best: float = -1.0) -> None:
        self.model, self.lesson, self.valid, self.training, self.seed = model, lesson, valid, training, seed
        self.processes = Processes.here()
        self.steps = lesson.steps
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.device = self.parameters[0].device
        self.optimiser = optimiser(model, training.optimiser)
        self.state = Checkpoint(best_weights={name: t.detach().clone() for name, t in model.state_dict().items()}, best=best)
        self._loss = shared(_compiled(lesson.loss) if training.compile else lesson.loss, model, self.processes)

    def run(self, saver: Saver | None, watch: Watch) -> Fitted:
        """Epochs until patience or epochs run out."""
        if saver is not None:
            saver.restore(self.state, self.model, self.optimiser)
            self.processes.wait()  # before the first of them writes what the last has not read
        if not self.processes.first:
            saver, watch = None, _nobody
        started, before = time.perf_counter(), self.state.seconds
        while self.state.epoch < self.training.epochs and not self._out_of_patience:
            begun = time.perf_counter()
            for done, events, loss in self._steps():
                self.state.seconds = before + time.perf_counter() - started
                if saver is not None:
                    saver.save_if_due(self.state, self.model, self.optimiser)
                watch(self._progress(done, events, loss, None, begun))
            self._finish_epoch(begun)
            last = self.state.history[-1]
            self.state.seconds = before + time.perf_counter() - started
            if saver is not None:
                saver.log(self.state.history)
                saver.save_if_due(self.state, self.model, self.optimiser)
            watch(self._progress(1.0, last["events"], last["loss"], last["validation"], begun))
        self.model.load_state_dict(self.state.best_weights)
        if saver is not None:
            saver.save(self.state, self.model, self.optimiser)
        return Fitted(self.model.eval(), self.state.best, self.state.best_epoch, self.state.history, self.state.seconds)

    def _steps(self) -> Iterator[tuple[float, int, float]]:
        """Train through what is left of the epoch; gives the share done, events and mean loss, now and then."""
        state, how = self.state, self.training
        if self.valid is not None and self.valid.observe:
            self.model.observe(self.lesson.part)
        self.model.train()
        self.model.begin_epoch(_number(self.seed, state.epoch))
        for group in self.optimiser.param_groups:
            group["lr"] = how.optimiser.lr * how.optimiser.decay**state.epoch
        told = time.perf_counter()
        rank = [self.processes.rank] if self.processes.rank else []  # dropout is not the same in all shares
        for batch in self._batches():
            torch.manual_seed(_number(self.seed, state.epoch, state.step, *rank))
            state.loss_sum = state.loss_sum + self.step(batch) * batch.events
            state.events += batch.events
            state.step += 1
            if time.perf_counter() - told > 0.5 and state.step < self.steps:
                told = time.perf_counter()
                yield state.step / self.steps, state.events, self._mean_loss()

    def _batches(self) -> Iterator[Batch]:
        """What is left of the epoch; a GPU works on one batch while the next is made."""
        state = self.state
        batches = self.lesson.batches((self.seed, state.epoch), state.step, self.processes)
        return ahead(batches, Batch.pinned) if self.device.type == "cuda" else batches

    def step(self, batch: Batch) -> Tensor:
        """One step of the optimiser; the mean loss of the batch's ``events`` targets, float64, where the model is.

        Nothing here waits for a GPU: what is read back of it is read between epochs, or when somebody watches.  Some losses do
        wait: those of Additive, BERT4Rec and FREEDOM, and MAML's over the items of a batch.
        """
        autocast = torch.autocast(self.device.type, torch.bfloat16) if self.training.bf16 else nullcontext()
        with autocast:
            loss: Tensor = self._loss(batch.to(self.device))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.training.optimiser.clip is not None:
            clip(self.parameters, self.training.optimiser.clip)
        self.optimiser.step()
        self.model.after_step()
        return self.processes.mean(loss.detach().double())

    def _mean_loss(self) -> float:
        mean = float(self.state.loss_sum) / max(1, self.state.events)
        if not np.isfinite(mean):
            raise FloatingPointError(
                f"the loss became {mean} in epoch {self.state.epoch}: lower the learning rate, set a clip, "
                "or check the scale of the features"
            )
        return mean

    def _finish_epoch(self, begun: float) -> None:
        """Validate, remember the best, and step on to the next epoch."""
        state, how = self.state, self.training
        loss, value, last = self._mean_loss(), None, state.epoch + 1 == how.epochs
        if self.valid is None:
            if last:
                self._keep()
        elif (state.epoch + 1) % how.every == 0 or last:
            value = self.valid(self.model)
            if value > state.best:
                state.best = value
                self._keep()
        state.history.append(
            {
                "epoch": state.epoch,
                "loss": loss,
                "lr": self.optimiser.param_groups[0]["lr"],
                "validation": value,
                "events": state.events,
                "seconds": round(time.perf_counter() - begun, 3),
            }
        )
        state.epoch, state.step, state.events, state.loss_sum = (
            state.epoch + 1,
            0,
            0,
            torch.zeros((), dtype=torch.float64),
        )

    @torch.no_grad()
    def _keep(self) -> None:
        """Write this epoch's weights over those that were best: a second copy would be as large as the model."""
        self.state.best_epoch = self.state.epoch
        best = self.state.best_weights
        for name, tensor in self.model.state_dict().items():
            if best[name].shape == tensor.shape:
                best[name].copy_(tensor)
            else:  # as many pairs of items as were seen
                best[name] = tensor.clone()

    @property
    def _out_of_patience(self) -> bool:
        return self.valid is not None and self.state.epoch - 1 - self.state.best_epoch >= self.training.patience

    def _progress(self, done: float, events: int, loss: float, validation: float | None, begun: float) -> Progress:
        state, elapsed = self.state, time.perf_counter() - begun
        current = len(state.history) - (1 if done == 1.0 else 0)
        # The median, since an epoch that was taken up again knows only its own last part.
        per_epoch = float(np.median([e["seconds"] for e in state.history])) if state.history else elapsed / max(done, 1e-3)
        until = self.training.epochs
        if self.valid is not None:
            until = min(until, max(state.best_epoch, 0) + self.training.patience + 1)
        return Progress(
            current,
            done,
            loss,
            validation,
            state.best,
            events / max(elapsed, 1e-9),
            max(0.0, until - current - done) * per_epoch,
        )


def _compiled(loss: Callable[[Batch], Tensor]) -> Callable[[Batch], Tensor]:
    leave_to_python()
    return torch.compile(loss, dynamic=True)


def _number(*names: int) -> int:
    """A 63-bit number that stands for a tuple of integers."""
    return int(np.random.SeedSequence(names).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _nobody(_: Progress) -> None:
    """The watcher of a process that does not speak."""
