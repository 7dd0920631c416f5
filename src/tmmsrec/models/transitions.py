"""What followed what in a log."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from tmmsrec.data.split import Part


def transitions(part: Part, n_items: int, weights: Sequence[float]) -> sparse.csr_array:
    """[I+1, I+1] float64, how often the item of a column came after that of a row in the events that may be read.

    An event k steps after another of the same user counts ``weights[k - 1]``; events further apart count nothing.
    """
    log, size = part.interactions, n_items + 1
    at = np.flatnonzero(part.readable)
    user = np.repeat(np.arange(log.users), log.lengths)[at]
    items = log.items[at].astype(np.int64)
    total = sparse.csr_array((size, size), dtype=np.float64)
    for k, weight in enumerate(weights, 1):
        same = np.flatnonzero(user[k:] == user[:-k])
        total = total + sparse.csr_array((np.full(len(same), weight), (items[same], items[same + k])), shape=(size, size))
    return total
