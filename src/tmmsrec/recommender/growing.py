"""A trained model over more users and a longer log: what was learned is carried over, what is new begins somewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tmmsrec.data.catalog import Catalog
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.problems import DataProblem
from tmmsrec.models.base import Method, Model
from tmmsrec.recommender.state import State, build


def with_log(state: State, dataset: Dataset) -> State:
    """The same weights over a Dataset of the same items with more events and users.

    A new user's row, where the method has such rows, is the mean of those that were learned: nothing is known of the user's taste,
    and a row drawn by lot would claim some.

    Raises:
        DataProblem: the Dataset has other items, or the method cannot take more users.
    """
    if len(dataset.catalog) != len(state.dataset.catalog) or dataset.n_users < state.dataset.n_users:
        raise DataProblem("a model can be taken to a log of the same items and of at least the same users only")
    model = build(state.method, dataset, state.trained)
    fresh = model.state_dict()
    try:
        model.load_state_dict({name: _longer(old, fresh.get(name)) for name, old in state.model.state_dict().items()})
    except RuntimeError as problem:
        raise DataProblem(f"{type(state.method).__name__} cannot take new users: {problem}") from None
    return State(state.method, model.to(state.device).eval(), dataset, state.trained)


def _longer(old: Tensor, fresh: Tensor | None) -> Tensor:
    """A table of users with rows for those who came; other tensors as they are."""
    grown = fresh is not None and old.is_floating_point() and old.dim() == fresh.dim() == 2 and len(fresh) > len(old)
    if not grown or fresh is None or fresh.shape[1] != old.shape[1] or not len(old):
        return old
    return torch.cat([old, old.mean(0, keepdim=True).expand(len(fresh) - len(old), -1)])


def carry(state: State, model: Model) -> None:
    """Put what was learned into a model just built over the same Dataset; items after ``state.trained`` keep their fresh rows."""
    by_item = rows_by_item(state.method, state.dataset, state.trained)
    late = {name: tensor[state.trained + 1 :].clone() for name, tensor in model.state_dict().items() if name in by_item}
    model.load_state_dict(state.model.state_dict())
    held = model.state_dict()
    with torch.no_grad():
        for name, rows in late.items():
            held[name][state.trained + 1 :] = rows


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
    catalog = dataset.catalog
    features = {m: replace(f, rows=f.rows[: n + 1], present=f.present[: n + 1]) for m, f in catalog.features.items()}
    ids = Ids(catalog.ids.array.slice(0, n), first=catalog.ids.first, what=catalog.ids.what)
    return replace(dataset, catalog=Catalog(ids, catalog.fields.slice(0, n), features), folder=None)


def learned(state: State, model: Model) -> State:
    """A State whose model has learned from all items of the Dataset; it is shown the whole log, as a Recommender shows it."""
    from tmmsrec.data.split import Part
    from tmmsrec.recommender.state import only_first

    log, items = state.dataset.interactions, state.dataset.n_items
    model.observe(Part("all", log, log.lengths, np.arange(log.users)))
    return State(state.method, only_first(model, items), state.dataset, items)
