"""Inner products of each row with a few others of its own."""

from __future__ import annotations

import torch
from torch import Tensor

_FEW = 64


def dots(rows: Tensor, others: Tensor) -> Tensor:
    """Scores [T, K] of rows [T, d] with each one's own others [T, K, d].

    As products of matrices, which is how ``einsum`` makes them, a few thin ones take two to five times as long as a product of all
    elements and a sum (a tenth of a whole step of BCE with one negative); from a hundred on it is the other way round.
    """
    if others.shape[1] <= _FEW:
        return (rows[:, None] * others).sum(-1)
    return torch.einsum("td,tkd->tk", rows, others)
