"""The recurrent network of GRU4Rec (Hidasi et al. 2016) as a backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from tmmsrec.nn.backbones import Backbone
from tmmsrec.nn.dropout import Dropout
from tmmsrec.nn.mixing import WithoutGaps


@dataclass(frozen=True)
class GRU4Rec(Backbone):
    """A gated recurrent unit, in the form of RecBox, the library of TMMSRec's authors.

    RecBole's form is ``GRU4Rec(layers=1, hidden=128, start="zero", norm=False)`` at width 64.  The cell is torch's, which resets
    after the matrix; the original's resets before it, so its weights do not carry over.

    Attributes:
        layers: L.
        dropout: between layers.
        hidden: width of the state; None is d.  Where given, a linear map with a bias brings the states back to d.
        start: the state before the first event: "learned", N(0, 1) at first, or "zero".
        norm: layer norm of the outputs.
        bias: biases in the cell.
    """

    layers: int = 2
    dropout: float = 0.5
    hidden: int | None = None
    start: Literal["learned", "zero"] = "learned"
    norm: bool = True
    bias: bool = False

    source: ClassVar[str] = "GRU4Rec 2016"

    def __post_init__(self) -> None:
        if self.layers < 1 or (self.hidden is not None and self.hidden < 1):
            raise ValueError(f"GRU4Rec needs at least one layer and one hidden unit, got {self.layers} and {self.hidden}")

    def build(self, width: int, length: int) -> nn.Module:
        """L layers for streams of any length."""
        return WithoutGaps(_Encoder(self, width))


class _Encoder(nn.Module):
    def __init__(self, value: GRU4Rec, width: int) -> None:
        super().__init__()
        hidden = value.hidden or width
        self.layers = nn.ModuleList(
            nn.GRU(hidden if layer else width, hidden, bias=value.bias, batch_first=True) for layer in range(value.layers)
        )
        self.before = nn.Parameter(torch.zeros(value.layers, 1, hidden), requires_grad=True) if value.start == "learned" else None
        self.norm = nn.LayerNorm(hidden) if value.norm else nn.Identity()
        self.map = nn.Linear(hidden, width) if value.hidden else nn.Identity()
        self.dropout = Dropout(value.dropout)

    def start(self) -> None:
        """What ``initialise`` does not know: the state before the first event."""
        if self.before is not None:
            nn.init.normal_(self.before)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]; padding to the right comes after all that counts."""
        for number, layer in enumerate(self.layers):
            before = None if self.before is None else self.before[number].to(x.dtype).expand(1, x.shape[0], -1).contiguous()
            x, _ = layer(self.dropout(x) if number else x, before)
        return cast(Tensor, self.map(self.norm(x)))
