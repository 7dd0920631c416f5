"""Elapsed time: buckets of gaps, queries and keys that turn, a step that asks at the moment of the request."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import DAY, small
from tmmsrec import values, zoo
from tmmsrec.data.batch import history_batch
from tmmsrec.models.sequential import Sequential
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.backbones.gru4rec import GRU4Rec
from tmmsrec.nn.fusion import Add
from tmmsrec.nn.look import Turn, turned
from tmmsrec.nn.time import TIE, Clock, Gap, Nothing, Rotary, civil

START = 1_400_000_000
TIMED = [Gap(), Gap(to_now=False), Gap(before=False), Rotary(), Rotary(to_now=False), TIE(query=True)]


def built(time, **fields):
    torch.manual_seed(0)
    return Sequential(width=12, length=20, time=time, **fields).build(small()).eval()


def asked(days, ahead=3, items=(4, 8, 15, 16), shift=0):
    times = (np.array([days]) + shift) * DAY + START
    return history_batch(np.array([0]), np.array([items]), times, times[:, -1] + ahead * DAY)


def clock(times, now, mask=None):
    times, now = torch.tensor(times), torch.tensor(now)
    return Clock(times, now, torch.ones_like(times, dtype=torch.bool) if mask is None else torch.tensor(mask))


def test_a_gap_falls_into_the_bucket_of_its_logarithm():
    module = Gap(buckets=4, shortest=10, longest=1000).build(6, 5)
    gaps = torch.tensor([-5, 0, 9, 10, 99, 100, 101, 999, 1000, 10**9])
    assert module.edges.tolist() == [10, 100, 1000]
    assert module.bucket(gaps).tolist() == [1, 1, 1, 2, 2, 3, 3, 3, 4, 4]


def test_gap_adds_the_row_since_the_event_before_and_the_row_until_now():
    module = Gap(buckets=4, shortest=10, longest=1000).build(2, 5)
    with torch.no_grad():
        for table, unit in ((module.before, 1.0), (module.to_now, 100.0)):
            table.weight.copy_(torch.arange(5.0)[:, None] * unit)
    when = clock([[0, 50, 51, 0]], [[50, 51, 2000, 0]], [[True, True, True, False]])
    added = module(torch.zeros(1, 4, 2), when)[0, :, 0]
    # before: none, 50 s (bucket 2), 1 s (bucket 1); until now: 50 s (2), 1 s (1), 1,949 s (4); padding gets nothing
    assert added.tolist() == [200.0, 102.0, 401.0, 0.0]


@pytest.mark.parametrize("kept", [{"before": False}, {"to_now": False}])
def test_gap_with_one_half_has_one_table(kept):
    module = Gap(**kept).build(6, 5)
    assert len(list(module.parameters())) == 1


def test_gap_and_rotary_refuse_what_means_nothing():
    for wrong in ({"buckets": 1}, {"shortest": 0}, {"shortest": 5.0, "longest": 4.0}, {"before": False, "to_now": False}):
        with pytest.raises(ValueError, match="Gap"):
            Gap(**wrong)
    with pytest.raises(ValueError, match="Rotary"):
        Rotary(shortest=10.0, longest=1.0)


def test_turned_vectors_multiply_to_the_cosine_of_the_time_between():
    """<(1, 0) turned by a, (1, 0) turned by b> = cos(a - b), in every plane."""
    turn = Turn(torch.tensor([[70 * DAY]]), torch.tensor([[0, 20 * DAY]]), shortest=30.0 * DAY, longest=480.0 * DAY)
    asking, held = turn.angles(6)
    ones = torch.tensor([1.0, 1, 1, 0, 0, 0])
    q, k = turned(ones.expand(1, 1, 1, 6), asking), turned(ones.expand(1, 1, 2, 6), held)
    expected = [sum(math.cos(2 * math.pi * gap / period) for period in (30, 120, 480)) for gap in (70, 50)]
    torch.testing.assert_close((q @ k.transpose(-1, -2)).flatten(), torch.tensor(expected), atol=1e-5, rtol=0)


def test_turning_keeps_lengths_and_an_odd_coordinate():
    x = torch.randn(2, 1, 3, 7, generator=torch.Generator().manual_seed(0))
    angles = Turn(torch.zeros(2, 3), torch.arange(6).view(2, 3) * DAY, 2.0 * DAY, 900.0 * DAY).angles(7)
    assert torch.equal(turned(x, angles[0]), x)
    moved = turned(x, angles[1])
    torch.testing.assert_close(moved.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(moved[..., -1], x[..., -1])


@pytest.mark.parametrize("time", [Gap(), Rotary(), Rotary(to_now=False)])
def test_elapsed_time_knows_no_calendar(time):
    """The same history moved by years, the request with it: the same scores.  TIE's are others."""
    days = [0, 3, 4, 90]
    one, later = asked(days), asked(days, shift=2000)
    torch.testing.assert_close(built(time).score(one), built(time).score(later), atol=1e-5, rtol=1e-5)
    tie = built(TIE())
    assert not torch.allclose(tie.score(one), tie.score(later), atol=1e-3)


@pytest.mark.parametrize("time", TIMED)
def test_gaps_change_scores_and_the_moment_only_for_those_that_read_it(time):
    model = built(time)
    scores = model.score(asked([0, 3, 4, 90]))
    if time != Gap(before=False):
        assert not torch.equal(scores, model.score(asked([0, 80, 81, 90])))
    later = model.score(asked([0, 3, 4, 90], ahead=200))
    assert torch.equal(scores, later) is not time.reads_now


@pytest.mark.parametrize("time", TIMED)
@pytest.mark.parametrize("norm", ["original", "pre", "post"])
@pytest.mark.parametrize("heads", [1, 2])
def test_the_newest_row_is_the_last_of_all_rows(time, norm, heads):
    """The short way of ranking and the long one of training agree, with gaps in a stream and with padding."""
    model = built(time, modalities=("id", "image"), backbone=Attention(norm=norm, heads=heads))
    items, times = np.array([[3, 4, 7, 8], [4, 7, 0, 0]]), np.array([[0, 2, 9, 50], [0, 40, 0, 0]]) * DAY
    batch = history_batch(np.array([0, 1]), items, np.where(items > 0, times + START, 0), np.array([START + 60 * DAY] * 2))
    whole = model.states(batch)[torch.arange(2), batch.last]
    torch.testing.assert_close(model.users(batch), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("time", TIMED)
def test_a_moment_is_read_by_its_own_step_and_later_ones_alone(time):
    model = built(time)
    batch = asked([0, 3, 4, 90])
    now = batch.now.clone()
    now[0, 2] += 30 * DAY  # as if the fourth event had come later, which the first two steps cannot know
    before, after = model.states(batch), model.states(replace(batch, now=now))
    assert torch.equal(before[:, :2], after[:, :2])
    assert torch.equal(before[:, 2:], after[:, 2:]) is not time.reads_now


def test_the_step_that_asks_is_seen_by_no_other():
    """A question at one step changes that step's answer and no other's."""
    model = built(TIE(query=True))
    batch = asked([0, 3, 4, 90])
    now = batch.now.clone()
    now[0, 1] += 400 * DAY
    before, after = model.states(batch), model.states(replace(batch, now=now))
    same = [torch.equal(before[:, step], after[:, step]) for step in range(4)]
    assert same == [True, False, True, True]


def test_the_question_is_a_row_and_its_rotation_by_the_moment():
    module = TIE(query=True).build(6, 5)
    with torch.no_grad():
        module.question.copy_(torch.arange(1.0, 7.0))
    when = clock([[START]], [[START + 7 * DAY]])
    rows = module.look(when).rows[0, 0]
    own = torch.arange(1.0, 7.0)
    expected = own + module.rotate(own, *(field[0, 0] for field in civil(when.now)))
    torch.testing.assert_close(rows, expected)
    assert TIE().build(6, 5).look(when) is None


@pytest.mark.parametrize("time", [Rotary(), TIE(query=True)])
def test_only_attention_can_look(time):
    for backbone in (GRU4Rec(), Attention(key_mask=False)):
        with pytest.raises(ValueError, match="how a history is looked at"):
            Sequential(width=12, time=time, backbone=backbone)
    Sequential(width=12, time=Gap(), backbone=GRU4Rec())


@pytest.mark.parametrize("time", TIMED)
def test_streams_fused_early_look_together(time):
    model = built(time, modalities=("id", "text"), fusion=Add())
    model.users(asked([0, 3, 4, 90])).sum().backward()
    assert all(p.grad is not None for p in model.time.parameters())
    assert replace(model.value, time=Nothing()).reads_now is False


def test_a_field_that_came_later_leaves_keys_as_they_were():
    """Runs done before TIE could ask are still known; one that asks is another."""
    assert '"query"' not in values.canonical(zoo.TMMSREC)
    assert '"query":true' in values.canonical(zoo.TMMSREC_TIE_NOW)
    assert values.to_json(TIE())["query"] is False
