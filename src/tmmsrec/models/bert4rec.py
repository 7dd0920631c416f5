"""BERT4Rec (Sun et al. 2019): hidden items of a sequence are told from what stands on both sides of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.data.batch import Batch
from tmmsrec.data.dataset import Dataset
from tmmsrec.models.base import Method, VectorModel
from tmmsrec.nn.softmax import cross_entropy
from tmmsrec.nn.transformer import TokenEncoder, Transformer, start


@dataclass(frozen=True)
class BERT4Rec(Method):
    """A bidirectional Transformer, trained to fill in masked items and asked by a MASK after the history (sections 3.3 to 3.6).

    Where it differs from the authors' code:

    | here                                                                   | authors                                         |
    |------------------------------------------------------------------------|-------------------------------------------------|
    | masks are drawn anew at every step                                     | ten copies with masks fixed on disk, and one more |
    | with chance ``last_only`` a row has its last item masked and no other  | that one more copy                              |
    | the newest n tokens of a user                                          | a sliding window over longer sequences          |
    | candidates are the items                                               | also padding and MASK, with a bias each         |
    | the mean over masked places                                            | 1e-5 is added to their number                   |
    | training events only                                                   | the validation item is trained on               |

    MASK has a vector but no bias, so there is one parameter less: 523,425 for 800 items at the defaults.  As in the authors' code
    places count from the oldest event, so a MASK after a history longer than every training row asks at a place never trained.

    Attributes:
        width: d; the inner width of a layer is 4 d.
        length: n, the most tokens, MASK among them: n - 1 events are read.
        layers: L.
        heads: must divide the width.
        masked: rho, the share of a row's items that is masked, at least one (.6 for sparse data, .2 for dense).
        last_only: the chance that a row has only its last item masked, as it will be when asked.
        dropout: after the input norm and after both parts of a layer.
        attention_dropout: on attention weights.
    """

    width: int = 128
    length: int = 50
    layers: int = 2
    heads: int = 2
    masked: float = 0.6
    last_only: float = 1 / 11
    dropout: float = 0.5
    attention_dropout: float = 0.2

    source: ClassVar[str] = "BERT4Rec 2019"

    def __post_init__(self) -> None:
        self.check_sizes()
        if self.length < 2:
            raise ValueError(f"BERT4Rec.length counts MASK too and must be at least 2, got {self.length}")
        for name in ("masked", "last_only"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"BERT4Rec.{name} lies between 0 and 1, got {getattr(self, name)}")

    @property
    def history(self) -> int:
        """How many of a user's newest events it reads: a place is kept for MASK."""
        return self.length - 1

    def build(self, dataset: Dataset) -> BERT4RecModel:
        """A model of the dataset's items; raises ValueError when the heads do not divide the width."""
        return BERT4RecModel(self, dataset.n_items)


class BERT4RecModel(VectorModel):
    """What a BERT4Rec value builds."""

    def __init__(self, value: BERT4Rec, n_items: int) -> None:
        super().__init__()
        self.value = value
        how = {"layers": value.layers, "heads": value.heads}
        layers = Transformer(value.width, **how, dropout=value.dropout, attention_dropout=value.attention_dropout)
        self.encoder = TokenEncoder(n_items, value.length, layers, value.dropout)
        self.map = nn.Linear(value.width, value.width)
        self.norm = nn.LayerNorm(value.width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(n_items + 1))
        start(self.map)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy over all items, the mean over masked places; masks come from torch's default generator."""
        tokens = torch.cat([batch.items[:, :1], batch.targets], dim=1)  # the history and its last target
        masked = draw_masks(tokens, self.value.masked, self.value.last_only)
        states = self.encoder(tokens.masked_fill(masked, self.encoder.mask_token))
        return cross_entropy(self.queries(states[masked]), self.candidates(), tokens[masked])

    def users(self, batch: Batch) -> Tensor:
        """[B, d + 1] the state of a MASK after each history, a one beside it for the items' biases."""
        tokens = functional.pad(batch.items, (0, 1))
        at = batch.mask.sum(1)
        tokens = tokens.scatter(1, at[:, None], self.encoder.mask_token)
        return self.queries(self.encoder(tokens, at=at))

    def queries(self, states: Tensor) -> Tensor:
        """[..., d] -> [..., d + 1]: LN(gelu(W h + b)) and a one."""
        return functional.pad(self.norm(functional.gelu(self.map(states))), (0, 1), value=1.0)

    def items(self, rows: Tensor | None = None) -> Tensor:
        """Item rows and biases [..., d + 1]; MASK is no item."""
        bias = self.bias if rows is None else self.bias[rows]
        return torch.cat([self.encoder.table(rows), bias[..., None]], dim=-1)

    def biases(self) -> list[int]:
        """The last coordinate."""
        return [self.value.width]


def draw_masks(tokens: Tensor, share: float, last_only: float) -> Tensor:
    """[B, L] bool, which tokens [B, L] of right-padded rows are masked.

    Of each row round(length * share), at least one, without replacement; with chance ``last_only`` its last token alone.
    """
    held = tokens != 0
    length = held.sum(1, keepdim=True)
    count = (length.double() * share).round().clamp_min(1)
    keys = torch.rand(tokens.shape, device=tokens.device).masked_fill(~held, 2.0)  # padding comes last in the order
    drawn = (keys.argsort(1).argsort(1) < count) & held
    alone = torch.arange(tokens.shape[1], device=tokens.device) == length - 1
    return torch.where(torch.rand(len(tokens), 1, device=tokens.device) < last_only, alone, drawn)
