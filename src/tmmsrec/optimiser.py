"""The optimiser of a training: Adam, and beside it, for learned tables of very many rows, one that touches only rows that were read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tmmsrec.models.base import Model
from tmmsrec.nn.items import LearnedRows
from tmmsrec.training import Adam


def optimiser(model: Model, how: Adam) -> torch.optim.Adam:
    """What steps a model's parameters; with ``how.tables`` "rowwise" the gradients of its item tables become sparse."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    adam = {"lr": how.lr, "betas": how.betas, "weight_decay": how.weight_decay, "fused": True}
    if how.tables == "whole":
        return torch.optim.Adam(parameters, **adam)  # type: ignore[arg-type]
    tables = tables_of(model)
    for table in tables:
        table.sparse = True
    return RowWise(parameters, {table.weight for table in tables}, **adam)


def tables_of(model: nn.Module) -> list[nn.Embedding]:
    """The item tables that are learned."""
    return [part.table for part in model.modules() if isinstance(part, LearnedRows) and part.table.weight.requires_grad]


class RowWise(torch.optim.Adam):
    """Adam, and for tables row-wise Adagrad (Duchi et al. 2011; one number a row as in Gupta et al. 2014).

    A row's number is the sum over its steps of the mean square of its gradient; a step moves the row by ``lr`` times the gradient
    over the number's root.  Rows that a batch does not read are neither moved nor looked at, whatever the size of the table.

    Args:
        parameters: all of them, in one group.
        tables: those that are stepped by rows, [rows, d] each.
        adam: of ``torch.optim.Adam``, for the others; ``lr`` and ``weight_decay`` are those of the rows too.
    """

    def __init__(self, parameters: list[nn.Parameter], tables: set[nn.Parameter], **adam: Any) -> None:
        super().__init__(parameters, **adam)
        self._tables = tables

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; gradients stay as they are."""
        assert closure is None
        (group,) = self.param_groups
        waiting = [(p, p.grad) for p in group["params"] if p in self._tables and p.grad is not None]
        for table, gradient in waiting:
            self._move(table, gradient, group["lr"], group["weight_decay"], group["eps"])
            table.grad = None  # Adam is not to see it
        super().step()
        for table, gradient in waiting:
            table.grad = gradient

    def _move(self, table: nn.Parameter, gradient: Tensor, lr: float, weight_decay: float, eps: float) -> None:
        rows, slope = _by_row(gradient)
        if weight_decay:
            slope = slope.add(table[rows], alpha=weight_decay)
        state = self.state[table]
        if not state:
            state["squares"] = torch.zeros(len(table), device=table.device)
        squares = state["squares"][rows] + slope.float().square().mean(1)
        state["squares"][rows] = squares
        table.index_add_(0, rows, slope / (squares.sqrt() + eps)[:, None].to(slope), alpha=-lr)


def _by_row(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The rows [n] that a gradient speaks of, each once, and what it says of them [n, d].

    A loss over all items makes a dense one; rows of zeros are those that it did not read.
    """
    if gradient.is_sparse:
        together = gradient.coalesce()
        return together.indices()[0], together.values()
    rows = gradient.any(1).nonzero()[:, 0]
    return rows, gradient[rows]


def clip(parameters: list[nn.Parameter], most: float) -> None:
    """Scale all gradients, sparse ones too, so that their common norm is at most ``most``."""
    held = [p for p in parameters if p.grad is not None]
    if not any(p.grad.is_sparse for p in held if p.grad is not None):
        torch.nn.utils.clip_grad_norm_(held, most)
        return
    for p in held:
        if p.grad is not None and p.grad.is_sparse:
            p.grad = p.grad.coalesce()  # what was read twice adds up before it is measured
    parts = [p.grad.values() if p.grad.is_sparse else p.grad for p in held if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in parts]))
    factor = (most / (norm + 1e-6)).clamp_max(1.0)
    for part in parts:
        part.mul_(factor)
