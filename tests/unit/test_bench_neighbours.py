"""The harness that measures us beside other libraries: one evaluator, test items that stay inside, a run from end to end."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import epoch
from bench.neighbours import scaling, telling
from bench.neighbours.__main__ import main
from bench.neighbours.contest import Contest, Turn
from bench.neighbours.desk import Desk, Events, left_padded
from bench.neighbours.environments import Contender, Missing, interpreter
from bench.neighbours.logs import Cut, luxury_like
from bench.neighbours.ours import best, method
from bench.neighbours.setting import TOP, Setting
from bench.neighbours.verdict import ndcg, seconds_to
from tmmsrec.data.batch import Pass, Sampler, training_batches
from tmmsrec.data.interactions import Interactions
from tmmsrec.metrics import NDCG
from tmmsrec.ranking import rank

SETTING = Setting(width=16, length=6, epochs=1, threads=1)


@pytest.fixture(scope="module")
def cut() -> Cut:
    return Cut.of(luxury_like(60, 40, 600), SETTING.length)


def test_the_made_log_has_the_sizes_asked_for(cut):
    log = cut.dataset.interactions
    assert (log.users, cut.dataset.n_items, len(log)) == (60, 40, 600)
    assert log.lengths.min() >= 5
    assert (luxury_like(60, 40, 600).interactions.items == log.items).all()


def test_the_evaluator_says_what_our_own_ranks_say(cut, tmp_path):
    desk = Desk(cut.lay_out(tmp_path, SETTING))
    torch.manual_seed(0)
    model = method(SETTING).build(cut.dataset)
    for part, events in ((cut.parts.valid, desk.train), (cut.parts.test, desk.grown)):
        own = (NDCG @ TOP)(rank(model, part, history=SETTING.length).ranks).mean()
        named = best(model, events, desk.asked, SETTING.length, size=16)
        assert ndcg(named, part.targets) == pytest.approx(own, abs=1e-12)
        assert own > 0


def test_ndcg_by_hand():
    named = np.arange(1, 31).reshape(3, TOP)
    assert ndcg(named, np.array([1, 13, 5])) == pytest.approx((1 + 1 / np.log2(4) + 0) / 3)
    with pytest.raises(ValueError, match="named twice"):
        ndcg(np.ones((1, TOP), int), np.array([1]))
    with pytest.raises(ValueError, match="shape"):
        ndcg(named, np.array([1, 2]))
    assert ndcg(np.zeros((1, TOP), int), np.array([1])) == 0.0  # nobody recommended anything


def test_test_items_are_not_handed_over(cut, tmp_path):
    log = cut.dataset.interactions
    items = log.items.copy()
    items[cut.parts.test.ends] = items[cut.parts.test.ends] % 40 + 1
    other = Cut.of(replace(cut.dataset, interactions=Interactions(log.offsets, items, log.times)), SETTING.length)
    assert (other.test_targets != cut.test_targets).all()
    one, two = cut.lay_out(tmp_path / "one", SETTING), other.lay_out(tmp_path / "two", SETTING)
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes()


def test_events_are_the_targets_of_an_epoch(cut):
    wanted = method(SETTING)
    sampler = Sampler(cut.parts.train, cut.dataset.n_items, wanted.negatives)
    batches = training_batches(cut.parts.train, Pass(size=16, length=SETTING.length), sampler, seed=(0, 0))
    assert cut.events == sum(int((batch.targets != 0).sum()) for batch in batches)


def test_a_desk_reads_what_was_laid_out(cut, tmp_path):
    desk = Desk(cut.lay_out(tmp_path, SETTING))
    log, stop = cut.dataset.interactions, cut.parts.test.stop
    for user, items in zip(desk.asked, desk.grown.histories(desk.asked), strict=True):
        assert items.tolist() == log.items[log.offsets[user] : log.offsets[user] + stop[user]].tolist()
    assert left_padded([np.array([1, 2, 3]), np.array([], int)], 2).tolist() == [[2, 3], [0, 0]]


def test_events_pass_through_a_file(tmp_path):
    events = Events(np.array([0, 1]), np.array([3, 4]), np.array([5, 1_600_000_000]))
    events.write(tmp_path / "log.csv")
    again = Events.read(tmp_path / "log.csv")
    assert all((getattr(again, name) == getattr(events, name)).all() for name in ("users", "items", "times"))


def test_seconds_to_a_level():
    assert seconds_to(0.2, [0.1, 0.2, 0.3], [1.0, 2.0, 4.0]) == 3.0
    assert seconds_to(0.4, [0.1, 0.2, 0.3], [1.0, 2.0, 4.0]) is None


def test_an_environment_that_cannot_be_made_is_told_of(tmp_path):
    with pytest.raises(Missing, match=r"asks for Python 3\.98"):
        interpreter(Contender("Tomorrow", "tomorrow", ("tomorrow",), (98, 99)), tmp_path)


def test_a_contest_tells_of_problems_ratios_and_the_level():
    def turn(name: str, at: int, speed: float) -> Turn:
        return Turn(name, at, "", speed, speed, [0.1, 0.2], [0.1, 0.15], [1.0, 1.0], 0.5, 1.0, 300, 7, {}, 0.5)

    turns = [turn("tmmsrec", 0, 900.0), turn("tmmsrec", 1, 1_000.0), turn("slow", 0, 100.0), turn("slow", 1, 100.0)]
    contest = Contest("made", dict.fromkeys(("users", "items", "events"), 5), Setting(), [*turns, Turn("gone", 0, "no wheel")])
    assert contest.fastest == "slow"
    assert contest.ratios("slow") == [9.0, 10.0]
    assert contest.ratios("slow", lambda t: t.quickest) == [9.0, 10.0]
    assert replace(turns[0], wall=[3.0, 1.0]).quickest == pytest.approx(2 * 900.0)
    assert contest.level == pytest.approx(0.19)
    assert contest.seconds_to_level(turns[0]) == 2.0
    assert "missed by 5%" in telling.verdict(contest)
    assert "was not measured: no wheel" in telling.markdown(contest)
    assert Contest.read(json.loads(json.dumps(contest.told()))).told() == contest.told()


@pytest.mark.slow
def test_a_run_from_end_to_end(tmp_path):
    given = ["--quick", "--threads", "1", "--losses", "bce", "--only", "padded reference", "--epochs", "2"]
    files = ["--envs", str(tmp_path / "envs"), "--out", str(tmp_path / "out.json"), "--markdown", str(tmp_path / "out.md")]
    assert main([*given, *files]) == 0
    told = json.loads((tmp_path / "out.json").read_text())
    contest = Contest.read(told["contests"][0])
    assert contest.names == ["tmmsrec", "padded reference"]
    for (turn,) in (contest.of(name) for name in contest.names):
        assert len(turn.valid) == len(turn.test) == len(turn.wall) == 2
        assert all(0 < value < 1 for value in turn.valid + turn.test)
        assert turn.events_per_second > 0
        assert turn.ranking_seconds > 0
        assert turn.import_seconds > 0
        assert turn.peak_mb > 50
    assert contest.ratios("padded reference")[0] > 0
    assert "padded reference" in (tmp_path / "out.md").read_text()


@pytest.mark.slow
def test_the_cost_of_an_event_is_measured_here_and_by_processes_together():
    tiny = scaling.Point(users=40, items=30, length=4, width=12)
    for point in (tiny, replace(tiny, processes=2)):
        found = scaling.cost(point, seconds=0.05)
        assert found.processor > 0
        assert found.wall > 0


def test_memory_is_drawn_against_events(tmp_path):
    rows = [{"numbers": {"users": users, "events": events, "own": 400.0}} for users, events in ((10, 3), (10, 9), (40, 3))]
    epoch.draw(rows, tmp_path)
    assert "40 users" in (tmp_path / "epoch-memory.svg").read_text()
