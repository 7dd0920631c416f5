"""rank(model, part): per user, the rank of the held-out item among all items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tmmsrec.data.batch import Batch, ranking_batches
from tmmsrec.data.split import Part
from tmmsrec.models.base import Model, VectorModel, with_beside
from tmmsrec.processes import Processes


@dataclass(frozen=True, eq=False)
class Ranks:
    """The verdict.

    Attributes:
        users: [n] user rows.
        targets: [n] the items asked for.
        ranks: [n] float64, 0 is best: items that score higher, plus half of those that tie.
        n_items: how many items were ranked.
        seen_excluded: whether items in the user's history were left out (a target among them then ranks last with the others).
    """

    users: NDArray[np.int64]
    targets: NDArray[np.int32]
    ranks: NDArray[np.float64]
    n_items: int
    seen_excluded: bool


def ranks_of(scores: Tensor, targets: Tensor) -> Tensor:
    """The 0-based rank of each target among its row of scores, ties at their mean rank.

    A NaN counts against the model: a NaN elsewhere stands before the target, a NaN target stands last.

    Args:
        scores: [B, I+1], column 0 (padding) is left out.
        targets: [B] item rows.
    """
    scores = scores[:, 1:]
    own = scores.gather(1, (targets - 1)[:, None])
    not_below = scores.shape[1] - (scores <= own).sum(1, dtype=torch.int32)  # higher, or NaN; int32 sums in half the time
    ties = (scores == own).sum(1, dtype=torch.int32) - 1
    ranks = not_below.double() + ties.double() / 2
    return torch.where(own[:, 0].isnan(), float(scores.shape[1] - 1), ranks)


@torch.inference_mode()
def rank(model: Model, part: Part, *, history: int, exclude_seen: bool = False, size: int = 512, observe: bool = True) -> Ranks:
    """Rank every item for every user of a validation or test part, in blocks of users.

    Args:
        model: put into evaluation mode for the duration.
        part: whose targets are ranked.
        history: how many of each user's newest events the model reads (``Method.history``).
        exclude_seen: leave out items in the user's history.
        size: users per block; scores take ``size * (I+1)`` numbers.
        observe: tell the model of the part's readable events first, as models that count need it.
    """
    was_training = model.training
    model.eval()
    if observe:
        model.observe(part)
    device = next((t.device for t in [*model.parameters(), *model.buffers()]), torch.device("cpu"))
    score = scorer(model)
    targets = torch.from_numpy(part.targets.astype(np.int64)).to(device)
    ranks = np.zeros(len(part))
    for chosen, batch in ranking_batches(part, size=size, length=history):
        batch = batch.to(device)
        scores = score(batch)
        if exclude_seen:
            scores = hide_seen(scores, part, chosen)
        ranks[chosen] = ranks_of(scores, targets[torch.from_numpy(chosen).to(device)]).cpu().numpy()
    model.train(was_training)
    n_items = int(scores.shape[1] - 1)
    return Ranks(part.users, part.targets, ranks, n_items, exclude_seen)


def scorer(model: Model) -> Callable[[Batch], Tensor]:
    """The model's scores [B, I+1] as a function of batches; item vectors are made once and kept."""
    if not isinstance(model, VectorModel):
        return model.score
    users, items = model.users, model.items()
    # Products whose width is no multiple of 8 are slower by a third (8,001 columns against 8,008).
    padded = functional.pad(items, (0, 0, 0, -len(items) % 16)).T
    return lambda batch: with_beside((users(batch) @ padded)[:, : len(items)], model.beside(batch))


def hide_seen(scores: Tensor, part: Part, chosen: NDArray[np.int64]) -> Tensor:
    """Scores [B, I+1] with -inf for every item that the users may be read to have met, their whole history long."""
    users = part.users[chosen]
    log, stop = part.interactions, part.stop[users]
    owner = np.repeat(np.arange(len(users)), stop)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(stop) - stop, stop)
    items = log.items[np.repeat(log.offsets[users], stop) + within]
    scores = scores.expand(len(users), -1).clone()
    scores[torch.from_numpy(owner).to(scores.device), torch.from_numpy(items.astype(np.int64)).to(scores.device)] = -torch.inf
    return scores


def rank_shared(model: Model, part: Part, processes: Processes, *, history: int, exclude_seen: bool = False) -> Ranks:
    """``rank``, each process with its share of the users; all of them get the whole verdict."""
    if processes.size == 1 or len(part) < processes.size:
        return rank(model, part, history=history, exclude_seen=exclude_seen)
    model.observe(part)
    mine = replace(part, users=part.users[processes.share(len(part))])
    own = rank(model, mine, history=history, exclude_seen=exclude_seen, observe=False)
    return replace(own, users=part.users, targets=part.targets, ranks=processes.gather(own.ranks, len(part)))
