"""Wide descriptors -> a few numbers: centre, weigh the groups, principal components, length 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmmsrec.extract.base import NothingToLearn, unit_rows
from tmmsrec.extract.whole import Arrays

_BLOCK = 8_192


@dataclass(frozen=True, eq=False)
class Reducer:
    """A fitted reduction.

    Attributes:
        mean: [D] float32.
        weight: [D] float32, by which centred descriptors are multiplied.
        components: [k, D] float32, orthonormal rows.
    """

    mean: NDArray[np.float32]
    weight: NDArray[np.float32]
    components: NDArray[np.float32]

    @property
    def width(self) -> int:
        """k, numbers per reduced row."""
        return len(self.components)

    @classmethod
    def fit(cls, rows: NDArray[np.floating], groups: NDArray[np.int64], shares: NDArray[np.float64], width: int) -> Reducer:
        """Fit on rows [n, D]; ``groups`` [D] says to which of ``shares`` [G] each number belongs.

        Every group's total variance becomes its share squared, so that a wide group does not drown a narrow one.  The
        result has min(width, what the rows' variance supports) components.

        Raises:
            NothingToLearn: all rows are alike.
        """
        mean = rows.mean(axis=0, dtype=np.float64)
        centred = rows.astype(np.float32) - mean.astype(np.float32)
        variance = np.bincount(groups, weights=np.square(centred).mean(axis=0, dtype=np.float64), minlength=len(shares))
        if not (variance > 1e-10).any():
            alike = f"all {len(rows)} pictures look alike, so they cannot tell items apart"
            raise NothingToLearn(alike, "leave the pictures out (--image none)")
        by_group = np.where(variance > 1e-10, shares / np.sqrt(np.maximum(variance, 1e-10)), 0.0)
        weight = by_group[groups].astype(np.float32)
        centred *= weight
        most = min(width, *centred.shape)
        from sklearn.decomposition import PCA  # here: it takes a second to import, and most only use what was learned

        # The exact solver where it is cheap; the randomised one, seeded, where it is not.
        solver = "full" if min(centred.shape) <= 500 else "randomized"
        pca = PCA(most, svd_solver=solver, iterated_power=4, random_state=0).fit(centred)
        kept = pca.explained_variance_ > 1e-7 * pca.explained_variance_[0]
        return cls(mean.astype(np.float32), weight, np.ascontiguousarray(pca.components_[kept], dtype=np.float32))

    def apply(self, rows: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Reduced rows [n, k] of length 1, and which rows [n] have a direction at all."""
        out = np.zeros((len(rows), self.width), dtype=np.float32)
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK].astype(np.float32)
            out[start : start + _BLOCK] = ((part - self.mean) * self.weight) @ self.components.T
        return unit_rows(out)

    def arrays(self) -> Arrays:
        """The fitted numbers by name."""
        return {"mean": self.mean, "weight": self.weight, "components": self.components}
