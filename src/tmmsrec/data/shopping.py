"""How people buy in the demo shop, and what the best possible recommender would score.

A customer has a hidden style: a look (which colours and patterns please, seen in pictures only) and a circle of brands
(seen in texts only).  The chance of a garment is

    p(item) ~ look[colour, pattern] * circle[brand] * season[kind, date] * outfit[kind after the last kind]
              * newness[date - arrival] * appeal,     none before its arrival, none of what the customer has already

and now and then something is bought again.  Visits are days apart, sometimes weeks, sometimes the better part of a year;
after such a long gap most people have found a new style.  The shop's terms are known, so Bayes' rule gives the exact chance
of every garment given only what a log shows: no recommender can rank better on average.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tmmsrec.data.drawing import KINDS, PATTERNS
from tmmsrec.data.interactions import Interactions

DAY = 86_400
_OPENING = int(np.datetime64("2021-01-01", "D").astype(np.int64))
_LOOKS, _CIRCLES, _BRANDS = 8, 10, 10
_STILL = 0.6  # share of customers whose last visit falls into the shop's last days
_AGAIN = 0.06  # share of visits at which something is bought again
_LONG, _NEW_STYLE = 120, 0.85  # days after which a style is given up, and how often
# Visits: share, fewest and most days since the last one.
_VISITS = ((0.55, 0, 4), (0.27, 40, 100), (0.18, 130, 270))

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Month in which a kind is bought most, 0.5 for the middle of January.
_PEAK = {
    "beanie": 0.5,
    "boots": 1.5,
    "bag": 2.5,
    "skirt": 3.5,
    "dress": 4.5,
    "t-shirt": 5.5,
    "sandals": 6.5,
    "shorts": 7.0,
    "sun hat": 7.5,
    "trousers": 9.0,
    "jumper": 10.0,
    "coat": 11.0,
}
# How strongly the season counts, on a log scale: for what one comes for, and for what is added on the same visit.
_SEASON, _SEASON_ADDED = 0.2, 5.0
# How strongly, on a log scale, people follow the rest.
_COLOUR, _PATTERN, _BRAND, _OUTFIT = 3.8, 1.0, 4.0, 0.7
_NEW, _NEW_DAYS = 1.5, 30


@dataclass(frozen=True, eq=False)
class Garments:
    """The shop's stock; every array is [I].

    Attributes:
        kind, colour, pattern, brand: places in ``KINDS``, ``COLOURS``, ``PATTERNS`` and the brands.
        born: day of arrival, -1 for what is there from the start.
        appeal: how much everybody likes it, on a log scale.
    """

    kind: Ints
    colour: Ints
    pattern: Ints
    brand: Ints
    born: Ints
    appeal: Floats

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, eq=False)
class Shopping:
    """What was bought, and what could have been known.

    Attributes:
        garments: what there was to buy.
        log: the events; item rows from 1 in the order of the garments.
        styles: [N] the hidden style behind each event.
        ranks: who -> [U] rank of each user's last event, 0 is best, if ranked by the exact chances given what one knows:
            "style": the customer's hidden style, all that was bought, and the moment of the last event;
            "log and moment": all that was bought and when, and the moment, but not the style;
            "log": all that was bought and when.  This is the ceiling of a recommender that does not read the moment.
        expected: who -> [U] the chance, as this one sees it, that the last event is among the ten likeliest.
        days: how long the shop has been open.
        ends: the last days, into which most customers' last visit falls.
    """

    garments: Garments
    log: Interactions
    styles: Ints
    ranks: dict[str, Floats]
    expected: dict[str, Floats]
    days: ClassVar[int] = 1260
    ends: ClassVar[int] = 10

    @property
    def ceilings(self) -> dict[str, dict[str, float]]:
        """HR@10 and NDCG@10 of each of the ``ranks``."""
        hits = {who: ranks < 10 for who, ranks in self.ranks.items()}
        gains = {who: np.where(hits[who], 1 / np.log2(ranks + 2), 0.0) for who, ranks in self.ranks.items()}
        return {who: {"HR@10": float(hits[who].mean()), "NDCG@10": float(gains[who].mean())} for who in self.ranks}


class _Terms:
    """The shop's terms as arrays: what the customers follow and Bayes' rule may use."""

    def __init__(self, garments: Garments) -> None:
        self.garments = garments
        style = np.arange(_LOOKS * _CIRCLES)
        look, circle = style[:, None] // _CIRCLES, style[:, None] % _CIRCLES
        colour = garments.colour % _LOOKS == look
        pattern = np.isin((garments.pattern - look) % len(PATTERNS), (0, 2))
        brand = garments.brand * _CIRCLES // _BRANDS == circle
        self.liking: Floats = np.exp(_COLOUR * colour + _PATTERN * pattern + _BRAND * brand)  # [S, I]
        self.peak = np.array([_PEAK[kind] for kind in KINDS])
        age = np.arange(Shopping.days + 1)
        self.newness: Floats = np.concatenate([[0.0], np.exp(_NEW * np.exp(-age / _NEW_DAYS) - age / 700)])  # [age + 1]
        self.appeal: Floats = np.exp(garments.appeal)
        # An outfit: each kind calls for the next two in a circle of kinds.
        place = np.arange(len(KINDS)) * 5
        follows = np.isin((place[None, :] - place[:, None]) % len(KINDS), (1, 2))
        self.outfit = np.asarray(_OUTFIT * follows, dtype=np.float64)  # [last, next]

    def chances(self, day: Ints, gap: Ints, last: Ints, owned: NDArray[np.bool_]) -> Floats:
        """[R, I] what does not depend on style: season and outfit, newness, and what cannot be.

        Args:
            day: [R] of the event.
            gap: [R] days since the last event.
            last: [R] kind of the last event, -1 for none.
            owned: [R, I] what was bought before.
        """
        month = (day[:, None] % 365.25) / 365.25 * 12
        added = ((last >= 0) & (gap <= _VISITS[0][2]))[:, None]
        season = np.where(added, _SEASON_ADDED, _SEASON) * np.cos((month - self.peak) / 12 * 2 * np.pi)
        by_kind = np.exp(season + np.where(added, self.outfit[last], 0.0))
        age = np.clip(day[:, None] - self.garments.born, -1, Shopping.days)
        weights: Floats = by_kind[:, self.garments.kind] * self.newness[age + 1] * self.appeal
        weights[owned] = 0.0
        return weights

    def drift(self, belief: Floats, gap: Ints) -> Floats:
        """[R, S] beliefs about the style after a gap of so many days [R]."""
        changed = np.where(gap > _LONG, _NEW_STYLE, 0.0)[:, None]
        drifted: Floats = belief * (1 - changed) + changed / belief.shape[1]
        return drifted

    def mixture(self, base: Floats, belief: Floats, owned: NDArray[np.bool_]) -> Floats:
        """[R, I] the chance of each item under beliefs [R, S] about the style."""
        return self.or_again(base * ((belief / self.totals(base)) @ self.liking), owned)

    def known(self, base: Floats, style: Ints, owned: NDArray[np.bool_]) -> Floats:
        """[R, I] the chance of each item under the styles [R]."""
        weights = base * self.liking[style]
        return self.or_again(weights / weights.sum(axis=1, keepdims=True), owned)

    def or_again(self, new: Floats, owned: NDArray[np.bool_]) -> Floats:
        """[R, I] the chance of each item if ``new`` is that of each that is not bought again."""
        bought = owned.sum(axis=1, keepdims=True)
        again = np.where(bought > 0, _AGAIN, 0.0)
        new *= 1 - again
        new += again / np.maximum(bought, 1) * owned
        return new

    def totals(self, base: Floats) -> Floats:
        """[R, S] the sum of all weights, by style."""
        return base @ self.liking.T

    def likelihood(self, base: Floats, owned: NDArray[np.bool_], item: Ints) -> Floats:
        """[R, S] the chance of what was bought, by style."""
        rows = np.arange(len(item))
        bought = owned.sum(axis=1)
        again = np.where(bought > 0, _AGAIN, 0.0)[:, None]
        new = base[rows, item][:, None] * self.liking[:, item].T / self.totals(base)
        found: Floats = (1 - again) * new + again * (owned[rows, item] / np.maximum(bought, 1))[:, None]
        return found


def _visits(users: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Days [U, T] of the visits, the last one in the last column, and how many there are [U]; the rest is before opening."""
    most = 18
    length = np.clip(rng.poisson(11, users), 5, most)
    kind = rng.choice(len(_VISITS), size=(users, most - 1), p=[share for share, *_ in _VISITS])
    fewest, longest = (np.array([v[at] for v in _VISITS])[kind] for at in (1, 2))
    gaps = rng.integers(fewest, longest + 1)
    lately = Shopping.days - rng.integers(1, Shopping.ends + 1, users)
    end = np.where(rng.random(users) < _STILL, lately, rng.integers(Shopping.days // 3, Shopping.days, users))
    few = _days(gaps, end)[:, -5] < 0  # came before the shop was there: nearer visits, then
    gaps[few] %= _VISITS[1][2]
    days = _days(gaps, end)
    return days, np.minimum(length, (days >= 0).sum(axis=1))


def _days(gaps: Ints, end: Ints) -> Ints:
    """[U, T] days that lie ``gaps`` [U, T-1] apart, the last one being ``end`` [U]."""
    back = np.cumsum(gaps[:, ::-1], axis=1)[:, ::-1]
    return np.concatenate([end[:, None] - back, end[:, None]], axis=1)


def go_shopping(garments: Garments, users: int, rng: np.random.Generator) -> Shopping:
    """Let customers buy, and follow what could be known of them: styles [U], beliefs [U, S], step by step for all at once."""
    terms = _Terms(garments)
    days, length = _visits(users, rng)
    steps = days.shape[1]
    n_styles = len(terms.liking)
    style = rng.integers(0, n_styles, users)
    belief = np.full((users, n_styles), 1.0 / n_styles)
    owned = np.zeros((users, len(garments)), dtype=np.bool_)
    bought, behind = np.full((users, steps), -1), np.full((users, steps), -1)
    known: dict[str, Floats] = {}  # who -> [U, I] chances of the last event
    for t in range(steps):
        rows = np.flatnonzero(t >= steps - length)
        before = bought[rows, t - 1] if t else np.full(len(rows), -1)
        last = np.where(before >= 0, garments.kind[before], -1)
        gap = np.where(before >= 0, days[rows, t] - days[rows, t - 1], 0)
        renewed = (gap > _LONG) & (rng.random(len(rows)) < _NEW_STYLE)
        style[rows] = np.where(renewed, rng.integers(0, n_styles, len(rows)), style[rows])
        if t == steps - 1:
            known["log"] = _without_moment(terms, days[:, t - 1], last, belief, owned)
        belief[rows] = terms.drift(belief[rows], gap)
        base = terms.chances(days[rows, t], gap, last, owned[rows])
        chances = terms.known(base, style[rows], owned[rows])
        item = _draw(chances, rng)
        if t == steps - 1:
            known["style"] = chances
            known["log and moment"] = terms.mixture(base, belief, owned)
        belief[rows] *= terms.likelihood(base, owned[rows], item)
        belief[rows] /= belief[rows].sum(axis=1, keepdims=True)
        owned[rows, item] = True
        bought[rows, t], behind[rows, t] = item, style[rows]
    kept = bought >= 0
    who = np.nonzero(kept)[0]
    seconds = (days + _OPENING) * DAY + np.sort(rng.integers(8 * 3600, 22 * 3600, days.shape), axis=1)
    log = Interactions.of(who, bought[kept] + 1, seconds[kept], users)
    ranks = {name: _rank(chances, bought[:, -1]) for name, chances in sorted(known.items())}
    expected = {name: np.sort(chances, axis=1)[:, -10:].sum(axis=1) for name, chances in sorted(known.items())}
    return Shopping(garments, log, behind[kept], ranks, expected)


def _draw(chances: Floats, rng: np.random.Generator) -> Ints:
    """One item per row, by its chances."""
    steps = np.cumsum(chances, axis=1)
    drawn: Ints = (steps <= rng.random((len(chances), 1)) * steps[:, -1:]).sum(axis=1)
    return drawn


def _rank(chances: Floats, target: Ints) -> Floats:
    """[U] places of the targets, ties at their mean."""
    own = chances[np.arange(len(target)), target][:, None]
    ranks: Floats = (chances > own).sum(axis=1) + ((chances == own).sum(axis=1) - 1) / 2
    return ranks


def _without_moment(terms: _Terms, day: Ints, last: Ints, belief: Floats, owned: NDArray[np.bool_]) -> Floats:
    """[U, I] chances of the last event if only what was bought up to ``day`` is known: averaged over the gap that follows.

    The chance of a gap is that of its kind of visit, times that of a last visit on the day to which it leads.  Gaps are taken
    in groups of neighbouring days, at the mean day of the group.
    """
    ends = np.zeros(Shopping.days + 400)
    ends[Shopping.days // 3 : Shopping.days] = (1 - _STILL) / (Shopping.days - Shopping.days // 3)
    ends[Shopping.days - Shopping.ends : Shopping.days] += _STILL / Shopping.ends
    up_to, sum_up_to = (np.concatenate([[0.0], np.cumsum(v)]) for v in (ends, ends * np.arange(len(ends))))
    total, weights = np.zeros(owned.shape), np.zeros((len(day), 1))
    for share, fewest, most in _VISITS:
        edges = np.unique(np.linspace(fewest, most + 1, 13).round().astype(np.int64))
        for start, stop in itertools.pairwise(edges):
            weight = up_to[day + stop] - up_to[day + start]
            mean = (sum_up_to[day + stop] - sum_up_to[day + start]) / np.maximum(weight, 1e-300)
            there = np.clip(mean.round().astype(np.int64), day + start, day + stop - 1)
            possible = weight[:, None] * share / (most + 1 - fewest)
            base = terms.chances(there, there - day, last, owned)
            total += possible * terms.mixture(base, terms.drift(belief, there - day), owned)
            weights += possible
    average: Floats = total / np.maximum(weights, 1e-300)
    return average
