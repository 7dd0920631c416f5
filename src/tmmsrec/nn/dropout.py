"""Dropout that does not cost more than the layers it protects.

On a CPU torch draws each Bernoulli number alone, 14 to 20 ns of one core for every element, which was a tenth to a sixth of a
whole training step.  Here one 64-bit draw serves four elements.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Zero each element with chance ``p`` while training and scale the others so that the mean stays.

    On a CPU ``p`` is rounded to a multiple of 1/65536, and the scale belongs to the rounded chance, so the mean is exact.
    The draws come from torch's default generator, so ``torch.manual_seed`` fixes them, whatever the number of threads.

    Raises:
        ValueError: ``p`` outside 0..1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"dropout is a chance between 0 and 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """X of any shape -> the same shape."""
        dropped = round(self.p * _LEVELS)
        # A GPU has quick draws of its own, and so has what torch.compile makes.
        plain = x.device.type != "cpu" or torch.compiler.is_compiling()
        if not self.training or dropped in (0, _LEVELS) or plain:
            return functional.dropout(x, self.p, self.training)
        words = x.new_empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
        level = words.view(torch.int16)[: x.numel()].view(x.shape)  # even over -32768..32767
        return x * (level >= dropped - _LEVELS // 2).to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped))

    def extra_repr(self) -> str:
        """Shown when a model is printed."""
        return f"p={self.p}"
