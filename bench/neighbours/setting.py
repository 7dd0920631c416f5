"""What all contenders have in common: a value that needs nothing but Python, since every environment reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

#: Items that a contender names for each user; the metric is cut there.
TOP = 10


@dataclass(frozen=True)
class Setting:
    """One training, the same for everybody.

    Attributes:
        loss: "ce", softmax cross-entropy over all items; or "bce", binary cross-entropy with one random negative at each step.
        width: d.
        blocks: of attention and feed-forward, the latter as wide as d.
        heads: of the attention.
        length: newest events that are read.
        batch: users in a step.
        dropout: everywhere.
        lr: of Adam (betas .9 and .98), the same in every epoch.
        epochs: all of them are trained; nobody stops early.
        seed: of parameters, order, negatives and dropout.
        threads: for tensor work.
    """

    loss: str = "ce"
    width: int = 128
    blocks: int = 2
    heads: int = 1
    length: int = 50
    batch: int = 128
    dropout: float = 0.2
    lr: float = 1e-3
    epochs: int = 10
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        if self.loss not in ("ce", "bce"):
            raise ValueError(f"the loss is 'ce' or 'bce', got '{self.loss}'")

    def write(self, file: Path) -> None:
        """As JSON."""
        file.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Setting:
        """What ``write`` wrote."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))
