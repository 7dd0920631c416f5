"""Cross-entropy over every item without the table of all scores.

A batch of 3,500 steps and 17,000 items has 58 million scores, and a chain of operations reads and writes them again and again.
Here a block of steps that fits the processor's cache goes through all of it, the gradient included, before the next one begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tmmsrec.nn.beside import Beside

_SCORES = {"cpu": 1 << 20}  # scores in a block: 4 MB, and as much for what becomes of them
_ELSEWHERE = 1 << 26


def cross_entropy(states: Tensor, items: Tensor, targets: Tensor, beside: Sequence[Beside] = (), fixed: int = 0) -> Tensor:
    """Mean over steps of -ln softmax(scores)[target] over all items, scores being inner products.

    Args:
        states: [T, D].
        items: [I+1, D]; row 0 is padding and left out.
        targets: [T], none of them 0.
        beside: lists of what is added to the scores of single items, rows 0..T-1.
        fixed: the first columns of items, which nothing is learned of: they get no gradient, a third of the work.
    """
    values = [one.values for one in beside]
    loss: Tensor = _CrossEntropy.apply(states, items, targets, beside, fixed, *values)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    """The gradients are made on the way forward, while a block's scores are at hand."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, items: Tensor, targets: Tensor, beside: Sequence[Beside], fixed: int, *values: Tensor
    ) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        to_states, to_items, *to_values = (torch.zeros_like(x) if wanted else x for x in (states, items, *values))
        total = states.new_zeros((), dtype=torch.promote_types(states.dtype, torch.float32))
        rows = max(1, _SCORES.get(states.device.type, _ELSEWHERE) // len(items))
        room = total.new_empty(min(rows, len(states)), len(items))
        for at in range(0, len(states), rows):
            block, target = states[at : at + rows], targets[at : at + rows, None]
            scores = (block @ items.T).to(total.dtype)
            places: list[tuple[slice, tuple[Tensor, ...]]] = []
            for one in beside:
                entries, row, item, value = one.between(at, at + len(block))
                scores.index_put_((row, item), value.to(scores.dtype), accumulate=True)
                places.append((entries, (row, item)))
            scores[:, 0] = -torch.inf
            shares = torch.softmax(scores, 1, out=room[: len(block)])
            # ln of the sum of exp, by the largest share: that of a target may be too small for a number.
            normaliser = scores.amax(1, keepdim=True) - shares.amax(1, keepdim=True).log()
            total += (normaliser - scores.gather(1, target)).sum()
            if wanted:
                slope = shares  # d loss / d score is the share, less 1 at the target
                slope.scatter_add_(1, target, slope.new_full(target.shape, -1.0))
                for to_value, (entries, place) in zip(to_values, places, strict=True):
                    to_value[entries] = slope[place].to(to_value.dtype)
                slope = slope.to(states.dtype)
                to_states[at : at + rows] = slope @ items
                _add_product(to_items[:, fixed:], slope.T, block[:, fixed:])
        if wanted:
            ctx.save_for_backward(*(x.div_(len(states)) for x in (to_states, to_items, *to_values)))
        return total / len(states)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        to_states, to_items, *to_values = (above.to(x) * x for x in ctx.saved_tensors)
        return to_states, to_items, None, None, None, *to_values


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a product, without a pass of its own over the sum where all are of a kind (products under autocast are not)."""
    if total.dtype == left.dtype == right.dtype and not torch.is_autocast_enabled(total.device.type):
        total.addmm_(left, right)
    else:
        total += left @ right
