"""A bundle goes on: what is learned and what is not, which weights stay, and that it is all or nothing."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.conftest import DAY
from tests.shopkeeping import START, learned, picture
from tmmsrec import values, zoo
from tmmsrec.checkpoint import read_tensors
from tmmsrec.cli import app
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.prepare import Preparation, prepare_from
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import ByTime, LeaveOneOut, Part
from tmmsrec.recommender import Recommender
from tmmsrec.study import going_on, update_words
from tmmsrec.study import update as updating
from tmmsrec.study.claim import claim
from tmmsrec.study.going_on import COUNTED, NEW_WEIGHTS, OLD_WEIGHTS, Going
from tmmsrec.study.keeping import Past, Verdict, asked, verdict
from tmmsrec.study.recipe import Inputs
from tmmsrec.study.update import update
from tmmsrec.training import Adam, Training

__all__ = ["learned"]  # a fixture

FIRST = Training(epochs=3, batch=30, optimiser=Adam(lr=1e-3))
LITTLE = Going(epochs=2, patience=2)
LATER = START + 60 * DAY  # everything in the shop had happened by then


PREPARED = {"preparation": {"min_events": 4, "duplicates": "keep", "catalogue": "events"}}


@pytest.fixture
def shelf(learned, tmp_path) -> Path:
    """A folder with a bundle of the little shop, whose users must have four events to count."""
    method, model, dataset, encoders = learned
    about = {"name": "tmmsrec", "training": values.to_json(FIRST), "result": {"HR@10": 0.9, "NDCG@10": 0.6}, "test_users": 60}
    Recommender(method, model, replace(dataset, report=PREPARED), about, encoders).save(tmp_path / "bundle")
    return tmp_path


@pytest.fixture
def ignorant(learned, tmp_path) -> Path:
    """The same with weights that have learned nothing, so that every epoch makes them better."""
    method, _, dataset, encoders = learned
    torch.manual_seed(0)
    about = {"training": values.to_json(replace(FIRST, optimiser=Adam(lr=0.02)))}
    Recommender(method, method.build(dataset), replace(dataset, report=PREPARED), about, encoders).save(tmp_path / "bundle")
    return tmp_path


def night(folder: Path, last: str = "B000", name: str = "night.csv") -> Inputs:
    """A night's events: 20 known users, a new one with five, one with two, two new items, one known event; and their table."""
    rows = [(f"u{u}", f"B{(3 * u + n) % 12 * 2 + u % 2:03d}", LATER + n * DAY + u) for u in range(20) for n in range(2)]
    rows += [("eve", f"B{2 * n:03d}", LATER + n * DAY) for n in range(4)] + [("eve", last, LATER + 9 * DAY)]
    rows += [("tom", "N-red", LATER), ("tom", "N-bare", LATER + DAY), ("u2", "N-red", LATER - DAY)]
    method_log = Recommender.load(folder / "bundle").dataset.interactions
    rows.append(("u0", f"B{method_log.items[0] - 1:03d}", int(method_log.times[0])))
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([("user_id", "item_id", "timestamp"), *rows])
    with (folder / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("item_id", "title", "weight", "image"), ("N-red", "red shirt", "2", "")])
    (folder / "pictures").mkdir(exist_ok=True)
    (folder / "pictures" / "N-red.png").write_bytes(picture("red", 91))
    return Inputs(folder / name, folder / "items.csv", str(folder / "pictures"))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_tensors(folder / "weights.safetensors")[0]


def test_a_bundle_takes_what_came_in_the_night(shelf):
    done = update(shelf / "bundle", night(shelf), LITTLE, out=shelf / "next")
    held = Recommender.load(shelf / "next")
    counts = done.told["merged"]
    assert counts["events"]["added"] == 48
    assert counts["events"]["already_in_the_log"] == 1
    assert counts["events"]["older_than_the_newest_of_their_user"] == 0
    assert counts["users"] == {"known": 20, "new": 2, "short": {"fewer_than": 4, "all": 1}}
    assert counts["items"]["new"] == 2
    assert counts["items"]["new_without_text_or_picture"] == 1
    assert counts["items"]["new_lacking"] == {"image": 1, "text": 1}
    assert counts["items"]["columns_left_out"] == ["weight"]
    data = held.dataset
    assert (data.n_users, data.n_items, len(data.interactions)) == (62, 26, 60 * 7 + 48)
    assert data.name == "shop, to 2017-09-21"
    assert data.report["merged"][0]["events"]["added"] == 48
    assert data.features["text"].provenance["items_after_fitting"] == 2
    assert data.catalog.describe(data.catalog.ids.row("N-red")) == {"title": "red shirt", "image": "N-red.png"}
    assert done.told["kept"] in (NEW_WEIGHTS, OLD_WEIGHTS)
    assert held.about["test_users"] == 61  # all but tom
    assert held.about["dataset"]["fingerprint"] == data.fingerprint
    assert [g["users"] for g in done.told["groups"][:2]] == [40, 21]
    for user in ("u0", "eve", "tom"):
        assert held.recommend(user, k=3)[0].basis == "model"
    assert not (shelf / "next.updating").exists()
    assert Recommender.load(shelf / "bundle").dataset.n_users == 60


def test_the_same_again_changes_nothing(shelf):
    inputs = night(shelf)
    update(shelf / "bundle", inputs, LITTLE, out=shelf / "next")
    before = contents(shelf / "next")
    again = update(shelf / "bundle", inputs, LITTLE, out=shelf / "next")
    assert again.changed
    assert contents(shelf / "next") == before
    merged_already = update(shelf / "next", inputs, LITTLE)
    assert not merged_already.changed
    assert contents(shelf / "next") == before
    copied = update(shelf / "next", inputs, LITTLE, out=shelf / "copy")
    assert not copied.changed
    assert Recommender.load(shelf / "copy").dataset.fingerprint == Recommender.load(shelf / "next").dataset.fingerprint


def test_night_after_night_the_name_does_not_grow(shelf):
    update(shelf / "bundle", night(shelf), LITTLE)
    with (shelf / "second.csv").open("w") as file:
        file.write(f"user_id,item_id,timestamp\ntom,B001,{LATER + 20 * DAY}\ntom,B003,{LATER + 21 * DAY}\n")
    done = update(shelf / "bundle", Inputs(shelf / "second.csv"), LITTLE)
    data = Recommender.load(shelf / "bundle").dataset
    assert data.name == "shop, to 2017-10-03"
    assert len(data.report["merged"]) == 2
    assert done.told["merged"]["users"]["short"]["all"] == 0  # tom has four events now
    assert done.about["test_users"] == 62


def test_what_is_asked_in_the_test_teaches_nothing(ignorant):
    """Two nights that differ in one test target only end with the same weights, bit for bit."""
    how = Going(epochs=2, patience=2, tolerance=1.0)
    one = update(ignorant / "bundle", night(ignorant, "B000"), how, out=ignorant / "one")
    other = update(ignorant / "bundle", night(ignorant, "B010", "other.csv"), how, out=ignorant / "other")
    assert one.told["key"] != other.told["key"]
    assert one.told["kept"] == other.told["kept"] == NEW_WEIGHTS
    left, right = weights(ignorant / "one"), weights(ignorant / "other")
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_where_training_makes_it_worse_the_old_weights_stay(shelf):
    done = update(shelf / "bundle", night(shelf), Going(epochs=2, patience=2, rate=3000.0), out=shelf / "next")
    assert done.told["kept"] == OLD_WEIGHTS
    assert "no epoch of 2 was better" in done.told["why"]
    old, new = weights(shelf / "bundle"), weights(shelf / "next")
    for name, tensor in old.items():
        assert torch.equal(new[name][: len(tensor)], tensor)
    assert json.loads((shelf / "next" / "bundle.json").read_text())["trained_items"] == 24
    held = Recommender.load(shelf / "next")
    assert held.explain("u0", items=["N-red"])[0].shares["id"] == 0  # it stands by its text and picture
    assert not held.state.knows[held.dataset.catalog.ids.row("N-bare")]
    assert done.about["result"]["HR@10"] == pytest.approx(_overall(done.told, "before"))


def _overall(told: dict, which: str) -> float:
    """HR@10 of all test users from the groups that part them."""
    parts = [g for g in told["groups"] if g["group"] in ("old", "new")]
    return sum(g["users"] * g[which]["HR@10"][0] for g in parts) / sum(g["users"] for g in parts)


def test_a_verdict_against_the_new_weights_keeps_the_old_ones(ignorant, monkeypatch):
    seen = []

    def against(before, after, old, metric, tolerance):
        seen.append((len(before), int(old.sum()), metric, tolerance))
        return Verdict(False, "it was decided so")

    monkeypatch.setattr(going_on, "verdict", against)
    done = update(ignorant / "bundle", night(ignorant), LITTLE, out=ignorant / "next")
    assert seen == [(61, 40, "NDCG@10", 0.0)]  # 20 users have two newer events, eve is new
    assert (done.told["kept"], done.told["why"]) == (OLD_WEIGHTS, "it was decided so")
    assert "after" in done.told["groups"][0]  # what was not kept is told too
    assert torch.equal(
        weights(ignorant / "next")["tables.0.table.weight"][:25], weights(ignorant / "bundle")["tables.0.table.weight"]
    )


class TestVerdict:
    old = np.arange(200) < 150

    def ranks(self, first: float, rest: float) -> np.ndarray:
        return np.where(self.old, first, rest)

    def test_worse_on_old_data_beyond_noise(self):
        after = self.ranks(3.0, 0.0)
        found = verdict(self.ranks(1.0, 8.0), after, self.old, "NDCG@10", 0.0)
        assert not found.new
        assert "150 validation targets" in found.why
        assert found.old_data.interval.hi < 0

    def test_better_on_new_data_does_not_make_up_for_it_but_tolerance_does(self):
        before, after = self.ranks(1.0, 40.0), self.ranks(2.0, 0.0)
        assert not verdict(before, after, self.old, "NDCG@10", 0.0).new
        assert not verdict(before, after, self.old, "NDCG@10", 0.1).new  # 1 / log2(3) - 1 / log2(4) is .13
        assert verdict(before, after, self.old, "NDCG@10", 0.2).new

    def test_a_difference_that_may_be_noise_is_no_reason(self):
        before = self.ranks(1.0, 1.0)
        after = before.copy()
        after[:2] = 3.0
        after[2] = 0.0
        found = verdict(before, after, self.old, "NDCG@10", 0.0)
        assert found.old_data.difference < 0 < found.old_data.interval.hi
        assert found.new

    def test_nothing_to_compare(self):
        found = verdict(self.ranks(1.0, 1.0), self.ranks(9.0, 9.0), np.zeros(200, bool), "NDCG@10", 0.0)
        assert found.new
        assert "no old event is left" in found.why


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12), st.booleans()), min_size=4, max_size=60),
    st.integers(1, 5),
    st.booleans(),
)
def test_nothing_that_the_old_weights_learned_is_asked(events, least, refit):
    """Whenever the new events came, and whether or not the old weights were refitted on their validation events."""
    users, hours, old = (np.array(column) for column in zip(*events, strict=True))
    order = np.lexsort((hours, users))
    users, hours, old = users[order], hours[order], old[order].astype(bool)
    log = Interactions.of(users, np.arange(1, len(users) + 1), hours, 6)  # every event an item of its own
    if log.lengths.max() < max(3, least):
        return
    learned_then = set()
    for user in range(6):
        own = log.items[(users == user) & old]
        stop = len(own) - (1 if refit else 2) if len(own) >= 3 else len(own)
        learned_then |= set(own[:stop].tolist()) if len(own) >= least and stop >= 2 else set()
    found = asked(Part("all", log, log.lengths, np.arange(6)), old, least, Past(refit))
    assert set(np.flatnonzero(found.learned)) == learned_then
    assert not learned_then & set(found.parts.test.targets.tolist())
    assert not learned_then & set(found.parts.valid.targets.tolist())
    test = found.parts.test
    enough = np.flatnonzero(log.lengths >= max(3, least))
    assert set(test.users) == {u for u in enough if log.items[log.offsets[u + 1] - 1] not in learned_then}
    later = set(found.parts.valid.targets.tolist()) | set(test.targets.tolist())
    train = found.parts.train
    taught = {i for u in train.users for i in log.items[log.offsets[u] : log.offsets[u] + train.stop[u]].tolist()}
    assert not taught & later
    groups = found.groups()
    assert (groups["old"] ^ groups["new"]).all()
    assert (groups["old"] == np.isin(test.targets, log.items[old])).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 12), st.sampled_from([True, True, True, False])), min_size=40, max_size=60
    ),
    st.tuples(st.integers(3, 7), st.integers(8, 11)),
    st.booleans(),
)
def test_nothing_learned_before_a_date_is_asked(events, dates, refit):
    """Weights that learned what came before a date have learned more of some users than all but their last two events."""
    users, hours, old = (np.array(column) for column in zip(*events, strict=True))
    order = np.lexsort((hours, users))
    users, hours, old = users[order], hours[order], old[order].astype(bool)
    log = Interactions.of(users, np.arange(1, len(users) + 1), hours, 6)
    split = ByTime(*(f"1970-01-01T00:00:{second:02d}" for second in dates))
    try:
        split.cut(Interactions.of(users[old], log.items[old], hours[old], 6))
    except DataProblem:
        return  # nobody was there to learn from or to ask
    learned_then = set()
    for user in range(6):
        own, when = log.items[(users == user) & old], hours[(users == user) & old]
        stop = int((when < dates[0]).sum())
        stop += refit and 0 < stop < len(own) and when[stop] < dates[1]  # the validation target
        learned_then |= set(own[:stop].tolist()) if stop >= 2 else set()
    found = asked(Part("all", log, log.lengths, np.arange(6)), old, 1, Past(refit, split))
    assert set(np.flatnonzero(found.learned)) == learned_then
    assert not learned_then & {*found.parts.test.targets.tolist(), *found.parts.valid.targets.tolist()}


def test_without_a_refit_it_is_leave_one_out(shelf):
    held = Recommender.load(shelf / "bundle").dataset.interactions
    everything = Part("all", held, held.lengths, np.arange(held.users))
    found, plain = asked(everything, np.ones(len(held), bool), 4, Past()).parts, LeaveOneOut().cut(held)
    for name in ("train", "valid", "test"):
        assert (getattr(found, name).stop == getattr(plain, name).stop).all()
        assert (getattr(found, name).users == getattr(plain, name).users).all()


def test_a_bundle_that_was_refitted_is_refitted_again(ignorant):
    held = Recommender.load(ignorant / "bundle")
    held.about["training"]["refit"] = True
    held.save(ignorant / "bundle")
    done = update(ignorant / "bundle", night(ignorant), Going(epochs=2, patience=2, tolerance=1.0))
    assert done.told["kept"] == NEW_WEIGHTS
    assert done.told["fit"]["refit"]
    assert done.told["stated"] is None


@pytest.mark.parametrize("then", [NEW_WEIGHTS, OLD_WEIGHTS])
def test_an_update_that_refits_is_remembered(ignorant, monkeypatch, then):
    """Night after night, and over a night whose new weights were not kept: what the weights have learned is not asked again."""
    told = []
    real = updating.learn
    monkeypatch.setattr(updating, "learn", lambda news, past, *rest: told.append(past.refitted) or real(news, past, *rest))
    monkeypatch.setattr(going_on, "verdict", lambda *_: Verdict(len(told) == 1 or then == NEW_WEIGHTS, "it was decided so"))
    how = Going(epochs=6, patience=6)
    first = update(ignorant / "bundle", night(ignorant), replace(how, changes=("refit=true",)))
    assert first.told["fit"]["refit"]
    for n in (1, 2):
        with (ignorant / "next.csv").open("w") as file:
            lines = [f"u{u},B{(5 * u + n) % 24:03d},{LATER + (20 + n) * DAY}\n" for u in range(30)]
            file.writelines(["user_id,item_id,timestamp\n", *lines])
        done = update(ignorant / "bundle", Inputs(ignorant / "next.csv"), how)
        assert done.told["kept"] in (then, OLD_WEIGHTS)
        assert done.about["refitted"]
        assert not done.about["training"]["refit"]
        assert done.told["fit"]["refit"] == (done.told["kept"] == NEW_WEIGHTS)  # in the same way
    assert told == [False, True, True]


def test_a_bundle_that_counts_is_counted_anew(learned, tmp_path):
    _, _, dataset, encoders = learned
    method = zoo.MARKOV
    Recommender(method, method.build(dataset), dataset, {}, encoders).save(tmp_path / "bundle")
    done = update(tmp_path / "bundle", night(tmp_path), LITTLE)
    assert done.told["kept"] == COUNTED
    held = Recommender.load(tmp_path / "bundle")
    straight = Recommender(method, method.build(held.dataset), held.dataset)
    assert held.recommend("eve", k=20) == straight.recommend("eve", k=20)
    assert "N-bare" in [one.item for one in held.recommend(history=[("N-red", LATER)], k=2)]  # as tom did


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user_id,item_id,timestamp\nu0,B000,yesterday\n", "row 1 of"),
        ("user_id,item_id,timestamp\n", "there are no events"),
        ("a,b,c\n1,2,3\n", "has no column for the user"),
        (f"user_id,item_id,timestamp\nnobody,nothing,{LATER}\n", "no user and no item of"),
    ],
)
def test_a_night_that_cannot_be_read_leaves_everything_as_it_was(shelf, text, said):
    inputs = night(shelf)
    (shelf / "night.csv").write_text(text)
    before = contents(shelf)
    with pytest.raises(DataProblem, match=said):
        update(shelf / "bundle", inputs, LITTLE)
    assert contents(shelf) == before
    assert sorted(p.name for p in shelf.iterdir()) == ["bundle", "items.csv", "night.csv", "pictures"]


def test_a_broken_bundle_or_a_second_process_is_refused(shelf):
    inputs = night(shelf)
    with pytest.raises(DataProblem, match="no bundle"):
        update(shelf / "pictures", inputs, LITTLE)
    (shelf / "bundle.updating").mkdir()
    with claim(shelf / "bundle.updating"), pytest.raises(DataProblem, match="another process is updating"):
        update(shelf / "bundle", inputs, LITTLE)
    with pytest.raises(DataProblem, match="pictures were given without an item table"):
        update(shelf / "bundle", replace(inputs, items=None), LITTLE)


def test_an_item_gets_the_text_and_picture_it_lacked(shelf):
    inputs = night(shelf)
    update(shelf / "bundle", replace(inputs, items=None, images=None), LITTLE)
    before = Recommender.load(shelf / "bundle").dataset
    row = before.catalog.ids.row("N-red")
    assert not before.features["text"].present[row]
    done = update(shelf / "bundle", inputs, LITTLE)
    after = Recommender.load(shelf / "bundle").dataset
    assert done.told["merged"]["items"]["completed"] == 1
    assert done.told["kept"] == OLD_WEIGHTS  # no event was added
    assert after.features["text"].present[row]
    assert after.features["image"].present[row]


def test_clocks_are_read_in_the_zone_of_the_first_files(tmp_path):
    def told(name, hour, ahead):
        rows = [f"u{u},i{(u + n) % 9},2024-07-{n + 1:02} {hour}:30{ahead}" for u in range(12) for n in range(6)]
        (tmp_path / name).write_text("\n".join(["user,item,time", *rows]) + "\n")
        return tmp_path / name

    local = prepare_from(told("local.csv", 12, ""), how=Preparation(zone="Europe/Berlin"), name="shop")
    assert local.fingerprint == prepare_from(told("utc.csv", 10, "Z"), name="shop").fingerprint
    Recommender(zoo.MARKOV, zoo.MARKOV.build(local), local).save(tmp_path / "bundle")
    assert not update(tmp_path / "bundle", Inputs(tmp_path / "local.csv"), LITTLE).changed
    assert not update(tmp_path / "bundle", Inputs(tmp_path / "utc.csv"), LITTLE).changed


def test_known_items_are_renewed_where_that_is_asked_for(shelf):
    inputs = night(shelf)
    update(shelf / "bundle", inputs, LITTLE)
    before = Recommender.load(shelf / "bundle").dataset
    row, other = before.catalog.ids.row("N-red"), before.catalog.ids.row("B000")
    rows = [
        ("item_id", "title", "weight", "image"),
        ("N-red", "blue coat", "2", ""),
        ("B000", before.catalog.describe(other)["title"], "", ""),
    ]
    with (shelf / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert not update(shelf / "bundle", inputs, LITTLE).changed
    with pytest.raises(DataProblem, match="name the table with --items"):
        update(shelf / "bundle", replace(inputs, items=None), LITTLE, renew=True)
    done = update(shelf / "bundle", inputs, LITTLE, renew=True)
    after = Recommender.load(shelf / "bundle").dataset
    assert (done.told["merged"]["items"]["renewed"], done.told["merged"]["items"]["completed"]) == (1, 0)
    assert after.catalog.describe(row)["title"] == "blue coat"
    text = [data.features["text"].rows for data in (before, after)]
    assert not np.array_equal(text[0][row], text[1][row])
    assert np.array_equal(text[0][other], text[1][other])
    assert np.array_equal(before.features["image"].rows, after.features["image"].rows)
    assert not update(shelf / "bundle", inputs, LITTLE, renew=True).changed
    assert "1 known items have another text" in "\n".join(update_words.came(done.told["merged"]))


def test_columns_that_were_named_at_first_are_found_again(shelf, tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    rows = [f"k{u},i{(u + n) % 9},2024-01-{n + 1:02}" for u in range(12) for n in range(6)]
    (raw / "events.csv").write_text("\n".join(["Kunde,Ware,Wann", *rows]) + "\n")
    (raw / "items.csv").write_text("Nummer,title\n" + "".join(f"i{n},thing {n}\n" for n in range(9)))
    columns = {"user": "Kunde", "item": "Ware", "time": "Wann", "item_id": "Nummer"}
    data = prepare_from(raw / "events.csv", raw / "items.csv", columns=columns)
    Recommender(zoo.MARKOV, zoo.MARKOV.build(data), data).save(raw / "bundle")
    (raw / "night.csv").write_text("Kunde,Ware,Wann\nk0,i5,2024-02-01\n")
    done = update(raw / "bundle", Inputs(raw / "night.csv", raw / "items.csv"), LITTLE)
    assert done.told["merged"]["events"]["added"] == 1
    (raw / "night.csv").write_text("user,item,time\nk0,i6,2024-02-02\n")  # by its usual names, where it has no such column
    assert update(raw / "bundle", Inputs(raw / "night.csv"), LITTLE).told["merged"]["events"]["added"] == 1


def test_a_picture_that_cannot_be_read_is_nothing_new(shelf):
    inputs = night(shelf)
    (shelf / "pictures" / "N-red.png").write_bytes(b"no picture")
    update(shelf / "bundle", inputs, LITTLE)
    before = contents(shelf / "bundle")
    done = update(shelf / "bundle", inputs, LITTLE)
    assert not done.changed
    assert done.told["merged"]["items"]["completed"] == 0
    assert contents(shelf / "bundle") == before


# Goes on with a bundle, and is killed at a step of the optimiser; a checkpoint is written at every step.
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.unit.test_update import LITTLE, night
from tmmsrec import checkpoint, loop
from tmmsrec.recommender import bundle
from tmmsrec.study.update import update

shelf, when = Path(sys.argv[1]), sys.argv[2]
due, step, taken = checkpoint.Saver.__init__, loop.Loop.step, 0
checkpoint.Saver.__init__ = lambda self, folder, job: due(self, folder, job, interval=0.0)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def steps(self, batch):
    global taken
    taken += 1
    (shelf / "steps").write_text(str(taken))
    return die() if when == "training" and taken == 4 else step(self, batch)

loop.Loop.step = steps
if when == "writing":
    bundle.write_tensors = die
update(shelf / "bundle", night(shelf), LITTLE)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["training", "writing"])
def test_killed_it_goes_on_and_ends_as_if_it_had_not_been(shelf, when):
    straight = update(shelf / "bundle", night(shelf), LITTLE, out=shelf / "straight")
    before = contents(shelf / "bundle")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path]), "OMP_NUM_THREADS": "1"}

    def go(then: str) -> int:
        done = subprocess.run([sys.executable, "-c", KILLED, str(shelf), then], env=environment, timeout=300, check=False)
        return done.returncode

    assert go(when) == -signal.SIGKILL
    assert contents(shelf / "bundle") == before
    assert any((shelf / "bundle.updating").rglob("checkpoint.safetensors"))
    killed_after = int((shelf / "steps").read_text())
    (shelf / "steps").write_text("0")
    assert go("never") == 0
    left = int((shelf / "steps").read_text())
    assert left < 2 * killed_after  # what was done before is not done again
    assert not (shelf / "bundle.updating").exists()
    once, again = weights(shelf / "straight"), weights(shelf / "bundle")
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert Recommender.load(shelf / "bundle").about["update"]["groups"] == straight.told["groups"]


def test_the_verb_says_what_came_what_stays_and_how_to_try_it(shelf):
    inputs = night(shelf)
    ask = ["update", shelf / "bundle", "--interactions", inputs.interactions, "--items", inputs.items, "--images", inputs.images]
    first = CliRunner().invoke(app, [str(a) for a in (*ask, "--epochs", 1, "--quiet")])
    assert first.exit_code == 0, first.output
    for words in (
        "48 added (2017-09-11 to 2017-09-21), 1 were in the log already",
        "2 are new. 1 of all users have fewer than 4 events",
        "2 are new, 1 of them without text or picture",
        "Columns that the bundle's items do not have were left out: weight",
        "weights",
        "old: 40",
        "new: 21",
        "40 of its questions could be asked again",
        "--user u0 --explain",
        "reload",
    ):
        assert words in first.output, words
    again = CliRunner().invoke(app, [str(a) for a in (*ask, "--quiet")])
    assert again.exit_code == 0
    assert "is new:" in again.output
    bad = CliRunner().invoke(app, [str(a) for a in ("update", shelf / "nowhere", *ask[2:])])
    assert bad.exit_code == 2
    assert "is no bundle" in bad.output


@pytest.mark.parametrize(
    ("name", "said"), [("afile", "is a file"), ("full", "holds other files"), ("afile/under", "cannot be made")]
)
def test_a_place_that_cannot_be_written_is_said_before_anything_is_learned(shelf, monkeypatch, name, said):
    (shelf / "afile").write_text("mine")
    (shelf / "full").mkdir()
    (shelf / "full" / "mine.txt").write_text("mine")
    came = night(shelf)
    before = contents(shelf)
    monkeypatch.setattr(updating, "learn", lambda *_: pytest.fail("something was learned"))
    with pytest.raises(DataProblem, match=said):
        update(shelf / "bundle", came, LITTLE, out=shelf / name)
    assert contents(shelf) == before


def test_events_of_the_future_are_taken_and_told(shelf):
    with (shelf / "future.csv").open("w", newline="") as file:
        events = [("u0", "B000", 4_000_000_000), ("u1", "B001", LATER)]
        csv.writer(file).writerows([("user_id", "item_id", "timestamp"), *events])
    done = update(shelf / "bundle", Inputs(shelf / "future.csv"), LITTLE, out=shelf / "next")
    assert done.told["merged"]["events"]["in_the_future"] == 1
    assert any("1 lie in the future" in line for line in update_words.came(done.told["merged"]))
