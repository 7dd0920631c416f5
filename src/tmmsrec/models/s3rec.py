"""S3-Rec (Zhou et al. 2020): a Transformer that first learns what belongs together from attributes, items and segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from tmmsrec.data.batch import Batch
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.negatives import Negatives
from tmmsrec.models.attributes import AttributeHeads, Attributes, Discrete
from tmmsrec.models.base import Method, Pretraining, VectorModel
from tmmsrec.models.s3rec_tasks import Tasks, Weights, draw, sequences
from tmmsrec.nn.losses import BCE, Drawn
from tmmsrec.nn.transformer import TokenEncoder, Transformer, start


@dataclass(frozen=True)
class S3Rec(Method):
    """Four pre-training tasks on masked sequences (section 4), then SASRec's loss on the causal encoder (section 4.5).

    Contents are what AAP and MAP predict; nothing of them is read when items are scored.  S3-Rec_ITV is
    ``S3Rec(modalities=("text", "image"))``.

    Where it differs from the authors' code:

    | here                                                        | authors                                                 |
    |-------------------------------------------------------------|---------------------------------------------------------|
    | attributes made of texts and pictures, see ``attributes``   | brand and categories                                    |
    | rows are all prefixes of two training events or more        | also of one; only those of the newest n + 2 events      |
    | foreign segments: training events of other users in a batch | events of all users, of validation and test among them  |
    | MASK is no negative; fine-tuning avoids training items      | it may be one; fine-tuning avoids all items of the user |
    | places count from the left of right-padded rows             | from the left of left-padded rows, pads among them      |
    | no attribute row for padding: d parameters less             | one, which nothing reads                                |

    Attributes:
        modalities: what attributes are made of; none leaves AAP and MAP out.
        width: d; the inner width of a layer is 4 d.
        length: n, the newest events that are read.
        layers: L.
        heads: must divide the width.
        dropout: after the input norm, after both parts of a layer and on attention weights.
        pretraining_epochs: the authors' checkpoints have 100 to 150.
        pretraining_rows: most prefixes of such an epoch, drawn anew for each; None, as the authors, for all.
        masked: the chance of each step but the last to be masked in pretraining; the last always is.
        weights: of the four tasks.
        reduction: "sum" over rows, steps and attributes, as the authors; "mean" makes each task the mean of its own terms.  Adam
            forgets a common scale, so what differs is the mixture: the weights were chosen for sums, where attributes are most
            of the loss, and it is by them alone that contents enter.  Hence "sum" is the default; where gradients are clipped or
            weights decay, "mean" is safer.
        attributes: how contents become attributes.
    """

    modalities: tuple[str, ...] = ("text",)
    width: int = 128
    length: int = 50
    layers: int = 2
    heads: int = 2
    dropout: float = 0.5
    pretraining_epochs: int = 100
    pretraining_rows: int | None = None
    masked: float = 0.2
    weights: Weights = Weights()
    reduction: Literal["sum", "mean"] = "sum"
    attributes: Attributes = Discrete()

    source: ClassVar[str] = "S3-Rec 2020"

    def __post_init__(self) -> None:
        self.check_sizes()
        if "id" in self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"S3Rec.modalities are distinct names of contents ('id' is always read), got {self.modalities}")
        if not 0.0 <= self.masked <= 1.0:
            raise ValueError(f"S3Rec.masked lies between 0 and 1, got {self.masked}")
        if self.length < 2 or self.pretraining_epochs < 0:
            raise ValueError("S3Rec.length must be at least 2 and pretraining_epochs at least 0")
        if self.pretraining_rows is not None and self.pretraining_rows < 1:
            raise ValueError(f"S3Rec.pretraining_rows must be at least 1, or None for all, got {self.pretraining_rows}")

    @property
    def reads(self) -> tuple[str, ...]:
        """Modalities that the method reads, contents in pretraining only."""
        return ("id", *self.modalities)

    @property
    def scored_by(self) -> tuple[str, ...]:
        """Candidates are scored by their learned rows alone."""
        return ("id",)

    @property
    def history(self) -> int:
        """How many of a user's newest events it reads."""
        return self.length

    @property
    def pretraining(self) -> Pretraining | None:
        """Prefixes of all sequences; None without epochs."""
        return Pretraining(self.pretraining_epochs, "event", self.pretraining_rows) if self.pretraining_epochs else None

    @property
    def negatives(self) -> Negatives:
        """One per step, for fine-tuning."""
        return Negatives(1)

    def build(self, dataset: Dataset) -> S3RecModel:
        """A model of the dataset's items; raises ValueError when it lacks a modality, or the heads do not divide the width."""
        attributes = self.attributes.build(dataset, self.modalities, self.width) if self.modalities else None
        return S3RecModel(self, dataset.n_items, attributes)


class S3RecModel(VectorModel):
    """What an S3Rec value builds."""

    def __init__(self, value: S3Rec, n_items: int, attributes: AttributeHeads | None) -> None:
        super().__init__()
        self.value, self.n_items = value, n_items
        p = value.dropout
        layers = Transformer(value.width, layers=value.layers, heads=value.heads, dropout=p, attention_dropout=p)
        self.encoder = TokenEncoder(n_items, value.length, layers, p)
        self.tasks = Tasks(value.width, attributes)
        start(self.tasks)

    @property
    def attributes(self) -> AttributeHeads | None:
        """What AAP and MAP predict; ``describe()`` says how many attributes there are and how sparse."""
        return self.tasks.attributes

    def pretraining_loss(self, batch: Batch) -> Tensor:
        """.2 AAP + MIP + MAP + .5 SP of rows per event; masks, negatives and segments come from torch's default generator."""
        tokens = sequences(batch, self.value.length)
        drawn = draw(tokens, batch.users, self.n_items, self.value.masked)
        return self.tasks.total(self.tasks.losses(self.encoder, drawn), self.value.weights, self.value.reduction)

    def loss(self, batch: Batch) -> Tensor:
        """Fine-tuning: binary cross-entropy with one negative at every step, as SASRec."""
        drawn = Drawn(batch.at_targets(batch.negatives), batch.expected, self.n_items)
        return BCE()(batch.at_targets(self.states(batch)), batch.at_targets(batch.targets), drawn, self.items)

    def states(self, batch: Batch) -> Tensor:
        """[B, L, d] after every step, each reading itself and those before it."""
        done: Tensor = self.encoder(batch.items, causal=True)
        return done

    def users(self, batch: Batch) -> Tensor:
        """[B, d] the states after the newest events."""
        done: Tensor = self.encoder(batch.items, causal=True, at=batch.last)
        return done

    def items(self, rows: Tensor | None = None) -> Tensor:
        """Item rows [..., d]; MASK is no item."""
        found: Tensor = self.encoder.table(rows)
        return found
