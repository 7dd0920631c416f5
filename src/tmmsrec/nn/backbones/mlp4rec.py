"""The mixers of MLP4Rec (Li et al. 2022) as a backbone: all steps are mixed by weights of their own positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tmmsrec.nn.backbones import Backbone
from tmmsrec.nn.mixing import Mixer, WithoutGaps, ended, padded


@dataclass(frozen=True)
class MLP4Rec(Backbone):
    """MLP4Rec's encoder for one stream, without its mixer over item features.

    Every step reads every other, later ones too, so the loss can only be taken at the last step of a history (steps="last"),
    as its authors do.  Weights belong to positions: histories are read as exactly n steps, zeros after their end, which are mixed
    like others.  One set of weights serves all layers.

    Attributes:
        layers: how often steps and channels are mixed.
        dropout: after each linear map.
    """

    layers: int = 4
    dropout: float = 0.5

    causal: ClassVar[bool] = False
    source: ClassVar[str] = "MLP4Rec 2022"

    def __post_init__(self) -> None:
        _check(self)

    def build(self, width: int, length: int) -> nn.Module:
        """One mixer for n = ``length`` steps and a last layer norm."""
        return WithoutGaps(_Encoder(self.layers, Mixer(length, width, self.dropout), width))


@dataclass(frozen=True)
class CausalMLP4Rec(Backbone):
    """MLP4Rec whose step t reads steps up to t only, so that a loss may be taken at every step.  Ours, not the paper's.

    The same weights under a lower triangular mask, so that as many parameters are counted; those above it do nothing.

    Attributes:
        layers: how often steps and channels are mixed.
        dropout: after each linear map.
    """

    layers: int = 4
    dropout: float = 0.5

    source: ClassVar[str] = "MLP4Rec 2022"

    def __post_init__(self) -> None:
        _check(self)

    def build(self, width: int, length: int) -> nn.Module:
        """One mixer for up to n = ``length`` steps and a last layer norm."""
        return WithoutGaps(_Encoder(self.layers, Mixer(length, width, self.dropout, causal=True), width))


def _check(value: MLP4Rec | CausalMLP4Rec) -> None:
    if value.layers < 1:
        raise ValueError(f"{type(value).__name__} needs at least one layer, got {value.layers}")


class _Encoder(nn.Module):
    def __init__(self, layers: int, mixer: Mixer, width: int) -> None:
        super().__init__()
        self.depth, self.mixer = layers, mixer
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]; without a mask, x must be zero where padded."""
        steps, x = x.shape[1], self._whole(x)
        for _ in range(self.depth):
            x = self.mixer(x)
        normed: Tensor = self.norm(x[:, :steps])
        return normed

    def newest(self, x: Tensor, last: Tensor) -> Tensor:
        """[B, d] at the ends of streams; what stands after them is made zero."""
        x = self._whole(ended(x, last))
        for _ in range(self.depth - 1):
            x = self.mixer(x)
        normed: Tensor = self.norm(self.mixer.newest(x, last))
        return normed

    def _whole(self, x: Tensor) -> Tensor:
        # A graph of open length cannot cut the weights to it; rows after a causal step change nothing.
        tokens = self.mixer.tokens
        return x if tokens.causal and not torch.compiler.is_exporting() else padded(x, tokens.length)
