"""Studies: the setting is chosen by validation alone, runs are done once, and the table says what it must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import small
from tmmsrec import metrics, studies, zoo
from tmmsrec.data import store
from tmmsrec.data.problems import DataProblem
from tmmsrec.study import conduct as conducting
from tmmsrec.study.conduct import conduct
from tmmsrec.study.results import lines, markdown
from tmmsrec.study.study import Entrant, Study
from tmmsrec.training import Training
from tmmsrec.values import ValueProblem

LITTLE = replace(zoo.SASREC, width=12, length=10)
GRID = (("training.optimiser.lr=0.0001",), ("training.optimiser.lr=0.01", "entry.dropout=0.1"))
STUDY = Study(
    "Small",
    {
        "popularity": Entrant(zoo.POPULARITY),
        "repeat": Entrant(zoo.REPEAT),
        "sasrec": Entrant(LITTLE, Training(epochs=4, batch=16), GRID),
        "tmmsrec": Entrant(replace(zoo.TMMSREC, width=12), Training(epochs=2, batch=16)),
    },
    seeds=2,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    data = small(users=50)
    data = replace(data, catalog=replace(data.catalog, features={}))  # so that TMMSRec has to stay away
    dataset = store.save(data, folder / "data")
    told: list[str] = []

    class Listener:
        def stage(self, text):
            told.append(text)

    results = conduct(STUDY, dataset, folder / "runs", processes=2, listener=Listener())
    return results, folder, dataset, told


def test_the_setting_with_the_best_validation_is_run_with_every_seed(done):
    results, folder, _, told = done
    assert list(results.runs) == ["popularity", "repeat", "sasrec"]
    best = int(np.argmax(results.tried["sasrec"]))
    assert results.chosen["sasrec"].changes == GRID[best]
    assert [run.job.seed for run in results.runs["sasrec"]] == [0, 1]
    assert all(run.job.training.optimiser.lr == (0.0001, 0.01)[best] for run in results.runs["sasrec"])
    assert len(results.runs["repeat"]) == 1  # no luck in counting
    assert len(told) == len(list((folder / "runs").glob("*/run.json"))) == 2 + 2 + 1
    by_test = [run.about["fit"]["best"] for run in results.runs["sasrec"]]
    assert by_test[0] == max(results.tried["sasrec"])


def test_what_was_done_is_not_done_again(done, monkeypatch):
    results, folder, dataset, _ = done

    def never(*_):
        raise AssertionError("a run was done again")

    monkeypatch.setattr(conducting, "_do", never)
    again = conduct(STUDY, dataset, folder / "runs")
    assert [r.folder for r in again.runs["sasrec"]] == [r.folder for r in results.runs["sasrec"]]


def test_the_table_has_means_over_seeds_the_floors_and_corrected_tests(done):
    results = done[0]
    found = {line.name: line for line in lines(results)}
    ndcg = metrics.parse("NDCG@10")
    by_hand = np.mean([ndcg(run.ranks).mean() for run in results.runs["sasrec"]])
    assert found["sasrec"].means["NDCG@10"] == pytest.approx(by_hand)
    assert found["popularity"].floor
    assert not found["sasrec"].floor
    best = max(("popularity", "repeat"), key=lambda n: found[n].means["NDCG@10"])
    difference = by_hand - found[best].means["NDCG@10"]
    assert found["sasrec"].against.difference == pytest.approx(difference)
    text = markdown(results)
    assert all(f"| {name} |" in text for name in results.runs)
    assert "2 settings" in text
    assert "lr=0." in text
    assert "50 users" in text


def test_a_job_that_fails_says_why(done, tmp_path):
    _, _, dataset, _ = done
    wrong = Study("Wrong", {"sasrec": Entrant(replace(LITTLE, backbone=replace(LITTLE.backbone, heads=5)))})
    with pytest.raises(RuntimeError, match=r"sasrec seed 0: .*5 heads do not divide the width 12"):
        conduct(wrong, dataset, tmp_path)


def test_refusals():
    with pytest.raises(DataProblem, match="Dataset folder"):
        conduct(STUDY, small(), "nowhere")
    with pytest.raises(ValueProblem, match="at least one seed"):
        replace(STUDY, seeds=0)
    with pytest.raises(ValueProblem, match=r"did you mean 'sasrec'"):
        STUDY.only(["sasrek"])
    with pytest.raises(ValueProblem, match="no field 'lr'"):
        Entrant(LITTLE, grid=(("training.lr=1",),)).settings()
    assert list(STUDY.only(["sasrec"]).entrants) == ["popularity", "repeat", "sasrec", "tmmsrec"]


@pytest.mark.parametrize("name", studies.names())
def test_every_study_can_be_read_and_its_settings_made(name):
    study = studies.named(name)
    assert study.title
    assert all(entrant.settings() for entrant in study.entrants.values())
    with pytest.raises(ValueProblem, match="did you mean"):
        studies.named(name + "x")
