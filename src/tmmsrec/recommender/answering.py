"""From questions to recommendations: scores in blocks, what may not be given hidden, the best taken and told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from tmmsrec.data.problems import DataProblem
from tmmsrec.recommender import approximate, asking
from tmmsrec.recommender.asking import Asked, Question
from tmmsrec.recommender.state import Scored, State

Basis = Literal["model", "popularity"]
_BLOCK_SCORES = 32_000_000  # numbers in one block of scores


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        item: its outside id.
        score: what the model gave it; only comparable within one answer.
        rank: its place in the answer, from 1.  In ``explain``: its place among all that may be recommended.
        fields: what is known of it: title, brand, ...
        shares: each modality's part of the score; they add up to it.
        basis: "model", or "popularity" when there was no history to read, or the method knows users by rows of their own and this
            is none of them (the score is then the item's events over those of the most popular item).
    """

    item: Any
    score: float
    rank: int
    fields: dict[str, Any] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    basis: Basis = "model"


@dataclass(frozen=True, eq=False)
class Wanted:
    """What an answer may hold: how many, and which items [I+1]; None for all."""

    k: int
    exclude_seen: bool
    items: Tensor | None

    @classmethod
    def of(cls, state: State, asked: Question, seen_left_out: bool) -> Wanted:
        """From what was asked, and what is done where nothing was said of seen items; raises DataProblem or UnknownId."""
        ids, items = state.dataset.catalog.ids, None
        if asked.allow is not None or asked.deny is not None:
            items = torch.full((state.dataset.n_items + 1,), asked.allow is None)
            if asked.allow is not None:
                items[torch.from_numpy(asking.some_known_rows(ids, asked.allow, "allow"))] = True
            if asked.deny is not None:
                items[torch.from_numpy(asking.known_rows(ids, asked.deny, "deny"))] = False
            items = items.to(state.device)
        if asked.where is not None:
            passed = state.filters.mask(asked.where)
            items = passed if items is None else items & passed
        left_out = seen_left_out if asked.exclude_seen is None else asked.exclude_seen
        return cls(asking.count_of(asked.k), left_out, items)


@dataclass(frozen=True)
class Answer:
    """The answer to one Question.

    Attributes:
        items: the best first.
        basis: what they were chosen by, see ``Recommendation``.
        at: the moment asked about, seconds UTC.
        read: how many events of the history the model read.
    """

    items: list[Recommendation]
    basis: Basis
    at: int
    read: int


@torch.inference_mode()
def answers(state: State, asked: Sequence[Asked], wanted: Sequence[Wanted]) -> list[Answer]:
    """The best items for each question and what it wants, in the order asked."""
    found: dict[int, Answer] = {}
    for chosen in _blocks(asked, state):
        near = _by_index(state, [asked[n] for n in chosen], [wanted[n] for n in chosen])
        found |= {n: answer for n, answer in zip(chosen, near, strict=True) if answer is not None}
        chosen = [n for n in chosen if n not in found]
        if not chosen:
            continue
        block, wishes = [asked[n] for n in chosen], [wanted[n] for n in chosen]
        scored, eligible = _score(state, block)
        scores = _hidden(scored.scores, eligible)
        for n, wish in enumerate(wishes):
            if wish.items is not None:
                scores[n].masked_fill_(~wish.items, -torch.inf)
            if wish.exclude_seen:
                scores[n, torch.from_numpy(block[n].items).to(state.device)] = -torch.inf
        best = _best(scored, scores, max(wish.k for wish in wishes), [wish.k for wish in wishes])
        most = 0 if scored.basis == "popularity" else state.method.history
        for n, one, told in zip(chosen, block, best, strict=True):
            found[n] = Answer(told, scored.basis, one.at, min(len(one.items), most))
    return [found[n] for n in range(len(asked))]


@torch.inference_mode()
def placed(state: State, asked: Asked, rows: Tensor) -> list[Recommendation]:
    """The items [k] asked about, with their ranks among all items that may be recommended."""
    scored, eligible = _score(state, [asked])
    own = scored.scores[:, rows]
    ranks = (_hidden(scored.scores, eligible) > own.T).sum(1) + 1
    return _told(scored, rows[None], own, [ranks.tolist()])[0]


@torch.inference_mode()
def similar(state: State, row: int, wanted: Wanted) -> list[Recommendation]:
    """The items nearest to one by the cosine of their vectors, biases left out; without vectors, what follows the item alone.

    Raises:
        DataProblem: the item has nothing that could be compared, or the method no vectors and no use for a history.
    """
    eligible = state.knows.clone()
    scored: Scored
    if state.vectors is None and state.method.reads_users:
        name = type(state.method).__name__
        raise DataProblem(f"{name} has no item vectors and reads no history: it can recommend to its users, not compare items")
    if state.vectors is None:
        now = asking.now_seconds()
        alone = Asked(asking.NOBODY, np.array([row]), np.array([now]), now)
        scored = state.score(asking.batch_of([alone], 1))
    else:
        if not state.knows[row] or not state.norms[row] > 0:
            raise DataProblem(f"item {state.dataset.catalog.ids[row]!r} has nothing to compare: {_why_not(state, row)}")
        eligible &= state.norms > 0
        unit = (state.vectors[row] * state.unbiased / state.norms[row])[None]
        lengths = state.norms.clamp_min(torch.finfo(state.norms.dtype).tiny)
        scored = _Cosine(unit @ state.vectors.T / lengths, unit, state)
    eligible[row] = False
    if wanted.items is not None:
        eligible &= wanted.items
    return _best(scored, _hidden(scored.scores, eligible), wanted.k)[0]


def _why_not(state: State, row: int) -> str:
    """Why an item cannot be compared with others."""
    method = state.method
    if not state.knows[row]:
        return f"the method reads {' and '.join(method.reads)}, and the item has none of it"
    read = {name: bool(state.dataset.features[name].present[row]) for name in method.reads if name in state.dataset.features}
    if any(read.values()):
        return "to the method it is the average of all items (its vector is zero), so that none is nearer to it than another"
    if read:
        return f"the method compares items by {' and '.join(read)}, and the item has none of it"
    return "the method knows nothing of it but how much it is wanted"


class _Popular(Scored):
    basis: ClassVar[Basis] = "popularity"

    def shares(self, rows: Tensor) -> dict[str, Tensor]:
        return {"popularity": self.scores.gather(1, rows)}


class _Cosine(Scored):
    def shares(self, rows: Tensor) -> dict[str, Tensor]:
        lengths, slices, unbiased = self.state.norms[rows], self.state.slices, self.state.unbiased
        return {name: part / lengths for name, part in super().shares(rows).items() if unbiased[slices[name]].any()}


def _blocks(asked: Sequence[Asked], state: State) -> Iterator[list[int]]:
    """Questions in blocks, shortest history first; those that the model cannot read apart."""
    size = max(1, min(512, _BLOCK_SCORES // (state.dataset.n_items + 1)))
    order = np.argsort([len(a.items) for a in asked], kind="stable").tolist()
    readable = [state.readable(a) for a in asked]
    for part in ([n for n in order if not readable[n]], [n for n in order if readable[n]]):
        for start in range(0, len(part), size):
            yield part[start : start + size]


def _score(state: State, block: Sequence[Asked]) -> tuple[Scored, Tensor]:
    """Scores of questions that the model can all read, or none of them; and which items [I+1] may be recommended by them."""
    if state.readable(block[0]):
        return state.score(asking.batch_of(block, state.method.history)), state.knows
    eligible = torch.ones_like(state.knows)
    eligible[0] = False
    return _Popular(state.popularity.expand(len(block), -1), None, state), eligible


def _by_index(state: State, block: Sequence[Asked], wanted: Sequence[Wanted]) -> list[Answer | None]:
    """The answers that an index can give; None for questions that must be answered exactly."""
    found: list[Answer | None] = [None] * len(block)
    if state.index is None or not state.readable(block[0]):
        return found
    wishes = [
        approximate.Wish.of(state, w.k, w.items, one.items if w.exclude_seen else None)
        for one, w in zip(block, wanted, strict=True)
    ]
    chosen = [n for n, wish in enumerate(wishes) if wish.fetched]
    if not chosen:
        return found
    batch = asking.batch_of([block[n] for n in chosen], state.method.history)
    users, beside = state.queries(batch), state.beside(batch)
    rows, scores = approximate.best(state, users, beside, [wishes[n] for n in chosen])
    told = _told(Scored(users.new_zeros(len(users), 0), users, state, beside), rows, scores, most=[wishes[n].k for n in chosen])
    for n, items in zip(chosen, told, strict=True):
        if len(items) == wishes[n].k:  # of fewer only a look at all items says that there are no more
            found[n] = Answer(items, "model", block[n].at, min(len(block[n].items), state.method.history))
    return found


def _hidden(scores: Tensor, eligible: Tensor) -> Tensor:
    """A copy of scores [B, I+1], -inf where an item may not be given, or has no number for a score."""
    return torch.where(eligible & ~scores.isnan(), scores, -torch.inf)


def _best(scored: Scored, scores: Tensor, k: int, most: Sequence[int] | None = None) -> list[list[Recommendation]]:
    """The k best of each row of scores [B, I+1] that are above -inf, or ``most`` [B] of them where that is less.

    Equal scores stand in the order of the catalogue, whatever k is.
    """
    k = min(k, scores.shape[1])
    rows = scores.topk(k, dim=1).indices.sort(dim=1).values
    values, order = scores.gather(1, rows).sort(dim=1, descending=True, stable=True)
    rows = rows.gather(1, order)
    last = values[:, -1:]
    cut = ((scores >= last).sum(1) > k) & (last[:, 0] > -torch.inf)  # equal scores within and beyond the k: topk chose any of them
    if cut.any():
        rows[cut] = scores[cut].sort(dim=1, descending=True, stable=True).indices[:, :k]
    return _told(scored, rows, values, most=most)


def _told(
    scored: Scored, rows: Tensor, scores: Tensor, ranks: list[list[int]] | None = None, most: Sequence[int] | None = None
) -> list[list[Recommendation]]:
    """Item rows and scores [B, k] as recommendations, ``most`` [B] of each row; those at -inf are left out."""
    ids, describe, basis = scored.state.dataset.catalog.ids, scored.state.describe, scored.basis
    shares = {name: part.tolist() for name, part in scored.shares(rows).items()}
    found = []
    for n, (row_list, score_list) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True)):
        found.append(
            [
                Recommendation(
                    item=ids[row],
                    score=score,
                    rank=ranks[n][at] if ranks else at + 1,
                    fields=describe(row),
                    shares={name: part[n][at] for name, part in shares.items()},
                    basis=basis,
                )
                for at, (row, score) in enumerate(zip(row_list[: most[n] if most else None], score_list, strict=False))
                if score > -np.inf
            ]
        )
    return found
