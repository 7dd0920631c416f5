"""Item rows in two dimensions, by t-SNE (van der Maaten and Hinton 2008), as scikit-learn has it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST, PERPLEXITY = 5, 30.0


def projected(rows: NDArray[np.float32], seed: int = 0) -> NDArray[np.float64] | None:
    """[n, 2] of rows [n, f]; None for fewer than FEWEST rows, and where all of them are the same.

    Starts from the first two principal components.  The perplexity, about how many neighbours a point looks at, is 30, and at
    most a third of the others.  Runs in one thread: sums in another order end in another picture, so that only then equal seeds
    give equal points.
    """
    if len(rows) < FEWEST or not np.ptp(rows, axis=0).any():
        return None
    from sklearn.manifold import TSNE  # here: it takes a second to import
    from threadpoolctl import threadpool_limits

    given = np.pad(rows, ((0, 0), (0, max(0, 2 - rows.shape[1]))))  # two components need two columns
    with threadpool_limits(1):
        tsne = TSNE(2, perplexity=min(PERPLEXITY, (len(rows) - 1) / 3), init="pca", random_state=seed)
        return np.asarray(tsne.fit_transform(given), dtype=np.float64)
