"""Old weights or new ones: what both are asked, which of them is kept, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmmsrec import metrics, significance
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.merge import of_enough
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut, Part, Parts, Split
from tmmsrec.fit import grown
from tmmsrec.study.report import METRICS

Ranks = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Asked:
    """What is learned, chosen by and tested on in a merged log, and what the old weights have learned of it.

    Attributes:
        parts: leave-one-out.  Users with fewer events than the Dataset asks for are read and served, but neither learned from nor
            asked about, as if they had been dropped.  Neither validation nor test asks for what the old weights have learned.
        old: [N] which events were there before.
        learned: [I+1] in how many training events of the old weights each item was.
        exclude_seen: whether items that a user has met are left out of the rankings, as they were when the old weights were chosen.
    """

    parts: Parts
    old: Mask
    learned: NDArray[np.int64]
    exclude_seen: bool = False

    def of_old_events(self, part: Part) -> Mask:
        """[n] whether the event asked for was in the log before: neither the old weights nor the new ones have learned it."""
        return self.old[part.ends]

    def order(self, trained: int, n_items: int) -> tuple[NDArray[np.int64], int, int]:
        """Item rows [I] in another order: those the old weights have rows for, then those to be learned from, then the rest.

        Returns:
            The rows; how many come first that are in training events; and how many with the validation targets.
        """
        rows = np.arange(1, n_items + 1)
        train = self.parts.train.item_counts(n_items)[1:] > 0
        asked_for = np.isin(rows, self.parts.valid.targets)
        kind = np.where(rows <= trained, 0, np.where(train, 1, np.where(asked_for, 2, 3)))
        return rows[np.argsort(kind, kind="stable")], int((kind <= 1).sum()), int((kind <= 2).sum())

    def groups(self) -> dict[str, Mask]:
        """Groups of test users by what is asked of them, [n] each."""
        test = self.parts.test
        old = self.of_old_events(test)
        return {OLD: old, NEW: ~old, UNSEEN: self.learned[test.targets] == 0}


OLD, NEW, UNSEEN = "old", "new", "unseen"
MEANING = {
    OLD: "users without a newer event, asked what the bundle was asked before",
    NEW: "users with new events, asked for the newest",
    UNSEEN: "users asked for an item in no training event of the old weights",
}


@dataclass(frozen=True)
class Past:
    """How the old weights were learned and tested.

    Attributes:
        refitted: whether they were learned anew on training and validation events together.
        split: how their log was cut.
        exclude_seen: whether items that a user had met were left out of the rankings.
    """

    refitted: bool = False
    split: Split = LeaveOneOut()
    exclude_seen: bool = False

    def learned(self, log: Interactions) -> NDArray[np.int64]:
        """[U] how many of each user's events they have learned, of the log that there was; all, where nothing could be held out."""
        try:
            parts = self.split.cut(log)
        except DataProblem:
            return log.lengths
        return (grown(parts.train, parts.valid) if self.refitted else parts.train).stop


def asked(merged: Part, old: Mask, least: int, past: Past) -> Asked:
    """Cut a merged log.

    Args:
        merged: all events.
        old: [N] which of them were there before.
        least: events that a user must have to be learned from and asked about.
        past: how the old weights were learned.
    """
    log = merged.interactions
    before = np.concatenate([[0], np.cumsum(old)])  # old events before each position of the log
    lengths = before[log.offsets[1:]] - before[log.offsets[:-1]]
    learned = past.learned(Interactions.of(log.owners[old], log.items[old], log.times[old], log.users))
    learned = np.where((lengths >= least) & (learned >= 2), learned, 0)
    place = before[:-1] - before[np.repeat(log.offsets[:-1], log.lengths)]  # each old event's number among its user's old ones
    known = old & (place < np.repeat(learned, log.lengths))
    parts = of_enough(LeaveOneOut().cut(log), least, others_read=True)
    # The test has such a target only where a user of two old events, both learned, got one that is older than they.
    valid, test = (Part(p.name, log, p.stop, p.users[~known[p.ends]]) for p in (parts.valid, parts.test))
    counts = np.bincount(log.items[known], minlength=int(log.items.max(initial=0)) + 1)
    return Asked(Parts(parts.train, valid, test), old, counts, past.exclude_seen)


@dataclass(frozen=True)
class Verdict:
    """Which weights are kept.

    Attributes:
        new: the new ones.
        why: in a sentence.
        old_data: new minus old on validation targets that were in the log before; None where nothing could be compared.
    """

    new: bool
    why: str
    old_data: significance.Comparison | None = None


def verdict(before: Ranks, after: Ranks, old: Mask, metric: str, tolerance: float) -> Verdict:
    """The one rule: new weights are kept unless they are worse on old data.

    Both were asked for the same validation targets.  Of those targets, the ones that were in the log before are the old data:
    neither the old nor the new weights have learned them.  The new weights are worse when the 95 % interval of the paired
    difference of the metric, new minus old, lies wholly below minus ``tolerance``.  The test targets have no say.

    (That the new weights are better than the old ones on all of validation has been seen to before: an epoch is kept only then.)

    Args:
        before, after: [n] validation ranks of the old and the new weights.
        old: [n] whether the target was in the log before.
        metric: "NDCG@10".
        tolerance: how much worse on average is still accepted, in units of the metric; 0 for nothing that can be told from noise.
    """
    if not old.any():
        return Verdict(True, "no old event is left to compare on: every user that is asked about has two newer ones")
    measure = metrics.parse(metric)
    found = significance.paired_test(measure(after[old]), measure(before[old]))
    told = (
        f"on {found.users:,} validation targets that were in the log before, new minus old {metric} is {found.difference:+.4f} "
        f"(95 % interval {found.interval.lo:+.4f} to {found.interval.hi:+.4f})"
    )
    beyond = f" by more than the {tolerance:g} that is accepted" if tolerance else ""
    if found.interval.hi < -tolerance:
        return Verdict(False, f"{told}: worse{beyond}", found)
    return Verdict(True, f"{told}: not clearly worse{beyond}", found)


def compared(before: Ranks, after: Ranks | None, floors: Mapping[str, Ranks], groups: Mapping[str, Mask]) -> list[dict[str, Any]]:
    """A record for each group of test users, for the report: means with intervals, the best floor, the paired difference.

    Args:
        before, after: [n] test ranks of the old and the new weights; None where nothing new was learned.
        floors: name -> [n]; the best of a group by NDCG@10 stands beside the others.
        groups: name -> which of the users, [n].
    """
    found = []
    for name, which in groups.items():
        record: dict[str, Any] = {"group": name, "users": int(which.sum())}
        if which.any():
            record["before"] = means(before[which])
            if after is not None:
                record["after"] = means(after[which])
                record["difference"] = {m: _difference(m, after[which], before[which]) for m in METRICS}
            best = max(floors, key=lambda f: float(metrics.parse("NDCG@10")(floors[f][which]).mean()))
            record["floor"] = {"name": best, **means(floors[best][which])}
        found.append(record)
    return found


def means(ranks: Ranks) -> dict[str, list[float]]:
    """Metric -> mean, and the ends of its 95 % interval."""
    found = {}
    for name in METRICS:
        each = metrics.parse(name)(ranks)
        lo, hi = significance.interval(each)
        found[name] = [float(each.mean()), lo, hi]
    return found


def _difference(metric: str, after: Ranks, before: Ranks) -> list[float]:
    measure = metrics.parse(metric)
    found = significance.paired_test(measure(after), measure(before))
    return [found.difference, found.interval.lo, found.interval.hi]
