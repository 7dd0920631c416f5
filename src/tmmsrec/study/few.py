"""Users with too few events to be learned from and tested: a bundle knows them all the same, so that they are served."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc

from tmmsrec.data.merge import read_events
from tmmsrec.data.sources.guess import events_file
from tmmsrec.recommender import Recommender
from tmmsrec.study.recipe import Inputs


def take_few(recommender: Recommender, inputs: Inputs) -> list[str]:
    """Tell a Recommender the events of the users whom its Dataset left out, read once more; and what is to be said of it.

    Nothing is learned from them.  Events of items that the Dataset left out too cannot be told.

    Raises:
        DataProblem: the file is no longer there, or cannot be read any more.
    """
    dataset = recommender.dataset
    if not dataset.report.get("users", {}).get("dropped", 0):
        return []
    events = read_events(dataset, events_file(Path(inputs.interactions), inputs.format, dict(inputs.columns)))
    few = pc.invert(pc.is_in(events.users, value_set=dataset.users.array))
    told = pc.and_(few, pc.is_in(events.items, value_set=dataset.catalog.ids.array))
    users, items = (column.filter(told).to_pylist() for column in (events.users, events.items))
    added = recommender.add_events(list(zip(users, items, events.times[told.to_numpy(False)].tolist(), strict=True)))
    if not added.new_users:
        return []
    return [
        f"The bundle knows {added.new_users:,} of the users who have too few events, by {added.accepted:,} events with items that "
        "others met too: they are answered, and nothing was learned from them."
    ]
