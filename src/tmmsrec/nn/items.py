"""Item tables: learned rows, or frozen features through a projection.  Row 0 is padding and always zero."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn

_ROWS = 1 << 16  # rows that are read together where all are asked for


class Stored(Protocol):
    """Rows [n, f] that are read from where they are stored."""

    def __len__(self) -> int: ...

    @property
    def width(self) -> int:
        """f."""

    def __call__(self, rows: Tensor) -> Tensor:
        """The rows [...] as [..., f] float32, on the device of ``rows``."""


class ItemTable(nn.Module, ABC):
    """One modality's item rows.

    Attributes:
        complete: whether every item has this modality.
    """

    complete: bool

    @abstractmethod
    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Rows [...] -> [..., d]; all rows [I+1, d] when none are named."""

    @abstractmethod
    def has(self, rows: Tensor) -> Tensor:
        """Which of the rows [...] have this modality, bool."""


class LearnedRows(ItemTable):
    """E^id of Eq. 4: one learned row per item, [I+1, d]."""

    def __init__(self, n_items: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(n_items + 1, width, padding_idx=0)
        self.only_first(n_items)

    def only_first(self, known: int) -> None:
        """Say that rows after ``known`` came after training: they count as absent and are masked, as a missing picture is."""
        self.known = known
        self.complete = known >= self.table.num_embeddings - 1

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Rows [...] -> [..., d]; all rows [I+1, d] when none are named."""
        whole: Tensor = self.table.weight
        return whole if rows is None else self.table(rows)

    def has(self, rows: Tensor) -> Tensor:
        """Which of the rows [...] have this modality."""
        return (rows != 0) & (rows <= self.known)


class FrozenRows(ItemTable):
    """E^te and E^im of Eq. 2-3: features that are not trained.

    Features as wide as ``width`` pass as they are; others go through a learned linear map without bias, so that padding and
    missing rows stay zero.

    Args:
        features: [I+1, f] float32, zero in row 0 and where missing; the module's own, or read from where they are stored: then only
            the rows that are asked for are read and mapped.
        present: [I+1] bool.
        width: d.
    """

    def __init__(self, features: Tensor | Stored, present: Tensor, width: int) -> None:
        super().__init__()
        self.stored = None if isinstance(features, Tensor) else features
        if not isinstance(features, Tensor):
            features = torch.zeros(0, features.width)
        # Not persistent: they are data, stored once with the catalogue and not in every checkpoint.
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.features: Tensor
        self.present: Tensor
        self.complete = bool(present[1:].all())
        self.map = nn.Identity() if features.shape[1] == width else nn.Linear(features.shape[1], width, bias=False)

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Rows [...] -> [..., d]; all rows [I+1, d] when none are named."""
        if self.stored is not None:
            return self._every(self.stored) if rows is None else self._mapped(self.stored(rows))
        return self._mapped(self.features if rows is None else self.features[rows])

    def _mapped(self, features: Tensor) -> Tensor:
        mapped: Tensor = self.map(features)
        return mapped

    def _every(self, stored: Stored) -> Tensor:
        """All rows [I+1, d], read and mapped a block at a time."""
        whole = torch.arange(len(stored), device=self.present.device)
        made = (self._mapped(stored(rows)) for rows in whole.split(_ROWS))
        if torch.is_grad_enabled():
            return torch.cat(list(made))
        first = next(made)
        every = first.new_empty(len(stored), first.shape[1])
        every[: len(first)], at = first, len(first)
        for block in made:
            every[at : at + len(block)], at = block, at + len(block)
        return every

    def has(self, rows: Tensor) -> Tensor:
        """Which of the rows [...] have this modality."""
        return self.present[rows]


def initialise(module: nn.Module) -> None:
    """Give every parameter its start.

    | parameter                      | start                                    |
    |--------------------------------|------------------------------------------|
    | matrices, tables (2-D or more) | Xavier normal, as the authors' code      |
    | row 0 of item tables           | zero (Xavier would have written into it) |
    | biases                         | zero, as SASRec's                        |
    | layer norms                    | 1 and 0                                  |
    | modules with a method start()  | what it sets, after all of the above     |
    """
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.dim() >= 2:
                nn.init.xavier_normal_(parameter)
            elif not isinstance(part, nn.LayerNorm) and "bias" in name:
                nn.init.zeros_(parameter)
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            with torch.no_grad():
                part.weight[part.padding_idx].zero_()
    for part in module.modules():
        start = getattr(type(part), "start", None)
        if start is not None:
            start(part)
