"""A bundle goes on: new events and items are merged into its data, and training goes on from its weights.

TARGET.updating/KEY/      the checkpoint of a training under way, beside the bundle that is made; gone when that is there
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tmmsrec import values
from tmmsrec.data import store
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.data.times import TimeChoice
from tmmsrec.recommender import bundle
from tmmsrec.recommender.adding import Encoders
from tmmsrec.recommender.holder import leaves_out_seen, split_of
from tmmsrec.recommender.state import State
from tmmsrec.study.circumstances import versions
from tmmsrec.study.claim import Busy, claim
from tmmsrec.study.going_on import NEW_WEIGHTS, OLD_WEIGHTS, Going, learn
from tmmsrec.study.keeping import Past
from tmmsrec.study.news import News, merged
from tmmsrec.study.recipe import Inputs
from tmmsrec.study.stages import Listener, Silent
from tmmsrec.training import Training


@dataclass(frozen=True, eq=False)
class Updated:
    """What came of it.

    Attributes:
        folder: the bundle.
        about: what the bundle says of itself; of this update under "update".
        changed: whether anything was new.
    """

    folder: Path
    about: Mapping[str, Any]
    changed: bool

    @property
    def told(self) -> dict[str, Any]:
        """What the bundle keeps of this update."""
        found: dict[str, Any] = self.about["update"]
        return found


def update(
    folder: Path,
    inputs: Inputs,
    how: Going | None = None,
    *,
    out: Path | None = None,
    time: TimeChoice = "auto",
    renew: bool = False,
    listener: Listener | None = None,
) -> Updated:
    """Merge new events and items into a bundle and train on, from its weights; taken up where it was left.

    The log is cut as for a new bundle: each user's last event is the test target, the one before it chooses the epoch, and the old
    weights are among the candidates.  New weights are kept by one rule, ``keeping.verdict``; else the old ones are, over the grown
    data.  A method that only counts is counted anew.  The bundle is replaced as a whole at the end, or not at all.

    Args:
        folder: the bundle.
        inputs: what came; the name is not read.
        how: how training goes on; as ``Going()`` says when left out.
        out: where the bundle is written; in its own place when left out.
        time: unit of the times; as in the bundle's own data by default.
        renew: known items take what the item table says of them otherwise, and their features are made anew.
        listener: told of the progress.

    Raises:
        DataProblem: no bundle, input that cannot be used, or another process at work on the same update.
        ValueError: a change that the Training cannot take.
    """
    listener, how, target = listener or Silent(), how or Going(), Path(out or folder)
    if renew and inputs.items is None:
        raise DataProblem("--renew-items takes what an item table says of known items: name the table with --items")
    bundle.must_be_free(target)  # before hours of training, not after them
    state, about, encoders = bundle.read(Path(folder))
    training = how.training(replace(_first_training(about), refit=_refitted(about)))
    with workplace(target) as work:
        listener.stage(f"bundle of {state.dataset!r}")
        news = merged(state, encoders, inputs, time, listener, renew=renew)
        if not news.something:
            return _nothing(target, Path(folder), state, about, encoders, news)
        base = values.key((Path(folder) / bundle.HEAD).read_text(encoding="utf-8"))
        key = values.key(base, news.state.dataset.fingerprint, training, how.tolerance, how.seed)
        done = _done_before(target, key)
        if done is not None:
            return Updated(target, done, changed=True)
        listener.stage(f"merged: {news.state.dataset!r}")
        for other in (p for p in work.iterdir() if p.is_dir() and p.name != key):
            shutil.rmtree(other)
        after, told = learn(news, _past(about), training, how, work / key, base, listener)
        stated = {"stated": about.get("result"), "stated_users": about.get("test_users")}
        about = {**_about(about, after, told, training), "update": {"key": key, **stated, **told}}
        bundle.write(target, after, about, encoders)
        return Updated(target, about, changed=True)


@contextmanager
def workplace(target: Path) -> Iterator[Path]:
    """A folder beside the target for one process at a time; it stays only where a training was begun and stopped."""
    work = target.with_name(f"{target.name}.updating")
    store.make_folder(work)
    try:
        with claim(work, wait=False):
            try:
                yield work
            except BaseException:
                if not any(work.rglob("checkpoint.safetensors")):
                    shutil.rmtree(work)
                raise
            shutil.rmtree(work)
    except Busy:
        raise DataProblem(f"another process is updating {target}; wait for it, or let the update write elsewhere (--out)") from None


def _first_training(about: Mapping[str, Any]) -> Training:
    """How the bundle was trained at first."""
    told = about.get("training")
    return values.from_json(Training, told) if isinstance(told, dict) and "kind" in told else Training()


def _refitted(about: Mapping[str, Any]) -> bool:
    """Whether its weights have learned validation events: at first, as the training says, or in an update since."""
    return bool(about.get("refitted", _first_training(about).refit))


def _past(about: Mapping[str, Any]) -> Past:
    """How its weights were learned and tested."""
    return Past(_refitted(about), split_of(about), leaves_out_seen(about))


def _nothing(target: Path, folder: Path, state: State, about: Mapping[str, Any], encoders: Encoders, news: News) -> Updated:
    """All of it was known: the bundle is left as it is, or copied as it is."""
    if target.resolve() != folder.resolve():
        bundle.write(target, state, about, encoders)
    return Updated(target, {**about, "update": {"merged": news.counts, "kept": "nothing new"}}, changed=False)


def _done_before(target: Path, key: str) -> dict[str, Any] | None:
    """What a bundle that stands there says, if it is the result of the very same update."""
    try:
        about: dict[str, Any] = json.loads((target / bundle.HEAD).read_text(encoding="utf-8"))["about"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return about if about.get("update", {}).get("key") == key else None


def _about(about: Mapping[str, Any], state: State, told: Mapping[str, Any], training: Training) -> dict[str, Any]:
    """What a new bundle says of itself, said of this one; how it was first trained stays."""
    data = state.dataset
    # What goes on from weights that have learned validation events has learned them too.
    refitted = _refitted(about) or (told["kept"] == NEW_WEIGHTS and told["fit"]["refit"])
    split = split_of(about) if told["kept"] == OLD_WEIGHTS else LeaveOneOut()
    seconds = {**about.get("seconds", {}), "update": told["seconds"]}
    return {
        **{k: v for k, v in about.items() if k not in ("result", "test_users", "versions", "dataset", "update")},
        "training": about.get("training", values.to_json(Training())),
        "training_of_update": values.to_json(training),
        "refitted": refitted,
        "split": values.to_json(split),
        "result": told["result"],
        "test_users": told["test_users"],
        "seconds": seconds,
        "versions": versions(),
        "dataset": {"name": data.name, "fingerprint": data.fingerprint, **data.table2()},
    }
