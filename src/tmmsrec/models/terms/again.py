"""What the person had already."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from tmmsrec.models.terms.asking import Ages, Asking, Kernel
from tmmsrec.nn.beside import Beside


@dataclass(frozen=True)
class Again:
    """Items of the history, by how long ago they were met: ln of the sum over an item's events j of exp(kernel[cell of j])."""

    def build(self, ages: Ages) -> AgainTerm:
        """One kernel."""
        return AgainTerm(ages)


class AgainTerm(nn.Module):
    """What Again builds."""

    def __init__(self, ages: Ages) -> None:
        super().__init__()
        self.kernel = Kernel(ages.cells)

    def beside(self, asking: Asking) -> Beside:
        """For every item of the histories."""
        row, step, event = asking.pairs
        odds = self.kernel(asking.cell[row, step, event]).exp()
        total = Beside.summed(asking.numbered(row, step), asking.items[row, event], odds)
        return Beside(total.rows, total.items, torch.log(total.values))
