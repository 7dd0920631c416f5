"""The encoder that BERT4Rec and S3-Rec share: post-norm Transformer layers over items, masks and learned positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.nn.dropout import Dropout
from tmmsrec.nn.items import LearnedRows


class Transformer(nn.Module):
    """Layers as in BERT (Devlin et al. 2019), the norm after each sum:

        a = LN(x + Drop(W_O MHA(x)))
        x = LN(a + Drop(W_2 gelu(W_1 a)))

    with an inner width of 4 d, the exact gelu, biases everywhere and 1e-12 inside the norms: 12 d^2 + 13 d parameters a layer.

    Raises:
        ValueError: the heads do not divide the width.
    """

    def __init__(self, width: int, *, layers: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide the width {width}")
        self.width = width
        self.layers = nn.ModuleList(_Layer(width, heads, dropout, attention_dropout) for _ in range(layers))

    def forward(self, x: Tensor, allowed: Tensor | None, at: Tensor | None = None) -> Tensor:
        """Streams [B, L, d] -> [B, L, d].

        Args:
            x: [B, L, d].
            allowed: bool, broadcast to [B, heads, L, L], which steps (last axis) each step may look at, at least one for each;
                None for itself and all before it.
            at: [B] columns; only these rows of the result are made, [B, d], and the last layer costs that much less.
        """
        for layer in self.layers[:-1]:
            x = layer(x, allowed, None)
        for layer in self.layers[-1:]:
            x = layer(x, allowed, at)
        if at is None:
            return x
        return x[:, 0] if len(self.layers) else x[torch.arange(at.shape[0], device=at.device), at]


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.heads, self.attention_dropout = heads, attention_dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.inner = nn.Linear(width, 4 * width)
        self.outer = nn.Linear(4 * width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.forward_norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, allowed: Tensor | None, at: Tensor | None) -> Tensor:
        """[B, L, d]; or [B, 1, d], the rows at ``at`` alone."""
        own = x
        if at is not None:
            own = x[torch.arange(x.shape[0], device=x.device), at][:, None]
            allowed = self._row(allowed, at, x.shape[1])
        a = self.attention_norm(own + self.dropout(self.attend(own, x, allowed)))
        done: Tensor = self.forward_norm(a + self.dropout(self.outer(functional.gelu(self.inner(a)))))
        return done

    def attend(self, own: Tensor, x: Tensor, allowed: Tensor | None) -> Tensor:
        """W_O MHA: queries of ``own`` [B, Q, d], keys and values of ``x`` [B, L, d]."""
        q = self._split(self.query(own))
        k, v = (self._split(part) for part in self.key_value(x).chunk(2, dim=-1))
        p = self.attention_dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=p, is_causal=allowed is None)
        joined: Tensor = self.output(seen.transpose(1, 2).flatten(-2))
        return joined

    @staticmethod
    def _row(allowed: Tensor | None, at: Tensor, length: int) -> Tensor:
        """[B, 1, 1, L] what the steps at ``at`` may look at."""
        if allowed is None:
            return (torch.arange(length, device=at.device) <= at[:, None])[:, None, None]
        whole = allowed.expand(at.shape[0], -1, length, length)
        return whole[torch.arange(at.shape[0], device=at.device), :, at][:, :, None]

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, x.shape[-1] // self.heads).transpose(1, 2)


class TokenEncoder(nn.Module):
    """Tokens -> states: Drop(LN(E[token] + P[place])), then the layers.

    Tokens are 0 for padding, 1..I for items and I+1 for MASK, which has a vector of its own beside the item table.  Places count
    from the left and padding stands to the right, so how far a batch is padded changes nothing.  Everything starts from
    N(0, .02^2), biases from 0.
    """

    def __init__(self, n_items: int, length: int, layers: Transformer, dropout: float) -> None:
        super().__init__()
        self.mask_token, self.length = n_items + 1, length
        self.table = LearnedRows(n_items, layers.width)
        self.mask = nn.Parameter(torch.empty(layers.width))
        self.positions = nn.Embedding(length, layers.width)
        self.norm = nn.LayerNorm(layers.width, eps=1e-12)
        self.dropout = Dropout(dropout)
        self.layers = layers
        start(self)
        nn.init.normal_(self.mask, std=0.02)

    def forward(self, tokens: Tensor, *, causal: bool = False, at: Tensor | None = None) -> Tensor:
        """Tokens [B, L] -> [B, L, d], or [B, d], the rows at the columns ``at`` [B].

        Every step sees every token that is no padding; with ``causal``, itself and those before it only.

        Raises:
            ValueError: more tokens than there are positions.
        """
        if tokens.shape[1] > self.length:
            raise ValueError(f"a row of {tokens.shape[1]} tokens was given where at most {self.length} fit: cut off the oldest")
        hidden = tokens == self.mask_token
        rows = self.table(tokens.masked_fill(hidden, 0)) + hidden[..., None] * self.mask
        x = self.dropout(self.norm(rows + self.positions.weight[: tokens.shape[1]]))
        done: Tensor = self.layers(x, self._allowed(tokens, hidden, causal), at)
        return done

    def _allowed(self, tokens: Tensor, hidden: Tensor, causal: bool) -> Tensor | None:
        """Bool, broadcast to [B, 1, L, L]; items that came after training have no row and are not looked at."""
        if causal and self.table.complete:
            return None  # padding stands to the right, where no step looks
        seen = (self.table.has(tokens) | hidden)[:, None, None]
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        if causal:
            seen = seen & (steps[:, None] >= steps)
        elif self.table.complete:
            return seen  # [B, 1, 1, L]; no row is all padding
        return seen | (steps[:, None] == steps)  # a step with nothing to look at looks at itself, so none is NaN


def start(module: nn.Module, deviation: float = 0.02) -> None:
    """Matrices and tables from N(0, deviation^2), row 0 of item tables and the biases of linear maps zero; layer norms stay."""
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            nn.init.normal_(part.weight, std=deviation)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            with torch.no_grad():
                part.weight[part.padding_idx].zero_()
