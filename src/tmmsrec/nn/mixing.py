"""Mixing over steps and over channels, for the mixers of MLP4Rec and MMMLP; and reading streams that have gaps.

Vectors of zeros stand for steps that are not there.  A mixer that is not causal reads them too (its layer norm makes them its
bias), so it always reads as many steps as it was built for: what it says then does not depend on how far a batch was padded.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.nn.dropout import Dropout

_COPIES = 4  # the expansion of both feed-forwards


def rows_at(x: Tensor, at: Tensor) -> Tensor:
    """[B, d] the rows of x [B, L, d] at the columns ``at`` [B]."""
    return x[torch.arange(at.shape[0], device=x.device), at]


def closed_up(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The same streams without their gaps.

        mask   0 1 0 1 0        closed   x1 x3 0 0 0        at   -1 0 0 1 1

    Args:
        x: [B, L, d].
        mask: [B, L] bool, which steps hold something.

    Returns:
        [B, L, d] with the steps that hold something moved to the left and zeros after them, and [B, L] where each step's newest
        such step has gone, -1 before the first.
    """
    at = mask.cumsum(1) - 1
    place = torch.where(mask, at, x.shape[1])[..., None].expand_as(x)  # what holds nothing goes into a column of its own
    closed = x.new_zeros(x.shape[0], x.shape[1] + 1, x.shape[2]).scatter(1, place, x)
    return closed[:, :-1], at


class WithoutGaps(nn.Module):
    """An encoder that reads each step as the next one, made fit for streams with gaps.

    A step that holds nothing is no step of its stream: it is left out before the encoder reads, and its own row is that of the
    newest step that holds something, zero before the first.

    Args:
        encoder: maps [B, L, d] to [B, L, d]; it may have a method ``newest(x, last)``, a shorter way to the rows at ``last`` [B]
            of streams that end there.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, L, d] after every step."""
        if mask is None:
            return cast(Tensor, self.encoder(x))
        closed, at = closed_up(x, mask)
        read: Tensor = self.encoder(closed)
        return read.gather(1, at.clamp_min(0)[..., None].expand_as(read)) * (at >= 0)[..., None]

    def newest(self, x: Tensor, mask: Tensor | None, last: Tensor) -> Tensor:
        """[B, d] the rows of ``forward`` at ``last`` [B]."""
        if mask is None:
            return self._newest(x, last)
        closed, at = closed_up(x, mask)
        place = at.gather(1, last[:, None])
        return self._newest(closed, place[:, 0].clamp_min(0)) * (place >= 0)

    def _newest(self, x: Tensor, last: Tensor) -> Tensor:
        shorter = getattr(self.encoder, "newest", None)
        return cast(Tensor, rows_at(self.encoder(x), last) if shorter is None else shorter(x, last))


class _OverTime(nn.Linear):
    """A linear map of the time axis: a convolution of kernel 1 whose channels are the steps.  It starts as torch's layers do."""

    def start(self) -> None:
        self.reset_parameters()


class _OverChannels(nn.Linear):
    """A linear map of the channels; it starts as N(0, .02), as in the official code."""

    def start(self) -> None:
        nn.init.normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)


class TokenMixer(nn.Module):
    """x + W2 gelu(W1 LN(x)), the maps acting on the time axis, n -> 4n -> n, with dropout after each.

    MLP4Rec (Li et al. 2022) and MMMLP (Liang et al. 2023), after MLP-Mixer (Tolstikhin et al. 2021).

    Args:
        length: n.
        width: d.
        dropout: after each linear map.
        causal: step t of each of the four copies in the middle, and of the result, is made from steps up to t only: both maps
            are lower triangular copy by copy.  What stands above is never read and gets no gradient.  Ours, not the papers'.
    """

    def __init__(self, length: int, width: int, dropout: float, *, causal: bool = False) -> None:
        super().__init__()
        self.length, self.causal = length, causal
        self.norm = nn.LayerNorm(width)
        self.inner = _OverTime(length, _COPIES * length)
        self.outer = _OverTime(_COPIES * length, length)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, d] -> [B, n, d]; a causal mixer also takes fewer steps.

        Raises:
            ValueError: more than n steps, or fewer for a mixer that is not causal (see ``padded``).
        """
        steps = x.shape[1]
        if steps > self.length or (steps < self.length and not self.causal):
            raise ValueError(f"the mixer's weights are for {self.length} steps, got {steps}: pad or cut the stream to them")
        inner, outer = self._inner(steps), self._outer(steps)
        mixed = functional.gelu(functional.linear(self.norm(x).transpose(1, 2), *inner))
        spread: Tensor = self.dropout(functional.linear(self.dropout(mixed), *outer))
        return x + spread.transpose(1, 2)

    def _inner(self, steps: int) -> tuple[Tensor, Tensor]:
        if not self.causal:
            return self.inner.weight, self.inner.bias
        copies = self.inner.weight.view(_COPIES, self.length, self.length)[:, :steps, :steps].tril()
        return copies.reshape(-1, steps), self.inner.bias.view(_COPIES, -1)[:, :steps].reshape(-1)

    def _outer(self, steps: int) -> tuple[Tensor, Tensor]:
        if not self.causal:
            return self.outer.weight, self.outer.bias
        copies = self.outer.weight.view(self.length, _COPIES, self.length)[:steps, :, :steps].transpose(0, 1).tril()
        return copies.transpose(0, 1).reshape(steps, -1), self.outer.bias[:steps]


class ChannelMixer(nn.Module):
    """x + W2 gelu(W1 LN(x)), the maps acting on the channels, d -> 4d -> d, with dropout after each; any [..., d]."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = _OverChannels(width, _COPIES * width)
        self.outer = _OverChannels(_COPIES * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] -> [..., d]."""
        mixed = self.dropout(functional.gelu(self.inner(self.norm(x))))
        return x + cast(Tensor, self.dropout(self.outer(mixed)))


class Mixer(nn.Module):
    """Steps are mixed, then channels: one layer of MLP4Rec's and MMMLP's streams."""

    def __init__(self, length: int, width: int, dropout: float, *, causal: bool = False) -> None:
        super().__init__()
        self.tokens = TokenMixer(length, width, dropout, causal=causal)
        self.channels = ChannelMixer(width, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, d] -> [B, n, d]."""
        return cast(Tensor, self.channels(self.tokens(x)))

    def newest(self, x: Tensor, last: Tensor) -> Tensor:
        """[B, d] the rows of ``forward`` at ``last`` [B]: channels are mixed there alone, most of a layer's work."""
        return cast(Tensor, self.channels(rows_at(self.tokens(x), last)))


def padded(x: Tensor, length: int) -> Tensor:
    """X [B, L, d] with rows of zeros up to ``length`` steps."""
    return functional.pad(x, (0, 0, 0, length - x.shape[1]))


def ended(x: Tensor, last: Tensor) -> Tensor:
    """X [B, L, d] with rows of zeros after the columns ``last`` [B], whatever an early fusion's bias has put there."""
    return x * (torch.arange(x.shape[1], device=x.device) <= last[:, None])[..., None]
