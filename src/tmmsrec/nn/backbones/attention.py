"""Causal self-attention blocks of SASRec (Kang and McAuley 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tmmsrec.nn.backbones import Backbone


@dataclass(frozen=True)
class Attention(Backbone):
    """SASRec's encoder.

    Attributes:
        blocks: L.
        heads: must divide the width.
        dropout: on attention weights and inside the feed-forward layers.
        norm: "original" normalises the query only and adds to the normalised query, as the official code does;
            "pre" is x + f(LN(x)), as the paper's text says; "post" is LN(x + f(x)).
        output: a linear map after the heads (W_O), as every port to torch has and the official code has not.
    """

    blocks: int = 2
    heads: int = 1
    dropout: float = 0.5
    norm: Literal["original", "pre", "post"] = "original"
    output: bool = True

    def build(self, width: int, length: int) -> nn.Module:
        """L blocks and a last layer norm; raises ValueError when the heads do not divide the width."""
        if width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide the width {width}")
        return _Encoder(self, width)


class _Encoder(nn.Module):
    def __init__(self, value: Attention, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(value, width) for _ in range(value.blocks))
        self.norm = nn.LayerNorm(width, eps=1e-8)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        allowed = None
        if mask is not None:
            steps = torch.arange(x.shape[1], device=x.device)
            causal = steps[:, None] >= steps
            itself = steps[:, None] == steps  # a row with nothing to look at looks at itself, so no row is NaN
            allowed = ((causal & mask[:, None, :]) | itself)[:, None]
        for block in self.blocks:
            x = block(x, allowed)
        normed: Tensor = self.norm(x)
        return normed


class _Block(nn.Module):
    def __init__(self, value: Attention, width: int) -> None:
        super().__init__()
        self.value = value
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width) if value.output else nn.Identity()
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-8)
        self.forward_norm = nn.LayerNorm(width, eps=1e-8)
        self.dropout = nn.Dropout(value.dropout)

    def forward(self, x: Tensor, allowed: Tensor | None) -> Tensor:
        if self.value.norm == "post":
            x = self.attention_norm(x + self.attend(x, x, allowed))
            done: Tensor = self.forward_norm(x + self.feed(x))
            return done
        normed = self.attention_norm(x)
        if self.value.norm == "pre":
            x = x + self.attend(normed, normed, allowed)
            return x + self.feed(self.forward_norm(x))
        x = normed + self.attend(normed, x, allowed)
        z = self.forward_norm(x)
        out: Tensor = z + self.feed(z)
        return out

    def attend(self, query: Tensor, source: Tensor, allowed: Tensor | None) -> Tensor:
        """Each step looks at itself and earlier steps; padding stands to the right and is never seen."""
        q = self._heads(self.query(query))
        k, v = (self._heads(part) for part in self.key_value(source).chunk(2, dim=-1))
        p = self.value.dropout if self.training else 0.0
        seen = scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=p, is_causal=allowed is None)
        joined: Tensor = self.output(seen.transpose(1, 2).flatten(-2))
        return joined

    def feed(self, z: Tensor) -> Tensor:
        fed: Tensor = self.dropout(self.outer(self.dropout(torch.relu(self.inner(z)))))
        return fed

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.value.heads, -1).transpose(1, 2)
