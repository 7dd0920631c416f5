"""The floor that may choose: a Markov with the decay, span, reach and back-off that the log itself prefers.

Whatever is compared with counting should be compared with counting done well, and parameters that suit one log are poor on another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from tmmsrec import metrics
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import Part
from tmmsrec.models.base import Method, Model
from tmmsrec.models.counting import Markov, MarkovModel, popularity
from tmmsrec.models.transitions import by_steps, shares, weighed

_METRIC = metrics.NDCG @ 10
_USERS = 512  # whose scores are held at once
_CROWDED = 0.1  # share of entries that are not zero from which on all of them cost less than a look-up of each
_MOST_CELLS = 2**27  # 1 GB
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TunedMarkov(Method):
    """Markov, its parameters chosen anew whenever it counts a log.

    Of each user's events that may be read, the newest is held back; every setting counts the others and ranks what was held back,
    and the one with the best NDCG@10 then counts all of them.  So the validation targets choose when the test part is asked about,
    and the newest training events when the validation part is; a target never chooses for itself.

    Attributes:
        decays, spans, reaches, backoffs: of ``Markov``, each with each.
        users: whose held-back events choose, at most; drawn at random, always the same.
        events: of the users that settings are counted on while choosing, at most, those among them; drawn in the same way.
        exclude_seen: leave out what a user has met while choosing, as the rankings will.
    """

    decays: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 0.9)
    spans: tuple[int, ...] = (1, 3, 10)
    reaches: tuple[int, ...] = (5, 50)
    backoffs: tuple[float, ...] = (0.001, 0.05, 0.2, 0.5)
    users: int = 5_000
    events: int = 1_000_000
    exclude_seen: bool = False

    source: ClassVar[str] = "counting"
    inner_product: ClassVar[bool] = False
    learned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.settings():
            raise ValueError("a tuned Markov needs at least one decay, span, reach and backoff to choose from")
        for name in ("users", "events"):
            if getattr(self, name) < 1:
                raise ValueError(f"TunedMarkov.{name} must be at least 1, got {getattr(self, name)}")

    @property
    def history(self) -> int:
        """The newest events that may count."""
        return max(self.reaches)

    def settings(self) -> list[Markov]:
        """All there is to choose from."""
        return [Markov(*each) for each in product(self.decays, self.spans, self.reaches, self.backoffs)]

    def under(self, exclude_seen: bool) -> Self:
        """Chosen as it will be asked."""
        return replace(self, exclude_seen=exclude_seen)

    def build(self, dataset: Dataset) -> Model:
        """Counts of nothing yet."""
        return _TunedMarkov(dataset.n_items, self)


class _TunedMarkov(MarkovModel):
    def __init__(self, n_items: int, value: TunedMarkov) -> None:
        self.among = value.settings()
        super().__init__(n_items, self.among[0])
        self.tuned = value
        self.register_buffer("chosen", torch.zeros((), dtype=torch.int64))  # the place of the setting, which is saved and loaded
        self.chosen: Tensor

    def observe(self, part: Part) -> None:
        shown = _without_the_newest(part, self.tuned)
        values = [0.0] * len(self.among) if shown is None else _values(shown, self.n_items, self.among, self.tuned.exclude_seen)
        self.chosen = torch.tensor(int(np.argmax(values)))
        super().observe(part)

    @property
    def value(self) -> Markov:
        return self.among[int(self.chosen)]


def _without_the_newest(part: Part, value: TunedMarkov) -> Part | None:
    """The part with the newest event of each user held back, some of them as targets; None where nobody has two events to read."""
    users = np.random.default_rng(0).permutation(part.users[part.stop[part.users] >= 2])
    stop = np.zeros_like(part.stop)
    if part.stop.sum() <= value.events:
        stop[:] = part.stop
    else:
        users = users[: max(1, np.searchsorted(np.cumsum(part.stop[users]), value.events))]
        stop[users] = part.stop[users]
    stop[users] -= 1
    return Part("valid", part.interactions, stop, np.sort(users[: value.users])) if len(users) else None


def _values(part: Part, n_items: int, among: list[Markov], exclude_seen: bool) -> list[float]:
    """The value of each setting: what it counts of the part, asked for the part's targets."""
    popular = popularity(part, n_items)
    bases = {m.backoff: m.backoff * popular for m in among}
    ordered = {backoff: np.sort(base[1:]) for backoff, base in bases.items()}
    steps = list(by_steps(part, n_items, max(m.span for m in among)))
    ranks: dict[Markov, list[_Floats]] = {m: [] for m in among}
    met = [_met(part, n_items, users) if exclude_seen else None for users in _blocks(part)]
    # Settings that differ only in their back-off share all that is costly; those that differ only in their reach, the counts.
    for counting in dict.fromkeys(replace(m, reach=1, backoff=0.0) for m in among):
        follows = _spread(shares(weighed(steps, counting.weights)))
        alike = [m for m in among if (m.decay, m.span) == (counting.decay, counting.span)]
        for reach in dict.fromkeys(m.reach for m in alike):
            own = [m for m in alike if m.reach == reach]
            for (targets, read), places in zip(_asked(part, n_items, own[0]), met, strict=True):
                counted = _spread(read @ follows)
                hidden = None if places is None else _Hidden(*places, np.asarray(counted[places]))
                scores = counted if isinstance(counted, np.ndarray) else counted.tocoo()
                for m in own:
                    ranks[m].append(_ranks(scores, bases[m.backoff], ordered[m.backoff], targets, hidden))
    return [float(_METRIC(np.concatenate(ranks[m])).mean()) for m in among]


def _spread(counted: sparse.csr_array | _Floats) -> sparse.csr_array | _Floats:
    """The same, dense where it is crowded and not too large."""
    if isinstance(counted, np.ndarray):
        return counted
    cells = counted.shape[0] * counted.shape[1]
    return counted.toarray() if _CROWDED * cells < counted.nnz and cells <= _MOST_CELLS else counted


_Places = tuple[NDArray[np.int64], NDArray[np.int64]]


class _Hidden(NamedTuple):
    """What users have met, each item once: row [m], item [m], and what is counted for it [m]."""

    row: NDArray[np.int64]
    item: NDArray[np.int64]
    counted: _Floats


def _blocks(part: Part) -> list[NDArray[np.int64]]:
    """The users that are asked about, [B] each."""
    return [part.users[start : start + _USERS] for start in range(0, len(part), _USERS)]


def _met(part: Part, n_items: int, users: NDArray[np.int64]) -> _Places:
    """What users [B] may be read to have met, each item once: row [m] and item [m]."""
    row, item = part.read_of(users)
    rows, items = np.divmod(np.unique(row * (n_items + 1) + item), n_items + 1)
    return rows, items


def _asked(part: Part, n_items: int, value: Markov) -> Iterator[tuple[NDArray[np.int32], sparse.csr_array]]:
    """Targets [B] and read histories [B, I+1], block by block."""
    for users in _blocks(part):
        row, item = part.read_of(users)
        newer = np.cumsum(part.stop[users])[row] - 1 - np.arange(len(row))
        read = value.read(row, item.astype(np.int64), newer, (len(users), n_items + 1))
        yield part.interactions.items[part.interactions.offsets[users] + part.stop[users]], read


def _ranks(
    counted: sparse.coo_array | _Floats, base: _Floats, ordered: _Floats, targets: NDArray[np.int32], hidden: _Hidden | None
) -> _Floats:
    """[B] 0-based ranks of the targets by ``counted + base``, ties at their mean.

    What is hidden ranks below all else, a target too.

    Args:
        counted: [B, I+1].
        base, ordered: [I+1] what items have besides, whoever asks; [I] the same of the items alone, sorted.
        targets: [B].
    """
    if isinstance(counted, np.ndarray):
        own, higher, ties = _beside_all(counted, base, targets)
    else:
        own, higher, ties = _beside_entries(counted, base, ordered, targets)
    if hidden is not None:
        size = len(targets)
        row, value, mine = hidden.row, hidden.counted + base[hidden.item], own[hidden.row]
        alone = len(ordered) - np.bincount(row, minlength=size)  # how many are not hidden
        below = np.zeros(size, np.bool_)
        below[row[hidden.item == targets[row]]] = True
        higher = np.where(below, alone, higher - np.bincount(row, value > mine, size))
        ties = np.where(below, len(ordered) - alone, ties - np.bincount(row, value == mine, size))
    found: _Floats = higher + (ties - 1) / 2
    return found


_Standing = tuple[_Floats, NDArray[Any], NDArray[Any]]  # [B] scores of the targets, how many stand higher, how many level with them


def _beside_all(counted: _Floats, base: _Floats, targets: NDArray[np.int32]) -> _Standing:
    """By all scores."""
    scores = counted + base
    own: _Floats = scores[np.arange(len(targets)), targets]
    items = scores[:, 1:]  # row 0 is no item
    return own, (items > own[:, None]).sum(axis=1), (items == own[:, None]).sum(axis=1)


def _beside_entries(counted: sparse.coo_array, base: _Floats, ordered: _Floats, targets: NDArray[np.int32]) -> _Standing:
    """By the entries that are not zero, since they alone stand elsewhere than their base would have them."""
    row, column, value = counted.row, counted.col, counted.data
    own = base[targets].copy()
    met = column == targets[row]
    own[row[met]] = value[met] + own[row[met]]
    not_above = np.searchsorted(ordered, own, side="right")
    higher = len(ordered) - not_above
    ties = not_above - np.searchsorted(ordered, own, side="left")
    before, after, mine = base[column], value + base[column], own[row]
    size = len(targets)
    higher = higher + np.bincount(row, (after > mine).astype(float) - (before > mine), size)
    ties = ties + np.bincount(row, (after == mine).astype(float) - (before == mine), size)
    return own, higher, ties
