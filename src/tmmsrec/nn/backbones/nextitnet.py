"""The dilated causal convolutions of NextItNet (Yuan et al. 2019) as a backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.nn.backbones import Backbone
from tmmsrec.nn.dropout import Dropout
from tmmsrec.nn.mixing import WithoutGaps


@dataclass(frozen=True)
class NextItNet(Backbone):
    """Residual blocks of two causal convolutions, the second twice as dilated as the first (block b of the paper).

    The defaults are the form of RecBox, the library of TMMSRec's authors; the official code is
    ``NextItNet(dilations=(1, 2, 1, 2, 1, 2), dropout=0, activation="relu", eps=1e-8)``.  A step sees itself and
    ``3 (kernel - 1) sum(dilations)`` steps before it: 61 in all here, more than the paper's n = 50.

    Attributes:
        dilations: one per block; the block's second convolution has twice as much.
        kernel: taps of each convolution.
        dropout: on each block's residual branch.
        activation: after each layer norm.
        eps: of the layer norms.
    """

    dilations: tuple[int, ...] = (1, 4, 1, 4)
    kernel: int = 3
    dropout: float = 0.5
    activation: Literal["gelu", "relu"] = "gelu"
    eps: float = 1e-5

    source: ClassVar[str] = "NextItNet 2019"

    def __post_init__(self) -> None:
        if self.kernel < 1 or any(d < 1 for d in self.dilations):
            raise ValueError(f"NextItNet: kernel and dilations are at least 1, got {self.kernel} and {self.dilations}")

    def build(self, width: int, length: int) -> nn.Module:
        """A block per dilation, for streams of any length; no last layer norm."""
        return WithoutGaps(nn.Sequential(*(_Block(self, width, dilation) for dilation in self.dilations)))


class _Causal(nn.Module):
    """A convolution of [B, L, d] over steps that reads steps up to each one, zeros before the first."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.before = (kernel - 1) * dilation
        self.map = nn.Conv1d(width, width, kernel, dilation=dilation)

    def start(self) -> None:
        """The official code's: N(0, .02), cut at two deviations."""
        nn.init.trunc_normal_(self.map.weight, std=0.02, a=-0.04, b=0.04)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.map(functional.pad(x.transpose(1, 2), (self.before, 0)))).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, value: NextItNet, width: int, dilation: int) -> None:
        super().__init__()
        self.first = _Causal(width, value.kernel, dilation)
        self.first_norm = nn.LayerNorm(width, eps=value.eps)
        self.second = _Causal(width, value.kernel, 2 * dilation)
        self.second_norm = nn.LayerNorm(width, eps=value.eps)
        self.activation = functional.gelu if value.activation == "gelu" else functional.relu
        self.dropout = Dropout(value.dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.first_norm(self.first(x)))
        y = self.activation(self.second_norm(self.second(y)))
        return x + cast(Tensor, self.dropout(y))
