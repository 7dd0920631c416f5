"""Whether a written graph says what the model says: on real histories, at several batch sizes and lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from tmmsrec.data.batch import Batch
from tmmsrec.recommender.asking import NOBODY, Asked, batch_of
from tmmsrec.recommender.state import State

Run = Callable[[Batch], np.ndarray]  # a batch -> user vectors [B, D]
_USERS = 200
_SIZES = (1, 3, 16, 64)


@dataclass(frozen=True)
class Parity:
    """How far two ways to the same vectors lie apart.

    Attributes:
        largest: the largest difference of a coordinate of a user vector, or of a score, over the larger of 1 and the largest of
            these numbers.
        batches: how many were compared.
        sizes: their numbers of histories.
        lengths: their numbers of columns.
    """

    largest: float
    batches: int
    sizes: tuple[int, ...]
    lengths: tuple[int, ...]


@torch.inference_mode()
def compare(run: Run, state: State) -> Parity:
    """The model against another way, over histories of known users (at most 200), and one of theirs joined to the longest read."""
    assert state.vectors is not None
    items = state.vectors[state.knows].cpu().numpy()
    apart, scale, shapes = 0.0, 1.0, []
    for batch in _batches(state):
        expected, got = state.queries(batch).cpu().numpy(), run(batch)
        for one, other in ((expected, got), (expected @ items.T, got @ items.T)):
            # NaN on one side only is as far apart as can be.
            difference = np.where(np.isnan(one) & np.isnan(other), 0.0, np.nan_to_num(np.abs(one - other), nan=np.inf))
            apart, scale = max(apart, float(difference.max())), max(scale, float(np.abs(one).max()))
        shapes.append(batch.items.shape)
    sizes, lengths = (tuple(sorted({shape[axis] for shape in shapes})) for axis in (0, 1))
    return Parity(apart / scale, len(shapes), sizes, lengths)


def _batches(state: State) -> Iterator[Batch]:
    longest = state.method.history
    asked = [one for _, one in state.of_everybody(most=_USERS)]
    asked = asked or [Asked(NOBODY, np.array([1]), np.array([1_500_000_000]), 1_600_000_000)]
    asked.append(_joined(asked, longest))
    for length in sorted({1, 2, 3, longest // 2, longest} - {0}):
        for size in _SIZES:
            some = asked[-size:] if len(asked) > size else asked
            yield _wide(batch_of(some, length), length)
    for start in range(0, len(asked), max(_SIZES)):
        yield batch_of(asked[start : start + max(_SIZES)], longest)


def _joined(asked: Sequence[Asked], longest: int) -> Asked:
    """One history of as many events as are read, of several people's."""
    items, times = (np.concatenate([getattr(one, name) for one in asked]) for name in ("items", "times"))
    again = -(-longest // len(items))
    items, times = np.tile(items, again)[:longest], np.sort(np.tile(times, again)[:longest])
    return Asked(NOBODY, items, times, max(int(times[-1]), max(one.at for one in asked)))


def _wide(batch: Batch, length: int) -> Batch:
    """The same batch, padded to so many columns."""
    more = length - batch.items.shape[1]
    pad = torch.nn.functional.pad
    return replace(batch, items=pad(batch.items, (0, more)), times=pad(batch.times, (0, more)), now=pad(batch.now, (0, more)))
