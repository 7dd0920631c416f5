"""Streams of several modalities through their encoders, one after another or as one computation.

On a GPU a product of small matrices costs little more than the call that starts it, so three streams apart cost three times
one.  There they become one: weights are stacked on the way in, [S, ...], and each layer multiplies once for all.  Stacked are
copies of a step, so parameters, checkpoints and gradients are those of the encoders apart.  On a CPU products are what costs, and
batched ones are slower (15 % at d = 66 to 768, one core).  torch.compile cannot follow them with sizes that change, and gets the
streams apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tmmsrec.nn.backbones import newest
from tmmsrec.nn.look import Look

#: What an encoder reads: rows [B, L, d], which steps hold something [B, L] where not all do, and how to look at them.
Stream = tuple[Tensor, Tensor | None, Look | None]


def read(
    encoders: Sequence[nn.Module], streams: Sequence[Stream], last: Tensor | None = None, *, stacks: bool = False
) -> list[Tensor]:
    """Each stream through its encoder; zero, so without a score, until its modality has been met.

    A row of zeros also has no direction for a layer norm to keep: its gradient would be multiplied by 1/sqrt(eps) in each.

    Args:
        encoders: one for each stream, or one for all.
        streams: S of them, of the same shape.
        last: [B] columns; only these rows of the results are made.
        stacks: the encoders may be read as one where that pays, see ``Backbone.stacks``.

    Returns:
        S times [B, L, d], or [B, d] with ``last``.
    """
    if stacks and len(streams) > 1 and all(look is None for _, _, look in streams) and _pays(streams[0][0]):
        vectors = _at_once(encoders, streams, last)
    else:
        each = encoders if len(encoders) > 1 else [encoders[0]] * len(streams)
        vectors = [_through(encoder, x, held, last, look) for encoder, (x, held, look) in zip(each, streams, strict=True)]
    met = [None if held is None else held.cumsum(1) > 0 if last is None else held.any(1) for _, held, _ in streams]
    return [v if m is None else v * m[..., None] for v, m in zip(vectors, met, strict=True)]


def _pays(x: Tensor) -> bool:
    return x.is_cuda and not torch.compiler.is_compiling()


def _through(encoder: nn.Module, x: Tensor, held: Tensor | None, last: Tensor | None, look: Look | None = None) -> Tensor:
    if last is not None:
        return newest(encoder, x, held, last, look)
    done: Tensor = encoder(x, held) if look is None else encoder(x, held, look)
    return done


def _at_once(encoders: Sequence[nn.Module], streams: Sequence[Stream], last: Tensor | None) -> list[Tensor]:
    x = torch.stack([x for x, _, _ in streams])
    masks = [held for _, held, _ in streams]
    held = None
    if any(mask is not None for mask in masks):
        everything = x.new_ones(x.shape[1:3], dtype=torch.bool)
        held = torch.stack([everything if mask is None else mask for mask in masks])
    if len(encoders) == 1:
        rows = None if held is None else held.flatten(0, 1)
        vectors = _through(encoders[0], x.flatten(0, 1), rows, None if last is None else last.repeat(len(x)))
        return list(vectors.view(*x.shape[:2], *vectors.shape[1:]))
    each = [dict(encoder.named_parameters(prefix="encoder")) for encoder in encoders]
    weights = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    reader = _Reader(encoders[0])

    def through(weights: dict[str, Tensor], x: Tensor, held: Tensor | None) -> Tensor:
        done: Tensor = functional_call(reader, weights, (x, held, last))
        return done

    over = (0, 0, None if held is None else 0)
    return list(torch.vmap(through, in_dims=over, randomness="different")(weights, x, held))


class _Reader(nn.Module):
    """An encoder under a name, since ``functional_call`` calls modules and an encoder may be asked for its newest rows alone."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, held: Tensor | None, last: Tensor | None) -> Tensor:
        return _through(self.encoder, x, held, last)
