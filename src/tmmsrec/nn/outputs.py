"""What the vectors after each step are multiplied with to score items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import pad

from tmmsrec.nn.items import LearnedRows


class Output(ABC):
    """A way to score items: a value."""

    @abstractmethod
    def build(self, n_items: int, width: int, streams: int) -> nn.Module | None:
        """The module for ``streams`` streams of ``width``; None where the rows that enter the streams score too."""


@dataclass(frozen=True)
class Tied(Output):
    """The rows that enter the streams are the candidates too, Eq. 12."""

    def build(self, n_items: int, width: int, streams: int) -> None:
        """Nothing of its own."""
        return


@dataclass(frozen=True)
class Classifier(Output):
    """Rows of its own and a bias for each item and stream, as TriMLP's linear classifier; the streams' scores are summed."""

    def build(self, n_items: int, width: int, streams: int) -> nn.Module:
        """[I+1, width + 1] for each stream; the last coordinate is the bias."""
        return _Classifier(n_items, width, streams)


class _Classifier(nn.Module):
    def __init__(self, n_items: int, width: int, streams: int) -> None:
        super().__init__()
        self.rows = nn.ModuleList(LearnedRows(n_items, width + 1) for _ in range(streams))

    def queries(self, vectors: list[Tensor]) -> list[Tensor]:
        """[..., width] of each stream -> [..., width + 1], a one beside each for the bias."""
        return [pad(vector, (0, 1), value=1.0) for vector in vectors]

    def forward(self, rows: Tensor | None = None) -> list[Tensor]:
        """Candidates of each stream, [..., width + 1]."""
        return [table(rows) for table in self.rows]
