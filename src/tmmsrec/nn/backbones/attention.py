"""Causal self-attention blocks of SASRec (Kang and McAuley 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tmmsrec.nn.backbones import Backbone
from tmmsrec.nn.dropout import Dropout


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
        key_mask: padding is never looked at.  Without, each of the ``length - T`` empty slots that left-padded code puts before T
            events is a zero vector that takes its share of the attention, as in the authors' code and the ports to torch; scores
            then depend on ``length``.  (One slot stands for all of them, so dropout drops them together.)
    """

    blocks: int = 2
    heads: int = 1
    dropout: float = 0.5
    norm: Literal["original", "pre", "post"] = "original"
    output: bool = True
    key_mask: bool = True

    source: ClassVar[str] = "SASRec 2018"

    def build(self, width: int, length: int) -> nn.Module:
        """L blocks and a last layer norm; raises ValueError when the heads do not divide the width."""
        if width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide the width {width}")
        return _Encoder(self, width, length)


class _Encoder(nn.Module):
    def __init__(self, value: Attention, width: int, length: int) -> None:
        super().__init__()
        self.key_mask, self.length = value.key_mask, length
        self.blocks = nn.ModuleList(_Block(value, width) for _ in range(value.blocks))
        self.norm = nn.LayerNorm(width, eps=1e-8)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if not self.key_mask:
            return self._seeing_padding(x)
        allowed = self._allowed(x, mask)
        for block in self.blocks:
            x = block(x, allowed)
        normed: Tensor = self.norm(x)
        return normed

    def _seeing_padding(self, x: Tensor) -> Tensor:
        """[B, L, d] where a zero vector before the first event, counted ``length - T`` times, is looked at too."""
        steps = torch.arange(x.shape[1] + 1, device=x.device)
        events = (x.ne(0).any(-1) * steps[1:]).amax(1)  # T; empty slots are zero vectors, and so are these
        x = nn.functional.pad(x, (0, 0, 1, 0))
        seen = torch.where(steps[:, None] >= steps, 0.0, -torch.inf).to(x).repeat(len(x), 1, 1)
        seen[:, 1:, 0] = (self.length - events).clamp_min(0).log()[:, None]
        real = (steps > 0)[:, None]
        for block in self.blocks:
            x = block(x, seen[:, None]) * real
        normed: Tensor = self.norm(x)[:, 1:]
        return normed

    def newest(self, x: Tensor, mask: Tensor | None, last: Tensor) -> Tensor:
        """[B, d] the rows of ``forward`` at ``last`` [B]; the last block makes only these, half of what two blocks would."""
        if not self.key_mask:
            return _at(self.forward(x, mask), last)[:, 0]
        allowed = self._allowed(x, mask)
        for block in self.blocks[:-1]:
            x = block(x, allowed)
        steps = torch.arange(x.shape[1], device=x.device)
        seen = steps <= last[:, None]
        if mask is not None:
            seen = (seen & mask) | (steps == last[:, None])
        for block in self.blocks[-1:]:
            return cast(Tensor, self.norm(block(x, seen[:, None, None], last)[:, 0]))
        return cast(Tensor, self.norm(_at(x, last)[:, 0]))

    @staticmethod
    def _allowed(x: Tensor, mask: Tensor | None) -> Tensor | None:
        """[B, 1, L, L] which steps each step may look at; None for all up to itself."""
        if mask is None:
            return None
        steps = torch.arange(x.shape[1], device=x.device)
        causal = steps[:, None] >= steps
        itself = steps[:, None] == steps  # a row with nothing to look at looks at itself, so no row is NaN
        return ((causal & mask[:, None, :]) | itself)[:, None]


def _at(x: Tensor, last: Tensor | None) -> Tensor:
    """[B, 1, d] the rows of x [B, L, d] at ``last`` [B]; all of x without it."""
    return x if last is None else x[torch.arange(len(last), device=x.device), last][:, None]


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
        self.dropout = Dropout(value.dropout)

    def forward(self, x: Tensor, allowed: Tensor | None, last: Tensor | None = None) -> Tensor:
        """[B, L, d]; or [B, 1, d], the rows at ``last`` alone."""
        own = _at(x, last)
        if self.value.norm == "post":
            own = self.attention_norm(own + self.attend(own, x, allowed))
            done: Tensor = self.forward_norm(own + self.feed(own))
            return done
        if self.value.norm == "pre":
            normed = self.attention_norm(x)
            own = own + self.attend(_at(normed, last), normed, allowed)
            return own + self.feed(self.forward_norm(own))
        query = self.attention_norm(own)
        z = self.forward_norm(query + self.attend(query, x, allowed))
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
