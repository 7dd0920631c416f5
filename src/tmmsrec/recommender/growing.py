"""A trained model over more users and a longer log: what was learned is carried over, what is new begins somewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import Part
from tmmsrec.models.base import Method, Model
from tmmsrec.nn.graph import nearest
from tmmsrec.nn.items import LearnedRows
from tmmsrec.recommender.state import State, build, only_first

ALIKE = 10  # items whose rows a new one begins with


def with_log(state: State, dataset: Dataset) -> State:
    """The same weights over a Dataset of the same items with more events and users; items after ``state.trained`` may have moved.

    The model is told where they went, and shown the whole log.

    A new user's row, where the method has such rows, is the mean of those that were learned: nothing is known of the user's taste,
    and a row drawn by lot would claim some.

    Raises:
        DataProblem: the Dataset has other items, or the method cannot take more users.
    """
    place = _places(state.dataset, dataset)
    if place is None or dataset.n_users < state.dataset.n_users:
        raise DataProblem("a model can be taken to a log of the same items and of at least the same users only")
    if (place[: state.trained + 1] != np.arange(state.trained + 1)).any():
        raise DataProblem(f"the first {state.trained} items have rows that were trained: they must stay where they are")
    model = build(state.method, dataset, state.trained)
    fresh, held = (
        model.state_dict(),
        _only_known(state.model, rows_by_item(state.method, state.dataset, state.trained), state.trained),
    )
    try:
        model.load_state_dict({name: _longer(old, fresh.get(name)) for name, old in held.items()})
    except RuntimeError as problem:
        raise DataProblem(f"{type(state.method).__name__} cannot take new users: {problem}") from None
    model = model.to(state.device).eval()
    model.moved(torch.from_numpy(place))
    model.observe(Part.whole(dataset.interactions))
    return State(state.method, model, dataset, state.trained)


def _places(was: Dataset, now: Dataset) -> NDArray[np.int64] | None:
    """[I+1] the row now of each item that was, padding first; None where the items are not the same."""
    before, after = was.catalog.ids.array, now.catalog.ids.array
    found = pc.index_in(before, value_set=after)
    if len(before) != len(after) or found.null_count:
        return None
    return np.concatenate([[0], found.to_numpy().astype(np.int64) + 1])


def _longer(old: Tensor, fresh: Tensor | None) -> Tensor:
    """A table of users with rows for those who came; other tensors as they are."""
    grown = fresh is not None and old.is_floating_point() and old.dim() == fresh.dim() == 2 and len(fresh) > len(old)
    if not grown or fresh is None or fresh.shape[1] != old.shape[1] or not len(old):
        return old
    return torch.cat([old, old.mean(0, keepdim=True).expand(len(fresh) - len(old), -1)])


def _only_known(model: Model, by_item: set[str], known: int) -> dict[str, Tensor]:
    """What a model holds, with zeros for items after the first ``known``."""
    held = model.state_dict()
    for name in by_item & set(held):
        held[name] = held[name].clone()
        held[name][known + 1 :] = 0
    return held


def carry(state: State, model: Model, taught: int) -> None:
    """Put what was learned into a model just built over the same Dataset.

    An item that is learned from now, after ``state.trained`` and up to ``taught``, begins with the mean of the learned rows of the
    items that are like it in text and picture; one without either with its fresh row; later ones with zeros.
    """
    by_item, new = rows_by_item(state.method, state.dataset, state.trained), slice(state.trained + 1, taught + 1)
    late = {name: tensor[new].clone() for name, tensor in model.state_dict().items() if name in by_item}
    model.load_state_dict(state.model.state_dict())
    held, (like, has) = model.state_dict(), alike(state.dataset, state.trained, taught)
    with torch.no_grad():
        for name, rows in late.items():
            held[name][new] = rows
        for table in (part.table.weight for part in model.modules() if isinstance(part, LearnedRows)):
            table[new] = torch.where(has[:, None], table[like].mean(1), table[new])
    only_first(model, taught)


def alike(dataset: Dataset, trained: int, taught: int) -> tuple[Tensor, Tensor]:
    """For each item after the first ``trained``, up to ``taught``, the rows of those items among the first that are most like it.

    Features of all modalities side by side, each at length 1, a missing one as zeros; by cosine.

    Returns:
        Rows [n, k] of the k nearest, and whether the item has any feature, [n] bool.
    """
    new, known = torch.arange(trained + 1, taught + 1), torch.arange(1, trained + 1)
    parts = [functional.normalize(torch.tensor(np.asarray(f.rows, dtype=np.float32)), dim=1) for f in dataset.features.values()]
    if not parts:
        return new.new_ones(len(new), 1), torch.zeros(len(new), dtype=torch.bool)
    whole = torch.cat(parts, dim=1)
    return nearest(whole, new, known, min(ALIKE, trained)), (whole[new] != 0).any(1)


def rows_by_item(method: Method, dataset: Dataset, trained: int) -> set[str]:
    """Names of the tensors that have a row for each item, as far as items came after the first ``trained``.

    They are those that are shorter in a model of fewer items: no kind of method has to be named here.
    """
    if trained >= dataset.n_items:
        return set()
    many, few = (build(method, d, d.n_items).state_dict() for d in (dataset, first_items(dataset, trained)))
    sizes = dataset.n_items + 1, trained + 1
    return {n for n, t in many.items() if t.dim() and n in few and (len(t), len(few[n])) == sizes}


def first_items(dataset: Dataset, n: int) -> Dataset:
    """The same users and the first n items; its log is left as it is and must not be read."""
    return replace(dataset, catalog=dataset.catalog.first(n), folder=None)


def learned(state: State, model: Model, taught: int) -> State:
    """A State whose model has learned from items 1..taught of the Dataset; it is shown the whole log, as a Recommender shows it.

    A row of a later item holds nothing but that it was never taken: it is cleared and counts as absent, so that the item stands by
    its text and picture, as one does that came after training.
    """
    held = model.state_dict()
    with torch.no_grad():
        for name in rows_by_item(state.method, state.dataset, taught):
            held[name][taught + 1 :] = 0
    model.observe(Part.whole(state.dataset.interactions))
    return State(state.method, only_first(model, taught), state.dataset, taught)
