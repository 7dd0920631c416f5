"""What a log decides of a table's numbers, whatever the methods: said beside them, with the option that asks otherwise."""

from __future__ import annotations

import numpy as np

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import ByTime, LeaveOneOut, Split
from tmmsrec.data.times import day

_DAY = 86_400
_MOST = 0.5  # of the test targets
_CUTS = 0.8, 0.9  # of the events lie before the two dates that are proposed


def of_log(dataset: Dataset, split: Split, exclude_seen: bool) -> list[str]:
    """All remarks that hold of a log."""
    return ([] if exclude_seen else never_twice(dataset, split)) + mostly_the_same_day(dataset, split)


def never_twice(dataset: Dataset, split: Split) -> list[str]:
    """A remark where nobody meets an item twice in the training part: what lists are then better without."""
    train = split.cut(dataset.interactions).train
    if (dataset.interactions.met_before() & train.readable).any():
        return []
    return [
        "Nobody meets an item twice before the validation events; --exclude-seen leaves what a user has met out of the rankings."
    ]


def mostly_the_same_day(dataset: Dataset, split: Split) -> list[str]:
    """A remark where most targets of leave-one-out lie on the day (UTC) of the event before them: then baskets are completed."""
    if not isinstance(split, LeaveOneOut):
        return []
    test, times = split.cut(dataset.interactions).test, dataset.interactions.times
    same = times[test.ends] // _DAY == times[test.ends - 1] // _DAY
    if same.mean() < _MOST:
        return []
    said = f"{int(same.sum()):,} of {len(same):,} test targets lie on the day of the event before"
    return [f"{said}: the table says how well a basket or a session is completed.{_by_dates(dataset)}"]


def _by_dates(dataset: Dataset) -> str:
    """How to ask for what comes later, in a sentence; nothing where the log is too short for it."""
    dates = [day(int(moment)) for moment in np.quantile(dataset.interactions.times, _CUTS)]
    try:
        ByTime(*dates).cut(dataset.interactions)
    except DataProblem:
        return ""
    return f" What comes later is asked by dates, such as --protocol by-time={','.join(dates)}."
