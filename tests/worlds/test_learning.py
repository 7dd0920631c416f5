"""Methods learn what they can know, and stay at chance where they cannot, in worlds whose answer is known.

Thresholds lie between what the best scorer earns and what the best one earns that lacks the thing the world is about.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tmmsrec import zoo
from tmmsrec.data import worlds
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.metrics import HR
from tmmsrec.models.sequential import Entry, Sequential
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.losses import CrossEntropy
from tmmsrec.nn.time import TIE, Gap, Learned, Nothing, Rotary
from tmmsrec.ranking import rank
from tmmsrec.training import Adam, Training

PLAIN = Sequential(width=48, loss=CrossEntropy(), backbone=Attention(dropout=0.1), entry=Entry(dropout=0.1))


def earned(world, method, k, **how) -> float:
    """Test HR@k of a method after training on the world."""
    parts = LeaveOneOut().cut(world.dataset.interactions)
    training = Training(**{"epochs": 30, "patience": 6, "batch": 128, "optimiser": Adam(lr=3e-3, decay=0.97), **how})
    fitted = fit(method, world.dataset, train=parts.train, valid=parts.valid, training=training)
    return float((HR @ k)(rank(fitted.model, parts.test, history=method.history).ranks).mean())


def test_which_items_go_together():
    world = worlds.checkerboard()
    assert earned(world, zoo.POPULARITY, 10) < world.blind["HR@10"]
    assert world.blind["HR@10"] + 0.1 < earned(world, PLAIN, 10) <= world.ceiling["HR@10"] + 0.05


def test_what_follows_what():
    world = worlds.markov()
    assert earned(world, zoo.POPULARITY, 1) < 0.1
    for method in (zoo.MARKOV, zoo.MARKOV_DECAYED, PLAIN, replace(PLAIN, time=TIE())):
        assert earned(world, method, 1) > world.ceiling["HR@1"] - 0.06, method


def test_items_never_seen_in_training():
    """Text and picture together tell; ids and counts cannot."""
    world = worlds.cold_items()
    content = replace(PLAIN, modalities=("text", "image"))
    assert earned(world, content, 10) > 3 * world.blind["HR@10"]
    for method in (PLAIN, zoo.MARKOV, zoo.POPULARITY, zoo.REPEAT):
        assert earned(world, method, 10) < 1.3 * world.blind["HR@10"], method


def test_the_season_is_known_by_what_is_told_the_moment_and_not_otherwise():
    world = worlds.seasons()
    how = {"epochs": 8, "patience": 8, "batch": 16, "optimiser": Adam(lr=0.05)}
    asked, unasked = zoo.TMMSREC_PLUS_NOW, zoo.TMMSREC_PLUS
    blind = world.blind["HR@10"]
    assert earned(world, asked, 10, **how) > 0.9 * world.ceiling["HR@10"]
    for method in (replace(asked, season=None), unasked):
        assert abs(earned(world, method, 10, **how) - blind) < 0.08


def test_one_modality_knows_half_of_it():
    world = worlds.cold_items()
    both = earned(world, replace(PLAIN, modalities=("text", "image")), 10)
    for alone in ("text", "image"):
        assert earned(world, replace(PLAIN, modalities=(alone,)), 10) < both - 0.1


GAP = replace(PLAIN, backbone=Attention(dropout=0.0, norm="pre"), entry=Entry(dropout=0.0))
LONG = {"epochs": 110, "patience": 110, "optimiser": Adam(lr=2e-3, decay=0.99)}
SHORT = {**LONG, "epochs": 35, "patience": 35}  # enough where elapsed time need not be made out of dates


@pytest.fixture(scope="module")
def gap_world():
    return worlds.gap()


@pytest.fixture(scope="module")
def now_world():
    return worlds.gap(decided_by="now")


@pytest.mark.slow
@pytest.mark.parametrize(("time", "how"), [(TIE(), LONG), (Gap(to_now=False), SHORT), (Rotary(), SHORT)])
def test_a_time_aware_model_sees_the_gap(gap_world, time, how):
    """TIE shows the dates of the last two events, and the network learns to compare them; the others show what passed."""
    assert earned(gap_world, replace(GAP, time=time), 1, **how) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("time", "how"), [(TIE(query=True), LONG), (Gap(), SHORT), (Rotary(), SHORT)])
def test_a_model_that_is_told_the_moment_of_the_request_sees_the_gap_until_now(now_world, time, how):
    assert earned(now_world, replace(GAP, time=time), 1, **how) > 0.75


@pytest.mark.parametrize("time", [Nothing(), Learned()])
def test_a_time_blind_model_stays_at_one_half(gap_world, time):
    """It learns which pair is next (HR@2 near 1) and cannot know which of the two."""
    assert abs(earned(gap_world, replace(GAP, time=time), 1) - gap_world.blind["HR@1"]) < 0.05
    assert earned(gap_world, replace(GAP, time=time), 2) > 0.95


@pytest.mark.parametrize("time", [TIE(), Gap(to_now=False)])
def test_a_model_that_reads_the_past_alone_does_not_see_the_gap_until_now(now_world, time):
    assert abs(earned(now_world, replace(GAP, time=time), 1) - now_world.blind["HR@1"]) < 0.06
