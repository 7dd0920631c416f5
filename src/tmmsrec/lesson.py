"""What is learned: a loss, and the rows it is taken over; and what is asked in validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from tmmsrec.data.batch import Batch, Pass, training_batches
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import Part
from tmmsrec.metrics import Metric
from tmmsrec.models.base import Model
from tmmsrec.processes import ALONE, Processes
from tmmsrec.ranking import rank_shared


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learned: a loss, and the rows it is taken over.

    Attributes:
        loss: of a batch.
        part: a training part.
        sampler: of the negatives.
        how: each pass is cut into batches.
    """

    loss: Callable[[Batch], Tensor]
    part: Part
    sampler: Sampler
    how: Pass

    @property
    def steps(self) -> int:
        """Batches in a pass."""
        return self.how.steps(self.part)

    def batches(self, seed: tuple[int, ...], skip: int = 0, processes: Processes = ALONE) -> Iterator[Batch]:
        """One pass, or this process's share of it."""
        share = processes.share if processes.size > 1 else None
        return training_batches(self.part, self.how, self.sampler, seed=seed, skip=skip, share=share)


@dataclass(frozen=True, eq=False)
class Exam:
    """What a model is asked in validation, as it stands.

    Attributes:
        part: a validation part.
        metric: its mean is what a model reaches.
        history: most events read per user.
        observe: whether more may be read before its questions than is learned from: of users who are not, and of later days.
        exclude_seen: items that a user has met are left out.
    """

    part: Part
    metric: Metric
    history: int
    observe: bool
    exclude_seen: bool

    def __call__(self, model: Model) -> float:
        """What it reaches; several processes share the users."""
        how = {"observe": self.observe, "exclude_seen": self.exclude_seen}
        return float(self.metric(rank_shared(model, self.part, Processes.here(), history=self.history, **how).ranks).mean())
