"""A score that is a sum of few thoughts, each with few parameters, trained together: see ``models.terms``.

    features   -> Similar, one for each modality ----\\
    features   -> Season ----------------------------\\
    counts     -> Popular ---------------------------- one inner product ---- + ---- score
    a Sequential, where one is given, times a weight /                      /
    history    -> Again ----- a few items beside it -----------------------/
    features   -> Alike ----- a few items beside it ----------------------/
    counts     -> Follows, Lately --- a few items beside it --------------/
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tmmsrec.data.batch import Batch, Per
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import Part
from tmmsrec.models.base import Method, VectorModel, Within, features_of
from tmmsrec.models.sequential import Sequential
from tmmsrec.models.terms import Again, Ages, Alike, Asking, Follows, Lately, Popular, Season, Similar
from tmmsrec.models.terms.asking import longest_gap
from tmmsrec.models.terms.similar import SimilarTerm
from tmmsrec.nn.beside import Beside
from tmmsrec.nn.softmax import cross_entropy
from tmmsrec.training import Training

#: What a network's scores may count beside the rest.
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
_EVER = 1 << 60  # seconds


@dataclass(frozen=True)
class Additive(Method):
    """Conditional logit over all items: ln P(i | history) = sum of terms + constant.  Ours, not the paper's.

    Every term looks at what may be read at the step that asks: what of the counts is still to come for a person is taken out while
    that person's steps are learned from, so a step in training is asked just what a request will ask.

    Attributes:
        modalities: features that likeness is told by; none for a catalogue without.
        length: n, the newest events that are read.
        ages: what time is to the kernels.
        similar: the term of each modality.
        popular: how often items are met.
        again: what the person had; None leaves it out.
        follows: what was seen to follow; None leaves it out.
        network: another recommender whose inner product is added.  It learns before the rest and on its own, since together it
            learns by heart and drowns the others; it is left as it is then, the rest learns as if it were not there, and its
            weight is the one of ``WEIGHTS`` that does best in validation.  What goes on from trained weights trains the rest alone.
        alike: what is all but the same as what the person had; None leaves it out, as does a catalogue without features.
        lately: what many had lately; None leaves it out.
        network_training: how the network is trained; None as the rest.
        season: what the time of the year calls for; None leaves it out, as does a catalogue without features.
    """

    modalities: tuple[str, ...] = ("text", "image")
    length: int = 50
    ages: Ages = Ages()
    similar: Similar = Similar()
    popular: Popular = Popular()
    again: Again | None = Again()
    follows: Follows | None = Follows()
    network: Sequential | None = None
    alike: Alike | None = field(default=None, metadata={"later": True})
    lately: Lately | None = field(default=None, metadata={"later": True})
    network_training: Training | None = field(default=None, metadata={"later": True})
    season: Season | None = field(default=None, metadata={"later": True})

    source: ClassVar[str] = "tmmsrec"

    def __post_init__(self) -> None:
        self.check_sizes()
        if "id" in self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"Additive.modalities names features, each once; ids belong to its network, got {self.modalities}")
        if self.network is not None and self.network.length < self.length:
            few = f"it reads {self.network.length} events and the rest {self.length}: set network.length first"
            raise ValueError(f"the network of an Additive has to read as many events as the rest; {few}")

    def row(self, windows: bool) -> Per:
        """A user's newest window: of an older one it would not know what of its counts is still to come."""
        return "user"

    @property
    def reads(self) -> tuple[str, ...]:
        """Ids, for what is counted is items, and the features."""
        return ("id", *self.modalities, *(m for m in self._of_network if m not in ("id", *self.modalities)))

    def reading(self, features: Collection[str]) -> Additive:
        """Its network too; without features nothing can be alike, and nothing has a season."""
        kept = super().reading(features)
        kept = replace(kept, network=None if kept.network is None else kept.network.reading(features))
        return kept if kept.modalities else replace(kept, alike=None, season=None, similar=Similar())

    def sized(self, n_items: int) -> Additive:
        """Its network too."""
        return self if self.network is None else replace(self, network=self.network.sized(n_items))

    @property
    def within(self) -> Within | None:
        """Its network."""
        return None if self.network is None else Within("network", self.network, self.network_training)

    @property
    def _of_network(self) -> tuple[str, ...]:
        return () if self.network is None else self.network.modalities

    @property
    def reads_time(self) -> bool:
        """Unless every event is of the same age to it and nothing depends on when."""
        return self._dated or (self.network is not None and self.network.reads_time)

    @property
    def reads_now(self) -> bool:
        """As its ages and its network do; what was met lately ends, and the season is told, where ages end."""
        return (self.ages.to_now and self._dated) or (self.network is not None and self.network.reads_now)

    @property
    def _dated(self) -> bool:
        seasonal = self.season is not None and bool(self.modalities)
        return bool(self.ages.edges) or self.lately is not None or seasonal

    @property
    def beside(self) -> bool:
        """Where a term is of a few items."""
        likes = self.alike is not None and bool(self.modalities)
        return likes or any(term is not None for term in (self.again, self.follows, self.lately))

    @property
    def history(self) -> int:
        """How many of a user's newest events it reads."""
        return self.length

    def build(self, dataset: Dataset) -> AdditiveModel:
        """Raises ValueError when the dataset lacks a modality."""
        found = features_of(dataset, (*self.modalities, *self._of_network))[: len(self.modalities)]
        features = [(torch.tensor(f.rows, dtype=torch.float32), torch.tensor(f.present)) for f in found]
        return AdditiveModel(self, features, dataset)


class AdditiveModel(VectorModel):
    """What an Additive value builds."""

    def __init__(self, value: Additive, features: list[tuple[Tensor, Tensor]], dataset: Dataset) -> None:
        super().__init__()
        self.value, self.n_items = value, dataset.n_items
        self.similar = nn.ModuleList(value.similar.build(rows, present, value.ages) for rows, present in features)
        self.popular = value.popular.build(self.n_items, value.ages)
        self.again = value.again.build(value.ages) if value.again else None
        self.follows = value.follows.build(self.n_items, value.ages) if value.follows else None
        self.alike = value.alike.build(len(features), value.ages) if value.alike and features else None
        self.lately = value.lately.build(self.n_items, value.ages) if value.lately else None
        widths = [rows.shape[1] for rows, _ in features]
        self.season = value.season.build(widths, value.ages) if value.season and features else None
        self.network = value.network.build(dataset) if value.network else None
        if self.network is not None:
            self.network.requires_grad_(False)  # it is trained before
            self.register_buffer("weight", torch.zeros(()))
        self.weight: Tensor
        # Seconds, the longest that training knows somebody to stay away.  Nothing was learned of what is more: who comes later is
        # answered as if it were just so long ago, but for the season.
        self.register_buffer("longest", torch.tensor(_EVER))
        self.longest: Tensor
        self.register_load_state_dict_pre_hook(AdditiveModel._from_before)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(AdditiveModel._grown)  # type: ignore[no-untyped-call]

    def prepare(self, train: Part) -> None:
        """Look for neighbours, and how long people stay away."""
        self.longest.fill_(longest_gap(train))
        if self.alike is not None:
            self.alike.find(self._likenesses)

    def moved(self, place: Tensor) -> None:
        """Neighbours go along."""
        if self.alike is not None:
            self.alike.moved(place)

    def begin_epoch(self, seed: int) -> None:
        """Measure how far neighbours are, where that is not known; a training that is taken up again does so anew."""
        if self.alike is not None:
            self.alike.measure(self._likenesses)

    def _from_before(self, state: dict[str, Tensor], prefix: str, *_: object) -> None:
        """Weights of before this was counted may be loaded."""
        state.setdefault(prefix + "longest", torch.tensor(_EVER))

    def _grown(self, _: object) -> None:
        """They may be of a smaller catalogue."""
        if self.alike is not None:
            self.alike.follow(self._likenesses)

    def observe(self, part: Part) -> None:
        """Count what may be read; look for neighbours where that was not done yet."""
        if self.alike is not None and not len(self.alike.near):
            self.alike.find(self._likenesses)
        for term in (self.popular, self.follows, self.lately):
            if term is not None:
                term.count(part)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy over all items, the mean over steps that have a target; without the network."""
        asking, candidates = Asking.everywhere(batch, self.value.ages), torch.cat(self._counted(), dim=-1)
        candidates = candidates if self.taught is None else candidates[: self.taught + 1]
        number = torch.full((batch.targets.numel(),), -1, device=batch.asked.device)
        number[batch.asked] = torch.arange(len(batch.asked), device=batch.asked.device)
        beside = [one.numbered(number, len(candidates)) for one in (*self._beside(asking).values(), *self._too_much(asking))]
        states, targets = batch.at_targets(self._queries(asking, None)), batch.at_targets(batch.targets)
        return cross_entropy(states, candidates, targets, beside, fixed=self.shares()["popular"].start)

    def states(self, batch: Batch) -> Tensor:
        """[B, L, D] after every step."""
        of_network = self.network.states(batch) if self.network is not None else None
        return self._queries(Asking.everywhere(batch, self.value.ages), of_network)

    def settle(self, reached: Callable[[], float]) -> float:
        """The network's weight."""
        if self.network is None:
            return super().settle(reached)
        found = []
        for weight in WEIGHTS:
            self.weight.fill_(weight)
            found.append(reached())
        best = int(np.argmax(found))
        self.weight.fill_(WEIGHTS[best])
        return found[best]

    def users(self, batch: Batch) -> Tensor:
        """[B, D] after the newest events."""
        asking = Asking.newest(batch, self.value.ages, self.longest)
        return self._queries(asking, self.network.users(batch)[:, None] if self.network is not None else None)[:, 0]

    def _queries(self, asking: Asking, of_network: Tensor | None) -> Tensor:
        """[B, K, D]."""
        parts = [term.queries(asking) for term in self._likenesses]
        parts.append(self.popular.queries(asking))
        if self.season is not None:
            parts.append(self.season.queries(asking))
        return torch.cat(parts if of_network is None else [*parts, of_network], dim=-1)

    def items(self, rows: Tensor | None = None) -> Tensor:
        """Item vectors [..., D]."""
        parts = self._counted()
        if self.network is not None:
            parts.append(self.weight * self.network.items())
        whole = torch.cat(parts, dim=-1)
        return whole if rows is None else whole[rows]

    def _counted(self) -> list[Tensor]:
        """Item vectors [I+1, ...] of all but the network."""
        season = [] if self.season is None else [self.season.items(self._likenesses)]
        return [*(term.items() for term in self._likenesses), self.popular.items(), *season]

    def shares(self) -> dict[str, slice]:
        """The features, popularity, season and the network's own."""
        found, at = {}, 0
        for name, term in zip(self.value.modalities, self._likenesses, strict=True):
            found[name] = slice(at, at := at + term.features.shape[1])
        found["popular"] = slice(at, at := at + 1)
        if self.season is not None:
            found["season"] = slice(at, at := at + self.season.width)
        own = {} if self.network is None else self.network.shares()
        for name, part in own.items():
            found[f"network {name}"] = slice(at + (part.start or 0), None if part.stop is None else at + part.stop)
        return found

    def biases(self) -> list[int]:
        """Popularity, season, and the network's own."""
        first = self.shares()["popular"].start
        end = first + 1 + (0 if self.season is None else self.season.width)
        return [*range(first, end), *(end + one for one in (self.network.biases() if self.network is not None else []))]

    def beside(self, batch: Batch) -> dict[str, Beside]:
        """Every term of a few items by its name."""
        return self._beside(Asking.newest(batch, self.value.ages, self.longest))

    def _beside(self, asking: Asking) -> dict[str, Beside]:
        found = {}
        if self.again is not None:
            found["again"] = self.again.beside(asking)
        if self.follows is not None:
            found["follows"] = self.follows.beside(asking)
        if self.lately is not None:
            found["lately"] = self.lately.beside(asking)
        if self.alike is not None:
            found["alike"] = self.alike.beside(asking, self._likenesses)
        return found

    def _too_much(self, asking: Asking) -> list[Beside]:
        found = self.popular.beside(asking)
        return [] if found is None else [found]

    @property
    def _likenesses(self) -> list[SimilarTerm]:
        return [term for term in self.similar if isinstance(term, SimilarTerm)]
