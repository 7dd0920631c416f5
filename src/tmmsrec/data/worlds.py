"""Worlds with a known answer: small data where a model that can learn one thing passes and one that cannot does not.

Every world comes with three sets of numbers for its last events (the test targets): what the best possible scorer
earns, what the best one earns that lacks the one thing the world is about, and what a uniformly random scorer earns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem

DAY = 86_400
_YEAR = 2012
_START = np.datetime64(f"{_YEAR}-01-01", "D").astype(np.int64)


@dataclass(frozen=True, eq=False)
class World:
    """Data and the known answers about its test targets.

    Attributes:
        dataset: the data; ``dataset.report["ceiling"]`` repeats ``ceiling``.
        ceiling: expected HR@1, HR@10 and NDCG@10 of the best possible scorer.
        blind: the same for the best scorer that lacks what the world is about.
        chance: the same for a uniformly random scorer over all items.
    """

    dataset: Dataset
    ceiling: dict[str, float]
    blind: dict[str, float]
    chance: dict[str, float] = field(default_factory=dict)


def uniform_scores(n: int) -> dict[str, float]:
    """What a scorer earns that puts ``n`` items on top, the target equally likely any of them."""
    gains = 1.0 / np.log2(np.arange(min(10, n)) + 2.0)
    return {"HR@1": 1.0 / n, "HR@10": min(10, n) / n, "NDCG@10": float(gains.sum()) / n}


def _mixed(share: float, one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {name: share * one[name] + (1 - share) * other[name] for name in one}


def _world(
    name: str,
    log: Interactions,
    n_items: int,
    answers: tuple[dict[str, float], dict[str, float]],
    features: dict[str, Features] | None = None,
) -> World:
    ceiling, blind = answers
    titles = pa.table({"title": pa.array([f"{name} {i}" for i in range(1, n_items + 1)])})
    dataset = Dataset.in_memory(name, log, n_items, features, titles)
    dataset.report.update(world=name, ceiling=ceiling, blind=blind)
    return World(dataset, ceiling, blind, uniform_scores(n_items))


def _log(items: NDArray[np.integer], times: NDArray[np.integer], kept: NDArray[np.bool_] | None = None) -> Interactions:
    """Events from items and times [U, L], all or those that are ``kept`` [U, L]."""
    kept = np.ones(items.shape, dtype=np.bool_) if kept is None else kept
    users = np.repeat(np.arange(len(items)), kept.sum(axis=1))
    return Interactions.of(users, items[kept], times[kept], len(items))


def _daily(rng: np.random.Generator, users: int, length: int, longest: int = 9) -> NDArray[np.int64]:
    """Times [U, L] that mean nothing: one to ``longest`` days from event to event."""
    steps = rng.integers(1, longest + 1, (users, length))
    return np.asarray((_START + rng.integers(0, 365, (users, 1)) + np.cumsum(steps, axis=1)) * DAY)


def checkerboard(users: int = 600, items: int = 40, length: int = 8, seed: int = 0) -> World:
    """Half of the users buy even item rows, the others odd ones, in random order, never the same twice.

    Which items go together is all there is to know; order and time mean nothing.  Blind is one who knows that nothing
    is bought twice, but not which items go together.
    """
    half = items // 2
    if items % 2 or not 3 <= length < half:
        raise DataProblem(f"a checkerboard needs an even number of items and 3 <= length < items / 2, got {items}, {length}")
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.random((users, half)), axis=1)[:, :length]
    bought = 1 + 2 * order + (np.arange(users) % 2)[:, None]
    left = length - 1  # distinct items already bought when the last one is chosen
    answers = uniform_scores(half - left), uniform_scores(items - left)
    return _world("checkerboard", _log(bought, _daily(rng, users, length)), items, answers)


def markov(users: int = 600, items: int = 40, length: int = 9, p: float = 0.85, seed: int = 0) -> World:
    """Each event follows the one before by a fixed cycle through all items with probability ``p``, else is any item.

    The last item is all there is to know.  Blind is one who does not look at it.
    """
    if items < 3 or length < 3 or not 0 <= p <= 1:
        raise DataProblem(f"a Markov world needs 3 items, 3 events and 0 <= p <= 1, got {items}, {length}, {p}")
    rng = np.random.default_rng(seed)
    cycle = rng.permutation(items)
    after = np.empty(items, dtype=np.int64)
    after[cycle] = np.roll(cycle, -1)
    met = np.empty((users, length), dtype=np.int64)
    met[:, 0] = rng.integers(0, items, users)
    for t in range(1, length):
        anything = rng.integers(0, items, users)
        met[:, t] = np.where(rng.random(users) < p, after[met[:, t - 1]], anything)
    sure = {"HR@1": 1.0, "HR@10": 1.0, "NDCG@10": 1.0}
    answers = _mixed(p, sure, uniform_scores(items)), uniform_scores(items)
    return _world("markov", _log(met + 1, _daily(rng, users, length)), items, answers)


def gap(users: int = 2000, pairs: int = 10, length: int = 10, seed: int = 0, decided_by: Literal["past", "now"] = "past") -> World:
    """Only one gap decides which of two items comes next: between the last two events, or from the last event until now.

    Items come in ``pairs``; everybody walks through them in the same order from a random pair on, so which pair is next
    is easy.  Of the pair, the first item comes after a short gap (the next day), the second after a long one (the same
    date a year later).  Every gap is a coin of its own, so items say nothing about it.  A calendar shows the gap: a short one
    changes the day, a long one the year.  Blind is one who knows the pair.  A user meets an item once at most, so that sampled
    negatives may be the other one.  Users have 5 to ``length`` events, so that lengths and years of the held-out events are met
    in training too.

    Args:
        users: how many.
        pairs: of items.
        length: the most events of a user.
        seed: of the world.
        decided_by: "past": the gap between the last two events, and the moment of the request says nothing; "now": the gap between
            the last event and the request, and the past says nothing.
    """
    if not 5 <= length <= pairs:
        raise DataProblem(f"a gap world needs 5 <= length <= pairs, got length {length} and {pairs} pairs")
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, length + 1, users)
    pair = (rng.integers(0, pairs, (users, 1)) + np.arange(length)) % pairs
    long = rng.integers(0, 2, (users, length))  # long[:, t]: the gap before event t
    long[:, 0] = 0
    before = 1 if decided_by == "past" else 0  # how many events lie between the deciding gap and the target
    coins = rng.integers(0, 2, (users, 1 + before))  # for the items before which no gap decides
    second = np.concatenate([coins, long[:, 1 : length - before]], axis=1)
    years = _YEAR - rng.integers(0, 6, (users, 1)) + np.cumsum(long, axis=1)
    days = rng.integers(0, 10, (users, 1)) + np.cumsum(1 - long, axis=1)
    months = (years - 1970) * 12 + rng.integers(0, 12, (users, 1))
    dates = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + days
    kept = np.arange(length) < lengths[:, None]
    name = "gap" if decided_by == "past" else "gap until now"
    return _world(name, _log(1 + 2 * pair + second, dates * DAY, kept), 2 * pairs, (uniform_scores(1), uniform_scores(2)))


def cold_items(users: int = 800, side: int = 4, known: int = 8, new: int = 6, seed: int = 0) -> World:
    """The last two events of every user are items that occur in no training part; only text and picture tell of them.

    Items lie in ``side`` x ``side`` clusters; the text shows the row of a cluster and the picture its column, each with
    noise, so both are needed.  A user stays in one cluster, meets ``known - 2`` of its known items and then two of its
    new ones.  Blind is one who knows which items are new and that nothing is met twice, but not their features.
    """
    if side < 2 or known < 5 or new < 2:
        raise DataProblem(f"cold items need side >= 2, known >= 5 and new >= 2, got {side}, {known}, {new}")
    rng = np.random.default_rng(seed)
    clusters, per = side * side, known + new
    taste = rng.permutation(np.arange(users) % clusters)
    first = np.argsort(rng.random((users, known)), axis=1)[:, : known - 2]
    last = known + np.argsort(rng.random((users, new)), axis=1)[:, :2]
    place = rng.permutation(clusters * per)  # item rows say nothing of clusters
    met = place[taste[:, None] * per + np.concatenate([first, last], axis=1)] + 1
    where = np.empty(clusters * per, dtype=np.int64)
    where[place] = np.repeat(np.arange(clusters), per)
    features = {
        "text": _noisy(rng, where // side, side, width=16),
        "image": _noisy(rng, where % side, side, width=24),
    }
    answers = uniform_scores(new - 1), uniform_scores(clusters * new - 1)
    return _world("cold items", _log(met, _daily(rng, users, known)), clusters * per, answers, features)


def seasons(users: int = 400, each: int = 12, length: int = 8, seed: int = 0) -> World:
    """The time of the year decides which items can come next, and features show whose time it is.

    Four kinds of ``each`` items, a quarter of the year long; text and picture show the kind, with noise.  Blind is one who does
    not know the moment of the request: 400 to 764 days lie between events, a year of possible ones, so that the last one says
    nothing of the season of the next.
    """
    if each < 1 or length < 5:
        raise DataProblem(f"seasons need each >= 1 and length >= 5, got {each}, {length}")
    rng = np.random.default_rng(seed)
    days = _START + rng.integers(0, 365, (users, 1)) + np.cumsum(rng.integers(400, 765, (users, length)), axis=1)
    kind = (days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12) // 3
    where = rng.permutation(np.repeat(np.arange(4), each))  # item rows say nothing of kinds
    of_kind = np.argsort(where, kind="stable").reshape(4, each)
    met = of_kind[kind, rng.integers(0, each, kind.shape)] + 1
    features = {"text": _noisy(rng, where, 4, width=16), "image": _noisy(rng, where, 4, width=24)}
    return _world("seasons", _log(met, days * DAY), 4 * each, (uniform_scores(each), uniform_scores(4 * each)), features)


def _noisy(rng: np.random.Generator, labels: NDArray[np.int64], n: int, width: int) -> Features:
    """One unit vector per label and a little noise."""
    rows = np.eye(n, width)[labels] + 0.1 / np.sqrt(width) * rng.standard_normal((len(labels), width))
    padded = np.concatenate([np.zeros((1, width)), rows]).astype(np.float32)
    present = np.ones(len(padded), dtype=np.bool_)
    present[0] = False
    return Features(padded, present, {"encoder": "drawn by the world"})
