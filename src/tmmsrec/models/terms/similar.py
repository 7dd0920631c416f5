"""What is like the things that a person had."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.models.terms.asking import Ages, Asking, Kernel
from tmmsrec.nn.dropout import Dropout


@dataclass(frozen=True)
class Similar:
    """Items by the cosine between their features and a mean of the history's, weighted by how long ago its events were.

        q = e^s (I + U V^T) sum over events j of softmax_j(kernel[cell of j]) x_j     score of i: q . x_i
        s = scale[age of the newest event]

    x are the features, centred and at length 1, and not trained: little is learned, so little can be learned by heart.  U and V
    learn which of their directions make two things alike, and what goes with what.  An event whose item lacks the modality does
    not take part; an item that lacks it has the score 0, that of the average item.

    Attributes:
        rank: columns of U and V; 0 leaves them out, and likeness is the plain cosine.
        dropout: on what U makes.
    """

    rank: int = 0
    dropout: float = 0.3

    def build(self, rows: Tensor, present: Tensor, ages: Ages) -> SimilarTerm:
        """For features [I+1, f], present [I+1]."""
        return SimilarTerm(self, rows, present, ages)


class SimilarTerm(nn.Module):
    """What Similar builds for one modality."""

    def __init__(self, value: Similar, rows: Tensor, present: Tensor, ages: Ages) -> None:
        super().__init__()
        # Not persistent: they are data, stored once with the catalogue.
        self.register_buffer("features", rows, persistent=False)
        self.register_buffer("present", present, persistent=False)
        # Persistent: items that come later must not move the others.
        self.register_buffer("centre", rows[present].mean(0) if present.any() else rows.new_zeros(rows.shape[1]))
        self.features: Tensor
        self.present: Tensor
        self.centre: Tensor
        self.register_buffer("unit", self._unit(), persistent=False)  # x of the formula, zero where the modality is missing
        self.unit: Tensor
        self.register_load_state_dict_post_hook(SimilarTerm._loaded)  # type: ignore[no-untyped-call]
        self.kernel = Kernel(ages.cells)
        self.scale = Kernel(ages.count, math.log(10.0))
        width = rows.shape[1]
        self.down = nn.Parameter(torch.randn(width, value.rank) / math.sqrt(width)) if value.rank else None
        self.up = nn.Parameter(torch.zeros(value.rank, width)) if value.rank else None
        self.dropout = Dropout(value.dropout)

    def queries(self, asking: Asking) -> Tensor:
        """[B, K, f]."""
        held = asking.seen & self.present[asking.items][:, None]
        weights = self.kernel(asking.cell).masked_fill(~held, -torch.inf).softmax(-1)
        weights = torch.where(held.any(-1, keepdim=True), weights, 0.0)
        query = weights @ self.rows(asking.items)
        if self.down is not None and self.up is not None:
            query = query + self.dropout(query @ self.down) @ self.up
        scaled: Tensor = query * self.scale(asking.age).exp()[..., None]
        return scaled

    def rows(self, items: Tensor) -> Tensor:
        """Item rows [...] -> x of the formula [..., f], zero where the modality is missing."""
        return self.unit[items]

    def items(self) -> Tensor:
        """[I+1, f]."""
        return self.unit

    def _unit(self) -> Tensor:
        return functional.normalize(self.features - self.centre, dim=-1) * self.present[:, None]

    def _loaded(self, _: object) -> None:
        """Another centre may have been loaded."""
        self.unit = self._unit()
