"""What followed what in a log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy import sparse

from tmmsrec.data.split import Part


def transitions(part: Part, n_items: int, weights: Sequence[float]) -> sparse.csr_array:
    """[I+1, I+1] float64, how often the item of a column came after that of a row in the events that may be read.

    An event k steps after another of the same user counts ``weights[k - 1]``; events further apart count nothing.
    """
    return weighed(by_steps(part, n_items, len(weights)), weights)


def by_steps(part: Part, n_items: int, most: int) -> Iterator[sparse.csr_array]:
    """[I+1, I+1] float64 for 1, 2, ... ``most`` steps: how often the item of a column came so many steps after that of a row."""
    log, size = part.interactions, n_items + 1
    at = np.flatnonzero(part.readable)
    user = log.owners[at]
    items = log.items[at].astype(np.int64)
    for k in range(1, most + 1):
        same = np.flatnonzero(user[k:] == user[:-k])
        yield sparse.csr_array((np.ones(len(same)), (items[same], items[same + k])), shape=(size, size))


def weighed(steps: Iterable[sparse.csr_array], weights: Sequence[float]) -> sparse.csr_array:
    """The sum of as many of the counts of ``by_steps`` as there are weights, each times its own; at least one."""
    first, *others = (weight * found for weight, found in zip(weights, steps, strict=False))
    return sum(others, first)


def shares(counts: sparse.csr_array) -> sparse.csr_array:
    """P(column | row): each row of counts divided by its sum."""
    found = counts.copy()
    found.data = found.data / np.repeat(counts.sum(axis=1), np.diff(counts.indptr))
    return found
