"""What a split may give away: each finding with its numbers, and what can be done about it."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import LeaveOneOut, Part, Parts, Split

Verdict = Literal["fine", "know", "leak"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: was looked at.
        verdict: "fine"; "know": numbers depend on it, so say it beside them; "leak": training knows what it could not know.
        said: what was found, in a sentence.
        remedy: what can be done, "" where there is nothing to do.
        numbers: what the sentence rests on.
    """

    what: str
    verdict: Verdict
    said: str
    remedy: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


def audit(dataset: Dataset, split: Split | None = None, runs: Path | None = None, program: str = "tmmsrec") -> list[Finding]:
    """Look for leaks, and for what else a reader of test results must know.

    Args:
        dataset: the data.
        split: how it is cut; leave-one-out when left out.
        runs: a folder of runs, to count how often the test part was opened.
        program: how tmmsrec is called, for what it advises.
    """
    parts = (split or LeaveOneOut()).cut(dataset.interactions)
    found = [
        _choice(parts),
        _order(dataset, parts.test),
        _planted(parts.test),
        _twins(dataset, parts),
        _repeats(parts.test),
        _future(parts),
        _unseen(parts, dataset.n_items),
        *_features(dataset, program),
    ]
    return found if runs is None else [*found, _openings(dataset, len(parts.test), runs, program)]


def _choice(parts: Parts) -> Finding:
    """Test targets that also choose the epoch."""
    shared = _share(np.isin(parts.test.ends, parts.valid.ends))
    what, numbers = "what chooses the epoch", {"share": shared}
    if not shared:
        return Finding(what, "fine", "No test target is a validation target.", numbers=numbers)
    said = f"{shared:.1%} of test targets are validation targets too: the epoch is chosen by what is reported."
    return Finding(what, "leak", said, "another protocol; this one only measures what the leak is worth", numbers)


def _order(dataset: Dataset, test: Part) -> Finding:
    log = test.interactions
    user = test.interactions.owners
    within = user[1:] == user[:-1]
    neighbours, equal = int(within.sum()), int((within & (np.diff(log.times) == 0)).sum())
    tied = _share(log.times[test.ends] == log.times[test.ends - 1])
    order = dataset.report.get("ties", {}).get("order", "the given one") if dataset.report else "the given one"
    numbers = {"neighbours": neighbours, "equal": equal, "targets_tied": tied}
    if not equal:
        return Finding("order in time", "fine", "No two neighbouring events of a user have the same time.", numbers=numbers)
    said = (
        f"{equal / neighbours:.1%} of neighbouring events have the same time; their order is {order}. For {tied:.1%} of test users "
        "the target has the time of the event before it, so that the order decided which of them is asked for."
    )
    return Finding("order in time", "know", said, "prepare with --ties hash, and see whether results stand", numbers)


def _planted(test: Part) -> Finding:
    """A target that may be read: the same item at the same time."""
    found = test.interactions.met_before(at_that_time=True)[test.ends]
    share, count = _share(found), int(found.sum())
    numbers = {"targets": count, "share": share}
    what = "test events among what may be read"
    if not count:
        return Finding(what, "fine", "No test target stands among its user's earlier events with the same time.", numbers=numbers)
    said = f"{count:,} test targets ({share:.1%}) also stand among their user's earlier events, at the very same time."
    return Finding(what, "leak", said, "prepare with --duplicates drop, or say that a basket may hold an item twice", numbers)


def _twins(dataset: Dataset, parts: Parts) -> Finding:
    """Users whose whole sequence, target included, is another user's training sequence too."""
    log = parts.test.interactions
    user = log.owners
    place = np.arange(len(log)) - log.offsets[user]
    # A sum that knows every event and its place; all that a user did up to an event is a difference of two sums.
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(log.items, log.times, place))])
    so_far = sums[1:] - sums[log.offsets[user]]
    count = int(np.isin(so_far[parts.test.ends], so_far[parts.train.readable]).sum())
    numbers = {"users": count, "share": count / max(1, len(parts.test))}
    what = "the same person twice"
    if not count:
        return Finding(what, "fine", "No test user's events are another user's training events at the same times.", numbers=numbers)
    said = f"{count:,} test users did exactly what another user did in training, target and times included."
    return Finding(what, "leak", said, "look whether the log holds users under two ids, or rows twice", numbers)


def _repeats(test: Part) -> Finding:
    share = _share(test.interactions.met_before()[test.ends])
    last = _share(test.targets == test.interactions.items[test.ends - 1])
    said = f"{share:.1%} of test targets were met by their user before; {last:.1%} are the very last item."
    numbers = {"in_history": share, "equal_to_last": last}
    return Finding("repeats", "know", said, "compare with the repeat floors, and report repeats and new items apart", numbers)


def _future(parts: Parts) -> Finding:
    """Events after a test user's target in others' training part (their own cannot be later)."""
    log, train = parts.train.interactions, parts.train
    known = np.sort(log.times[train.readable])
    later = len(known) - np.searchsorted(known, log.times[parts.test.ends], side="right")
    users, share = _share(later > 0), float(later.mean()) / max(1, len(known))
    numbers = {"users": users, "share": share}
    what = "the future in training"
    if not users:
        return Finding(what, "fine", "No training event is later than any test target.", numbers=numbers)
    said = (
        f"For {users:.1%} of test users others' training events lie after their target, {share:.1%} of all training events on "
        "average: what will be popular is known in advance."
    )
    return Finding(what, "leak", said, "one calendar cut for everybody: --protocol by-time=VALID_FROM,TEST_FROM", numbers)


def _unseen(parts: Parts, n_items: int) -> Finding:
    seen = parts.train.item_counts(n_items) > 0
    shares = {part.name: _share(~seen[part.targets]) for part in (parts.valid, parts.test)}
    said = (
        f"{shares['test']:.1%} of test targets ({shares['valid']:.1%} in validation) occur in nobody's training part: a method "
        "that scores by ids alone knows nothing of them and finds them by luck only."
    )
    verdict: Verdict = "know" if shares["test"] > 0 else "fine"
    return Finding("items unseen in training", verdict, said, numbers={f"unseen_{k}": v for k, v in shares.items()})


def _features(dataset: Dataset, program: str) -> Iterator[Finding]:
    again = shlex.join([program, "extract", *([] if dataset.folder is None else [str(dataset.folder)])])
    for name, features in sorted(dataset.features.items()):
        fitted = features.provenance.get("fitted_on")
        what, numbers = f"what {name} features were fitted on", {"coverage": features.coverage}
        if fitted is None:
            said = "Nobody noted how these rows were made: they may know test events."
            yield Finding(what, "leak", said, f"make them with: {again}; or find out", numbers)
        elif "no events" in fitted:
            said = f"{fitted}. Items that only the test part holds are among them, as they are in a shop's catalogue."
            yield Finding(what, "know", said, numbers=numbers)
        elif str(fitted).startswith("nothing"):
            yield Finding(what, "fine", f"{fitted}.", numbers=numbers)
        else:
            yield Finding(
                what, "leak", f"{fitted}: not of the catalogue alone.", "fit them on the catalogue, or on training events", numbers
            )


def _openings(dataset: Dataset, users: int, runs: Path, program: str) -> Finding:
    """How often the test part was ranked, and what the best of so many would gain by luck alone."""
    opened: Counter[str] = Counter()
    for file in sorted(Path(runs).glob("*/run.json")):
        about = json.loads(file.read_text(encoding="utf-8"))
        if "result" in about and about["dataset"]["fingerprint"] == dataset.fingerprint:
            opened[_setting(about["job"])] += 1
    count, settings = sum(opened.values()), len(opened)
    numbers: dict[str, float] = {"openings": count, "settings": settings}
    if not count:
        return Finding("openings of the test part", "fine", f"No run in {runs} has ranked this data's test part.", numbers=numbers)
    # The largest of n normal numbers lies about sqrt(2 ln n) standard deviations above their mean.
    luck = math.sqrt(2 * math.log(settings)) * 0.5 / math.sqrt(max(1, users)) if settings > 1 else 0.0
    numbers["luck"] = luck
    said = f"{count:,} runs of {settings:,} settings have ranked the test part."
    if settings > 1:
        said += f" If they were all equally good, the best of them would still look up to {luck:.3f} better in HR by luck."
    names = f"choose by validation alone; this names them: {shlex.join([program, 'list', 'runs', str(runs)])}"
    return Finding("openings of the test part", "know", said, names, numbers)


def _setting(job: Mapping[str, Any]) -> str:
    return json.dumps({k: v for k, v in job.items() if k != "seed"}, sort_keys=True)


def _mixed(*columns: NDArray[Any]) -> NDArray[np.uint64]:
    """A 64-bit number for each row, different rows different numbers (but for one in 2^64)."""
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:  # the finaliser of splitmix64, after Steele et al. 2014
        mixed = (mixed + np.uint64(0x9E3779B97F4A7C15)) ^ column.astype(np.int64).view(np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else 0.0
