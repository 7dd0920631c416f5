"""What the time of the year calls for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tmmsrec.models.terms.asking import Ages, Asking, Kernel
from tmmsrec.models.terms.similar import SimilarTerm

_YEAR = 31_556_952  # seconds: 365.2425 days


@dataclass(frozen=True)
class Season:
    """Items by what their features have to do with the time of the year, whoever asks.

        score of i: s sum over waves k of cos(2 pi k t) <a_k, x_i> + sin(2 pi k t) <b_k, x_i>
        t = how much of the year has gone,   s = strength[age of the newest event],   x the features of all modalities as
        ``Similar`` reads them, side by side

    So it is learned of coats, not of this coat, and an item that nobody has met has its season too.  t is that of the newest event,
    or of the request where ages are counted until it.

    Attributes:
        waves: how many to a year: with one there is a high and a low, half a year apart.
    """

    waves: int = 2

    def __post_init__(self) -> None:
        if self.waves < 1:
            raise ValueError(f"Season.waves must be at least 1, got {self.waves}")

    def build(self, widths: Sequence[int], ages: Ages) -> SeasonTerm:
        """For modalities of these widths."""
        return SeasonTerm(self, widths, ages)


class SeasonTerm(nn.Module):
    """What Season builds.  Features are those of the Similar terms, which it is given; it holds none."""

    def __init__(self, value: Season, widths: Sequence[int], ages: Ages) -> None:
        super().__init__()
        self.width = 2 * value.waves
        self.register_buffer("waves", torch.arange(1, value.waves + 1), persistent=False)
        self.waves: Tensor
        self.weights = nn.ParameterList(nn.Parameter(torch.zeros(width, self.width)) for width in widths)  # a and b, by columns
        self.strength = Kernel(ages.count, 1.0)

    def queries(self, asking: Asking) -> Tensor:
        """[B, K, 2 waves]."""
        # As integers while it is large: seconds since 1970 would leave a float of 32 bits two minutes to tell apart.
        gone = asking.moment.remainder(_YEAR)[..., None] * self.waves % _YEAR
        turns = gone.to(self.strength.weight.dtype) * (2 * math.pi / _YEAR)
        told: Tensor = torch.cat([turns.cos(), turns.sin()], dim=-1) * self.strength(asking.age)[..., None]
        return told

    def items(self, features: Sequence[SimilarTerm]) -> Tensor:
        """[I+1, 2 waves]."""
        parts = [term.items() @ weight for term, weight in zip(features, self.weights, strict=True)]
        return torch.stack(parts).sum(0)
