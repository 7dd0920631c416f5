"""How a method is trained: values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tmmsrec import metrics


@dataclass(frozen=True)
class Adam:
    """The optimiser (section 3.4): Adam with a rate that decays exponentially, ``lr * decay^epoch``.

    Attributes:
        lr: rate of the first epoch.
        betas: decay rates of the moments.
        decay: factor per epoch; 1 keeps the rate.
        clip: largest norm of the gradient, None for no clipping.
        weight_decay: L2 penalty.
        tables: how learned item tables are stepped.  "whole": by Adam like all else, each row at each step.  "rowwise": by row-wise
            Adagrad, only the rows that the step read, with one number of state a row: for millions of items.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    decay: float = 0.9
    clip: float | None = None
    weight_decay: float = 0.0
    tables: Literal["whole", "rowwise"] = field(default="whole", metadata={"later": True})


@dataclass(frozen=True)
class Training:
    """How a method is trained: a value.

    Attributes:
        epochs: most passes over the training rows.
        rows: most rows of a pass, drawn anew for each; None for all.  Where a whole pass takes long, validation comes sooner.
        windows: learn from all events of a user, in windows as long as a method reads, from the newest back; otherwise from the
            newest window alone, as the paper does.  Methods that learn from every event on its own, and those that count all
            events (Additive), do as they do anyhow.
        batch: rows per step: users, windows, or events for a method that is trained per event.  It is the mean: every step has
            about as many targets, so one over users of short histories has more of them.
        optimiser: Adam and its schedule.
        metric: what is watched on the validation part; the weights that did best are kept.
        patience: epochs without a better value before stopping.
        every: epochs between two validations.
        bf16: autocast to bfloat16 (TIE stays in float32).
        compile: torch.compile the loss.
        refit: once the best epoch is known, train again from the start on training and validation events together, for as many
            epochs.  What sequential methods read as input at test time, methods that know users by rows of their own can only
            learn in this way; every result says whether it was done.
    """

    epochs: int = 200
    rows: int | None = None
    batch: int = 128
    optimiser: Adam = Adam()
    metric: str = "NDCG@10"
    patience: int = 20
    every: int = 1
    bf16: bool = False
    compile: bool = False
    refit: bool = False
    windows: bool = field(default=False, metadata={"later": True})

    def __post_init__(self) -> None:
        metrics.parse(self.metric)
        for name in ("epochs", "rows", "batch", "patience", "every"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"Training.{name} must be at least 1, got {getattr(self, name)}")
        if self.patience < self.every:
            raise ValueError(
                f"with Training.patience={self.patience} training would stop before the first validation, which comes after "
                f"every={self.every} epochs: set patience to at least that"
            )
