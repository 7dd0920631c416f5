"""Studies: the setting is chosen by validation alone, runs are done once, and the table says what it must."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import small
from tmmsrec import metrics, studies, zoo
from tmmsrec.data import store
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import PaperLeak
from tmmsrec.study import conduct as conducting
from tmmsrec.study import runs
from tmmsrec.study.asked import Asked, kept
from tmmsrec.study.blocks import Table
from tmmsrec.study.conduct import conduct
from tmmsrec.study.gather import Gathering, gather
from tmmsrec.study.looks import leak
from tmmsrec.study.published import printed
from tmmsrec.study.render.markdown import markdown
from tmmsrec.study.report import against_floor
from tmmsrec.study.results import document, every_run, of_runs, report
from tmmsrec.study.run import job_of, read_run, run
from tmmsrec.study.slices import kinds
from tmmsrec.study.spelling import signed
from tmmsrec.study.stages import Silent
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
    stood: list[Table] = []

    class Listener(Silent):
        def stage(self, text):
            told.append(text)

        def standing(self, table):
            stood.append(table)

    results = conduct(STUDY, dataset, folder / "runs", processes=2, listener=Listener())
    assert [len(table.rows) for table in stood] == [3] * len(told)
    assert list(stood[-1].rows[-1][:2]) == ["sasrec", "2 of 2"]
    return results, folder, dataset, told


def text_of(results):
    return markdown(document([results]))


def test_the_setting_with_the_best_validation_is_run_with_every_seed(done):
    results, folder, _, told = done
    assert list(results.runs) == ["popularity", "repeat", "sasrec"]
    best = int(np.argmax(results.tried["sasrec"]))
    assert results.chosen["sasrec"].changes == GRID[best]
    assert [run.job.seed for run in results.runs["sasrec"]] == [0, 1]
    assert all(run.job.training.optimiser.lr == (0.0001, 0.01)[best] for run in results.runs["sasrec"])
    assert len(results.runs["repeat"]) == 1  # no luck in counting
    assert len(list((folder / "runs").glob("*/run.json"))) == 2 + 2 + 1
    assert len(told) == 4 + 4  # the settings, then the test of what was chosen and of the second seed
    by_test = [run.about["fit"]["best"] for run in results.runs["sasrec"]]
    assert by_test[0] == max(results.tried["sasrec"])


def test_the_test_part_is_opened_for_what_was_chosen_only(done):
    """While settings are chosen nothing of the test part is ranked, kept or told."""
    results, folder, _, told = done
    tested = {file.parent.name: "result" in json.loads(file.read_text()) for file in (folder / "runs").glob("*/run.json")}
    assert sum(tested.values()) == 2 + 2
    assert results.needless == 0
    (closed,) = [name for name, yes in tested.items() if not yes]
    assert read_run(folder / "runs" / closed).job.training.optimiser.lr != results.chosen["sasrec"].training.optimiser.lr
    assert not (folder / "runs" / closed / "ranks.parquet").exists()
    assert not any("HR" in line for line in told[:4])
    with pytest.raises(DataProblem, match="has not opened the test part"):
        read_run(folder / "runs" / closed).ranks  # noqa: B018


def test_a_run_that_is_tested_later_has_the_ranks_of_one_that_was_tested_at_once(done, tmp_path):
    results, _, dataset, _ = done
    for straight in (results.runs["sasrec"][0], results.runs["repeat"][0]):
        assert not run(straight.job, dataset, tmp_path, test=False).tested
        later = run(straight.job, dataset, tmp_path)
        assert later.tested
        np.testing.assert_array_equal(later.ranks, straight.ranks)
        at_once = run(straight.job, dataset, tmp_path / "at once")
        np.testing.assert_array_equal(at_once.ranks, straight.ranks)


def test_what_was_done_is_not_done_again(done, monkeypatch):
    results, folder, dataset, _ = done

    def never(*_):
        raise AssertionError("a run was done again")

    monkeypatch.setattr(conducting, "_do", never)
    again = conduct(STUDY, dataset, folder / "runs")
    assert [r.folder for r in again.runs["sasrec"]] == [r.folder for r in results.runs["sasrec"]]


def test_the_table_has_means_over_seeds_the_floors_and_corrected_tests(done):
    results = done[0]
    told = report(results)
    found = {row.name: row for row in told.rows}
    ndcg = metrics.parse("NDCG@10")
    by_hand = np.mean([ndcg(run.ranks).mean() for run in results.runs["sasrec"]])
    assert found["sasrec"].means["NDCG@10"] == pytest.approx(by_hand)
    assert found["popularity"].floor
    assert not found["sasrec"].floor
    best = max(("popularity", "repeat"), key=lambda n: found[n].means["NDCG@10"])
    (against,) = against_floor(told).values()
    assert against.found.difference == pytest.approx(by_hand - found[best].means["NDCG@10"])
    assert against.improvement == pytest.approx(against.found.difference / found[best].means["NDCG@10"])
    text = text_of(results)
    assert all(f"| {name} |" in text for name in results.runs)
    assert "2 settings" in text
    assert "lr=0." in text
    assert "50 users" in text


def test_the_four_kinds_of_target_add_up_to_the_whole(done):
    results = done[0]
    one = results.runs["sasrec"][0]
    names, which = kinds(one.table)
    again, cold = one.table["repeat"].to_pylist(), one.table["cold"].to_pylist()
    said = {
        (True, False): "had before",
        (True, True): "had before, in no training part",
        (False, False): "new to the user",
        (False, True): "new, in no training part",
    }
    by_hand = [said[pair] for pair in zip(again, cold, strict=True)]
    assert [names[k] for k in which] == by_hand
    text = text_of(results)
    users = which == 0
    hits = np.mean([(run.ranks[users] < 10).mean() for run in results.runs["sasrec"]])
    assert f"had before ({users.sum()} users)" in text
    assert any(line.startswith(f"| sasrec | {hits:.3f} [") for line in text.splitlines())


def test_a_study_that_is_under_way_is_told_as_far_as_it_is(done, tmp_path):
    results, folder, dataset, _ = done
    whole = gather(STUDY, dataset, folder / "runs")
    assert (whole.missing, list(whole.runs)) == ({}, list(results.runs))
    more = gather(replace(STUDY, seeds=3), dataset, folder / "runs")
    assert (more.missing, len(more.runs["sasrec"])) == ({"sasrec": 1}, 2)
    nothing = gather(STUDY, dataset, tmp_path)
    assert not nothing.runs
    assert nothing.missing["sasrec"] == 2 + 1


def test_a_run_is_read_once_unless_its_file_has_changed(done, tmp_path, monkeypatch):
    results, folder, dataset, _ = done
    shutil.copytree(folder / "runs", tmp_path / "runs")
    read = []
    monkeypatch.setattr(runs, "read_run", lambda folder: read.append(folder.name) or read_run(folder))
    gathering = Gathering(STUDY, dataset, runs.Runs(tmp_path / "runs"))
    for _ in range(2):
        assert gathering.now().tried == results.tried
    assert sorted(read) == sorted(path.name for path in (folder / "runs").iterdir())
    changed = tmp_path / "runs" / results.runs["repeat"][0].folder.name
    about = json.loads((changed / "run.json").read_text())
    del about["result"]
    store.atomic_text(changed / "run.json", json.dumps(about))
    read.clear()
    assert gathering.now().missing == {"repeat": 1}
    assert read == [changed.name]
    (changed / "run.json").unlink()
    assert gathering.now().tried["repeat"] == []


def test_what_was_asked_is_kept_and_read(tmp_path):
    asked = Asked("table6-fusion", ("shop",), seeds=2, methods=("TMMSRec",), training=("epochs=2",), quick=True)
    asked.keep(tmp_path)
    assert kept(tmp_path) == [asked]
    study = asked.of(studies.named(asked.name))
    assert (study.seeds, set(study.entrants) - {"TMMSRec"}) == (2, set(zoo.FLOORS))
    with pytest.raises(DataProblem, match="holds no study"):
        kept(tmp_path / "elsewhere")


def test_runs_named_one_by_one_are_grouped_by_all_but_their_seed(done, tmp_path):
    results, _, dataset, _ = done
    runs = [run for of in results.runs.values() for run in of]
    other = run(replace(runs[-1].job, training=replace(runs[-1].job.training, epochs=1)), dataset, tmp_path)
    named = [("sasrec" if r.about["parameters"] else r.job.method.source, r) for r in [*runs, other]]
    found = of_runs(named, dataset)
    assert [len(of) for name, of in found.runs.items() if name.startswith("sasrec")] == [2, 1]
    assert report(found).seeds == 2
    with pytest.raises(DataProblem, match="was not trained on"):
        of_runs(named, small(users=20))


def test_every_run_is_a_line_of_csv_from_which_it_can_be_done_again(done):
    results = done[0]
    rows = list(csv.DictReader(io.StringIO(every_run([results]))))
    assert len(rows) == sum(len(runs) for runs in results.runs.values())
    runs = [(name, run) for name, runs in results.runs.items() for run in runs]
    for row, (name, one) in zip(rows, runs, strict=True):
        assert (row["method"], row["run"]) == (name, one.folder.name)
        assert float(row["NDCG@10"]) == one.about["result"]["NDCG@10"]
        assert job_of(json.loads(row["job"])).key(results.dataset) == one.folder.name
        assert row["torch"] == one.about["versions"]["torch"]


def test_the_papers_numbers_stand_beside_ours_on_its_data_only(done):
    results = done[0]
    named = replace(results, study=replace(results.study, printed={"sasrec": "Table 3/SASRec"}))
    assert "paper's" not in text_of(named)
    assert report(named).printed == {}
    log = Interactions.of(np.arange(1663) % 273, np.ones(1663, int), np.arange(1663))
    same_size = Dataset.in_memory("All_Beauty", log, 800, {}, None)
    theirs = replace(named, dataset=same_size)
    assert report(theirs).printed == {"sasrec": {"HR@10": 0.3553, "NDCG@10": 0.2646}}
    row = next(line for line in text_of(theirs).splitlines() if line.startswith("| sasrec"))
    assert "| 0.3553 | 0.2646 |" in row
    seen_left_out = replace(theirs, study=replace(theirs.study, exclude_seen=True))
    assert report(seen_left_out).printed == {}


def test_a_job_that_fails_says_why(done, tmp_path):
    _, _, dataset, _ = done
    wrong = Study("Wrong", {"sasrec": Entrant(replace(LITTLE, backbone=replace(LITTLE.backbone, heads=5)))})
    with pytest.raises(RuntimeError, match=r"sasrec, seed 0: .*5 heads do not divide the width 12"):
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
    assert set(study.printed) <= set(study.entrants)
    for row in study.printed.values():
        assert set(printed("All_Beauty", row)) == {"HR@10", "NDCG@10"}, row
    assert not study.subject or study.subject in study.entrants
    assert all(set(sweep.steps) <= set(study.entrants) for sweep in study.sweeps)
    assert all(len({*pair} & {*study.entrants}) == 2 for pair in study.parts.values())
    assert study.entrants or study.more is not None
    with pytest.raises(ValueProblem, match="did you mean"):
        studies.named(name + "x")


def test_a_run_serves_every_table_that_holds_it():
    """The same entrant in two studies is the same job."""
    tables = {name: studies.named(name).entrants for name in studies.names()}
    assert tables["table3-overall"]["TMMSRec"] == tables["table6-fusion"]["TMMSRec"] == tables["every-method"]["tmmsrec"]
    assert tables["table4-modalities"]["w/ ID&V&T"] == tables["table5-positions"]["TMMSRec-NP"]
    assert tables["figure7-sensitivity"]["2 blocks"] == tables["figure7-sensitivity"]["width 126"]
    assert tables["figure6-backbones"]["GRU4Rec"] == tables["every-method"]["gru4rec"]


@pytest.mark.parametrize("name", studies.names())
def test_a_quick_study_is_small_and_says_so(name):
    study, quick = studies.named(name), studies.named(name).quick()
    assert "--quick" in quick.title
    assert (quick.seeds, quick.printed) == (1, {})
    assert list(quick.entrants) == list(study.entrants)
    for entrant in quick.entrants.values():
        (setting,) = entrant.settings()
        assert setting.training.epochs <= 3
        assert getattr(setting.method, "width", 0) <= 24


def test_quick_studies_of_all_tables_run_on_a_small_shop(tmp_path):
    """Every figure's and table's rows train and come into the table; what two tables share is done once."""
    data = store.save(small(users=40), tmp_path / "data")
    for name in ("table6-fusion", "figure5-ensembles"):
        quick = studies.named(name).quick()
        done = conduct(quick, data, tmp_path / "runs", processes=2)
        assert list(done.runs) == list(quick.entrants)
        assert all(f"| {row.replace('&', '&amp;')} |" in text_of(done) for row in quick.entrants)
    floors, fusion, ensembles, shared = len(zoo.FLOORS), 4, 5, 1
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == floors + fusion + ensembles - shared


def test_the_worth_of_a_look_at_the_test_items_is_the_difference_seed_by_seed(done):
    _, folder, dataset, _ = done
    study = replace(STUDY, beside=PaperLeak(), more=leak.sections)
    results = conduct(study, dataset, folder / "runs", processes=2)
    assert results.beside.study.split == PaperLeak()
    honest, leaky = results.runs["sasrec"], results.beside.runs["sasrec"]
    assert [r.job.seed for r in honest] == [r.job.seed for r in leaky] == [0, 1]
    ndcg = metrics.parse("NDCG@10")
    by_hand = np.mean([ndcg(a.ranks).mean() - ndcg(b.ranks).mean() for a, b in zip(leaky, honest, strict=True)])
    (section,) = leak.sections(results)
    line = next(row for row in section.blocks[1].rows if row[0] == "sasrec, NDCG@10")
    assert line[3].text == signed(by_hand)
    assert "worth" in text_of(results)
    assert leak.sections(replace(results, beside=None)) == []
