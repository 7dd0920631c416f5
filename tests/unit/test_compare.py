"""One run against another: the differences are those of the users, and unlike questions are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import small
from tmmsrec import metrics, significance, zoo
from tmmsrec.cli import app
from tmmsrec.data import store
from tmmsrec.data.problems import DataProblem
from tmmsrec.study.compare import compare
from tmmsrec.study.report import Report
from tmmsrec.study.run import Job, run
from tmmsrec.study.slices import groups

NDCG = metrics.parse("NDCG@10")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    data = store.save(small(users=80), folder / "data")
    runs = {n: run(Job(getattr(zoo, n)), data, folder / "runs") for n in ("POPULARITY", "REPEAT", "MARKOV")}
    return folder, data, runs


def test_whole_groups_and_users_are_those_of_the_ranks(place):
    _, _, runs = place
    one, other = runs["REPEAT"], runs["POPULARITY"]
    found = compare(one, other, most=4)
    a, b = NDCG(one.ranks), NDCG(other.ranks)
    assert found.means["NDCG@10"] == (pytest.approx(a.mean()), pytest.approx(b.mean()))
    assert found.whole["NDCG@10"].difference == pytest.approx((a - b).mean())
    assert found.whole["MRR"].difference == pytest.approx((1 / (one.ranks + 1) - 1 / (other.ranks + 1)).mean())
    for by in groups(one.table):
        own = [g for g in found.groups if g.by == by]
        assert sum(g.compared.users for g in own) == len(a)
        total = sum(g.compared.difference * g.compared.users for g in own)
        assert total / len(a) == pytest.approx((a - b).mean())
    best = np.argsort(-(a - b), kind="stable")[:4]
    assert [m.gain for m in found.gained] == pytest.approx([x for x in (a - b)[best] if x > 0])
    assert [m.gain for m in found.lost] == pytest.approx([x for x in np.sort(a - b)[:4] if x < 0])
    for move in (*found.gained, *found.lost):
        at = one.table["user"].to_numpy().tolist().index(move.user)
        assert move.ranks == (one.ranks[at], other.ranks[at])
        assert move.target == one.table["target"][at].as_py()


def test_turned_round_it_says_the_opposite(place):
    _, _, runs = place
    there, back = compare(runs["MARKOV"], runs["REPEAT"]), compare(runs["REPEAT"], runs["MARKOV"])
    for name, one in there.whole.items():
        assert one.difference == pytest.approx(-back.whole[name].difference)
        assert (one.wins, one.losses) == (back.whole[name].losses, back.whole[name].wins)
    assert [m.user for m in there.gained] == [m.user for m in back.lost]


def test_a_run_against_itself_differs_nowhere(place):
    _, _, runs = place
    found = compare(runs["MARKOV"], runs["MARKOV"])
    assert not found.gained
    assert not found.lost
    assert all(one.difference == 0 and one.p == 1 for one in found.whole.values())


def test_p_of_the_groups_is_corrected(place):
    _, _, runs = place
    found = compare(runs["REPEAT"], runs["POPULARITY"])
    a, b = NDCG(runs["REPEAT"].ranks), NDCG(runs["POPULARITY"].ranks)
    plain = []
    for names, which in groups(runs["REPEAT"].table).values():
        plain += [significance.paired_test(a[which == g], b[which == g]).p for g in range(len(names)) if (which == g).any()]
    assert [g.compared.p for g in found.groups] == pytest.approx(significance.holm(plain).tolist())


def test_runs_that_were_not_asked_the_same_are_refused(place, tmp_path):
    _, data, runs = place
    seen = run(Job(zoo.MARKOV, exclude_seen=True), data, tmp_path)
    with pytest.raises(DataProblem, match="seen items: kept against left out"):
        compare(runs["MARKOV"], seen)
    other = run(Job(zoo.MARKOV), small(users=70), tmp_path)
    with pytest.raises(DataProblem, match=r"Users 80, .* against Users 70"):
        compare(runs["MARKOV"], other)
    shuffled = replace(runs["REPEAT"])
    object.__setattr__(shuffled, "table", runs["REPEAT"].table.take(list(range(len(runs["REPEAT"].ranks)))[::-1]))
    with pytest.raises(DataProblem, match=r"test targets: set [0-9a-f]+ against set"):
        compare(runs["MARKOV"], shuffled)


def test_other_targets_of_the_same_users_are_refused(place, tmp_path):
    """Equal times in another order: as many users, items and events, and other targets."""
    _, data, runs = place
    log = data.interactions
    turned = log.items.copy()
    last = log.offsets[1:] - 1
    turned[last], turned[last - 1] = log.items[last - 1], log.items[last]
    other = run(Job(zoo.MARKOV), replace(data, interactions=replace(log, items=turned)), tmp_path)
    with pytest.raises(DataProblem, match=r"test targets: set .*, as with another order of equal times"):
        compare(runs["MARKOV"], other)
    with pytest.raises(ValueError, match="'one' and 'other' were not asked the same"):
        Report(data, {"one": [runs["MARKOV"]], "other": [other]})


def test_the_verb_names_users_and_items_by_their_own_ids(place):
    folder, data, runs = place
    ask = ["compare", str(runs["REPEAT"].folder), str(runs["POPULARITY"].folder), "--users", "2"]
    told = CliRunner().invoke(app, [*ask, "--data", str(folder / "data")], env={"COLUMNS": "200"})
    assert told.exit_code == 0, told.output
    assert "repeat, seed 0" in told.output
    move = compare(runs["REPEAT"], runs["POPULARITY"], most=2).gained[0]
    assert str(data.catalog.ids[move.target]) in told.output
    assert "Holm" in told.output
    store.save(small(users=70), folder / "other")
    refused = CliRunner().invoke(app, [*ask, "--data", str(folder / "other")])
    assert refused.exit_code == 2
    assert "another fingerprint" in refused.output
