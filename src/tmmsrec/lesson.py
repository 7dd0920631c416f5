"""What is learned: a loss, and the rows it is taken over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from tmmsrec.data.batch import Batch, Per, Rows, training_batches
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import Part
from tmmsrec.processes import ALONE, Processes


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learned: a loss, and the rows it is taken over.

    Attributes:
        loss: of a batch.
        part: a training part.
        per: what a row is.
        length: most events read per row.
        sampler: of the negatives.
        most: rows in a pass, None for all.
    """

    loss: Callable[[Batch], Tensor]
    part: Part
    per: Per
    length: int
    sampler: Sampler
    most: int | None = None

    def __len__(self) -> int:
        rows = len(Rows.of(self.part, self.length, self.per))
        return rows if self.most is None else min(rows, self.most)

    def batches(self, size: int, seed: tuple[int, ...], skip: int, processes: Processes = ALONE) -> Iterator[Batch]:
        """One pass, or this process's share of it."""
        return training_batches(
            self.part,
            size=size,
            length=self.length,
            sampler=self.sampler,
            seed=seed,
            skip=skip,
            per=self.per,
            most=self.most,
            share=processes.share if processes.size > 1 else None,
        )
