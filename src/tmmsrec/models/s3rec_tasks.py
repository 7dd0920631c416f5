"""The four pre-training tasks of S3-Rec: what is drawn for a batch of sequences, and their losses (Zhou et al. 2020, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from tmmsrec.data.batch import Batch
from tmmsrec.models.attributes import AttributeHeads
from tmmsrec.nn.transformer import TokenEncoder

#: How often a negative that stands in the sequence itself is drawn again before its place is left out.
_DRAWS = 8


@dataclass(frozen=True)
class Weights:
    """What the tasks count: associated attributes, masked items, masked attributes, segments."""

    aap: float = 0.2
    mip: float = 1.0
    map: float = 1.0
    sp: float = 0.5


@dataclass(frozen=True, eq=False)
class Instance:
    """What is drawn for sequences of tokens; the segment is a run of steps of each row.

    Attributes:
        tokens: [B, L] the true items, right-padded.
        masked: [B, L] bool, steps that are masked for AAP, MIP and MAP.
        negatives: [B, L] an item outside of the sequence at masked steps; 0 where there is none.
        segment: [B, L] bool.
        foreign: [B, L] a run of other users' items at the segment, 0 elsewhere, and everywhere in rows that have none.
    """

    tokens: Tensor
    masked: Tensor
    negatives: Tensor
    segment: Tensor
    foreign: Tensor


def sequences(batch: Batch, length: int) -> Tensor:
    """[B, at most ``length``] each row's history with its one target at the end, the newest tokens where they are too many."""
    size = batch.mask.sum(1, keepdim=True)
    target = batch.targets.sum(1, keepdim=True)  # there is one, at the newest step
    tokens = torch.cat([batch.items, torch.zeros_like(target)], dim=1).scatter(1, size, target)
    if tokens.shape[1] <= length:
        return tokens
    steps = torch.arange(length, device=tokens.device)
    return tokens.gather(1, steps + (size + 1 - length).clamp_min(0))


def draw(tokens: Tensor, users: Tensor, n_items: int, chance: float) -> Instance:
    """Everything that is random, for right-padded rows of two tokens or more; from torch's default generator."""
    masked = draw_masks(tokens, chance)
    segment = draw_segments(tokens)
    return Instance(tokens, masked, draw_negatives(tokens, masked, n_items), segment, draw_foreign(tokens, users, segment))


def draw_masks(tokens: Tensor, chance: float) -> Tensor:
    """[B, L] bool: the last token of each row always, each other one with a chance."""
    held = tokens != 0
    last = torch.arange(tokens.shape[1], device=tokens.device) == held.sum(1, keepdim=True) - 1
    return (torch.rand(tokens.shape, device=tokens.device) < chance) & held | last


def draw_negatives(tokens: Tensor, masked: Tensor, n_items: int) -> Tensor:
    """[B, L] at masked steps one uniform item that is not in the row; 0 where some draws in turn all were."""
    row, _ = masked.nonzero(as_tuple=True)
    drawn = torch.randint(1, n_items + 1, (len(row), _DRAWS), device=tokens.device)
    free = ~(drawn[:, :, None] == tokens[row][:, None]).any(-1)
    first = free.int().argmax(1, keepdim=True)  # of equal ones the first
    chosen = (drawn * free).gather(1, first)[:, 0]
    return torch.zeros_like(tokens).masked_scatter(masked, chosen)


def draw_segments(tokens: Tensor) -> Tensor:
    """[B, L] bool, a run of 1 to T // 2 steps somewhere in each row of T tokens, both even."""
    size = (tokens != 0).sum(1, keepdim=True)
    length = 1 + _below(size // 2)
    begin = _below(size - length + 1)
    steps = torch.arange(tokens.shape[1], device=tokens.device)
    return (steps >= begin) & (steps < begin + length)


def draw_foreign(tokens: Tensor, users: Tensor, segment: Tensor) -> Tensor:
    """[B, L] at the segments, as long a run of the other users' rows laid end to end; 0 elsewhere.

    Rows lie in a ring in the order of their users, so a user's own are one stretch of it, and a run begins anywhere in the rest.
    A row is all 0 where the rest is too short.
    """
    users, order = users.sort(stable=True)
    ring = tokens[order][tokens[order] != 0]
    ends = torch.cat([users.new_zeros(1), (tokens != 0).sum(1)[order].cumsum(0)])
    own = torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=order.device))  # each row's place in the order
    begin = ends[torch.searchsorted(users, users, right=False)][own][:, None]
    end = ends[torch.searchsorted(users, users, right=True)][own][:, None]
    length = segment.sum(1, keepdim=True)
    spare = len(ring) - (end - begin) - length
    start = end + _below((spare + 1).clamp_min(1))
    found = ring[(start + segment.cumsum(1) - 1) % max(1, len(ring))]
    return found * (segment & (spare >= 0))


def _below(bound: Tensor) -> Tensor:
    """Uniform whole numbers 0..bound-1, one for each bound."""
    drawn = (torch.rand(bound.shape, dtype=torch.float64, device=bound.device) * bound).long()
    return torch.minimum(drawn, bound - 1)


class Tasks(nn.Module):
    """The heads of the four tasks, which fine-tuning and scoring do not read.

    Args:
        width: d.
        attributes: heads for AAP and MAP; None where there is no attribute, and these two tasks are nothing.
    """

    def __init__(self, width: int, attributes: AttributeHeads | None) -> None:
        super().__init__()
        self.attributes = attributes
        self.item = nn.Linear(width, width)
        self.segment = nn.Linear(width, width)

    def losses(self, encoder: TokenEncoder, drawn: Instance) -> dict[str, tuple[Tensor, Tensor]]:
        """Task -> the sum of its losses and the number of its terms.

        AAP is taken over steps that are not masked, MAP and MIP over masked ones, SP once a row.
        """
        tokens, masked = drawn.tokens, drawn.masked
        states = encoder(tokens.masked_fill(masked, encoder.mask_token))
        found = {"mip": self._items(encoder, states, drawn), "sp": self._segments(encoder, drawn)}
        if self.attributes is not None:
            open_steps = (tokens != 0) & ~masked
            found["aap"] = self.attributes.loss("aap", states[open_steps], tokens[open_steps])
            found["map"] = self.attributes.loss("map", states[masked], tokens[masked])
        return found

    def total(self, losses: dict[str, tuple[Tensor, Tensor]], weights: Weights, reduction: Literal["sum", "mean"]) -> Tensor:
        """The weighted sum over tasks, of sums or of means."""
        parts = [
            getattr(weights, task) * (found if reduction == "sum" else found / count.clamp_min(1))
            for task, (found, count) in losses.items()
        ]
        return torch.stack(parts).sum()

    def _items(self, encoder: TokenEncoder, states: Tensor, drawn: Instance) -> tuple[Tensor, Tensor]:
        """MIP: -ln s(f(item) - f(negative)) with f = s(<W F, e>), as the authors code it; each between .3133 and 1.3133."""
        asked = drawn.negatives != 0
        query = self.item(states[asked])
        own, other = ((query * encoder.table(rows[asked])).sum(-1).sigmoid() for rows in (drawn.tokens, drawn.negatives))
        return softplus(other - own).sum(), asked.sum()

    def _segments(self, encoder: TokenEncoder, drawn: Instance) -> tuple[Tensor, Tensor]:
        """SP: -ln s(g(own) - g(foreign)) with g = s(<W context, segment>), all read at the last step of a row."""
        tokens, segment = drawn.tokens, drawn.segment
        has = drawn.foreign.any(1)
        mask, held = encoder.mask_token, tokens != 0
        context = tokens.masked_fill(segment, mask)
        own = tokens.masked_fill(held & ~segment, mask)
        foreign = torch.where(segment, drawn.foreign, own)
        last = (held.sum(1) - 1)[has]
        read = encoder(torch.cat([context[has], own[has], foreign[has]]), at=last.repeat(3))
        query, positive, negative = read.chunk(3)
        query = self.segment(query)
        distance = (query * positive).sum(-1).sigmoid() - (query * negative).sum(-1).sigmoid()
        return softplus(-distance).sum(), has.sum()
