"""Causal self-attention blocks of SASRec (Kang and McAuley 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tmmsrec.nn.backbones import Backbone
from tmmsrec.nn.dropout import Dropout
from tmmsrec.nn.look import Look, Turn, at, turned


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

    @property
    def looks(self) -> bool:
        """Unless padding is looked at too, which has no time."""
        return self.key_mask

    @property
    def stacks(self) -> bool:
        """Unless padding is looked at too, whose share of the attention is written in place."""
        return self.key_mask

    def build(self, width: int, length: int) -> nn.Module:
        """L blocks and a last layer norm; raises ValueError when the heads do not divide the width."""
        if width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide the width {width}")
        return _Encoder(self, width, length)


Angles = tuple[Tensor, Tensor]  # of queries and keys


@dataclass(frozen=True, eq=False)
class _Last:
    """The columns ``last`` [B] of the newest steps, and what they may look at, [B, 1, 1, L]."""

    last: Tensor
    seen: Tensor


class _Encoder(nn.Module):
    def __init__(self, value: Attention, width: int, length: int) -> None:
        super().__init__()
        self.key_mask, self.heads, self.length = value.key_mask, value.heads, length
        self.blocks = nn.ModuleList(_Block(value, width) for _ in range(value.blocks))
        self.norm = nn.LayerNorm(width, eps=1e-8)

    def forward(self, x: Tensor, mask: Tensor | None = None, look: Look | None = None) -> Tensor:
        """[B, L, d] after every step."""
        if not self.key_mask:
            return self._seeing_padding(x)
        return self._read(x, self._allowed(x, mask), None, look or Look())

    def _seeing_padding(self, x: Tensor) -> Tensor:
        """[B, L, d] where a zero vector before the first event, counted ``length - T`` times, is looked at too."""
        steps = torch.arange(x.shape[1] + 1, device=x.device)
        events = (x.ne(0).any(-1) * steps[1:]).amax(1)  # T; empty slots are zero vectors, and so are these
        x = nn.functional.pad(x, (0, 0, 1, 0))
        seen = torch.where(steps[:, None] >= steps, 0.0, -torch.inf).to(x).repeat(x.shape[0], 1, 1)
        seen[:, 1:, 0] = (self.length - events).clamp_min(0).log()[:, None]
        real = (steps > 0)[:, None]
        for block in self.blocks:
            x = block(x, seen[:, None]) * real
        normed: Tensor = self.norm(x)[:, 1:]
        return normed

    def newest(self, x: Tensor, mask: Tensor | None, last: Tensor, look: Look | None = None) -> Tensor:
        """[B, d] the rows of ``forward`` at ``last`` [B]; the last block makes only these, half of what two blocks would."""
        if not self.key_mask:
            return at(self.forward(x, mask), last)[:, 0]
        return self._read(x, self._allowed(x, mask), _Last(last, self._seen(x, mask, last)), look or Look())[:, 0]

    def _read(self, x: Tensor, allowed: Tensor | None, end: _Last | None, look: Look) -> Tensor:
        """[B, L, d] after every step, or [B, 1, d] after the last."""
        looks = look if end is None else look.at(end.last)
        everywhere, asking = (self._angles(one.turn, x.shape[-1]) for one in (look, looks))
        seen, own = allowed if end is None else end.seen, looks.rows
        for number, block in enumerate(self.blocks, 1):
            if own is not None:
                own = block(x, seen, own, asking)
            elif end is not None and number == len(self.blocks):
                own = block(x, seen, at(x, end.last), asking)
            if own is None or number < len(self.blocks):
                x = block(x, allowed, None, everywhere)
        if own is None:
            own = x if end is None else at(x, end.last)  # the latter without any block
        normed: Tensor = self.norm(own)
        return normed

    def _angles(self, turn: Turn | None, width: int) -> Angles | None:
        return None if turn is None else turn.angles(width // self.heads)

    @staticmethod
    def _seen(x: Tensor, mask: Tensor | None, last: Tensor) -> Tensor:
        """[B, 1, 1, L] which steps the newest may look at."""
        steps = torch.arange(x.shape[1], device=x.device)
        seen = steps <= last[:, None]
        if mask is not None:
            seen = (seen & mask) | (steps == last[:, None])
        return seen[:, None, None]

    @staticmethod
    def _allowed(x: Tensor, mask: Tensor | None) -> Tensor | None:
        """[B, 1, L, L] which steps each step may look at; None for all up to itself."""
        if mask is None:
            return None
        steps = torch.arange(x.shape[1], device=x.device)
        causal = steps[:, None] >= steps
        itself = steps[:, None] == steps  # a row with nothing to look at looks at itself, so no row is NaN
        return ((causal & mask[:, None, :]) | itself)[:, None]


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

    def forward(self, x: Tensor, allowed: Tensor | None, asking: Tensor | None = None, angles: Angles | None = None) -> Tensor:
        """[B, L, d]; or [B, K, d] for rows that ask, which see x as ``allowed`` says and are not seen."""
        own = x if asking is None else asking
        if self.value.norm == "post":
            own = self.attention_norm(own + self.attend(own, x, allowed, angles))
            done: Tensor = self.forward_norm(own + self.feed(own))
            return done
        if self.value.norm == "pre":
            normed = self.attention_norm(x)
            query = normed if asking is None else self.attention_norm(asking)
            own = own + self.attend(query, normed, allowed, angles)
            return own + self.feed(self.forward_norm(own))
        query = self.attention_norm(own)
        z = self.forward_norm(query + self.attend(query, x, allowed, angles))
        out: Tensor = z + self.feed(z)
        return out

    def attend(self, query: Tensor, source: Tensor, allowed: Tensor | None, angles: Angles | None = None) -> Tensor:
        """Each step looks at itself and earlier steps; padding stands to the right and is never seen."""
        q = self._heads(self.query(query))
        k, v = (self._heads(part) for part in self.key_value(source).chunk(2, dim=-1))
        if angles is not None:
            q, k = turned(q, angles[0]), turned(k, angles[1])
        p = self.value.dropout if self.training else 0.0
        seen = scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=p, is_causal=allowed is None)
        joined: Tensor = self.output(seen.transpose(1, 2).flatten(-2))
        return joined

    def feed(self, z: Tensor) -> Tensor:
        fed: Tensor = self.dropout(self.outer(self.dropout(torch.relu(self.inner(z)))))
        return fed

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.value.heads, -1).transpose(1, 2)
