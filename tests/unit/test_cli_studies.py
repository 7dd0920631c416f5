"""The verbs study and report: files, words and refusals; and every study of the paper from one command on the demo shop."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from tests.conftest import small
from tests.unit.test_cli import call
from tmmsrec import studies, values, zoo
from tmmsrec.cli import screen
from tmmsrec.cli.look import method_name
from tmmsrec.data import store
from tmmsrec.loop import Progress
from tmmsrec.study.blocks import Table
from tmmsrec.study.run import read_run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small log, and a quick study of it."""
    folder = tmp_path_factory.mktemp("studies")
    store.save(small(users=40), folder / "data")
    done = call("study", "table6-fusion", "--data", folder / "data", "--quick", "--out", folder / "out", "--jobs", 2)
    assert "TMMSRec-linear" in done.output
    assert "--quick" in done.output
    return folder


def test_a_study_leaves_a_page_markdown_latex_csv_and_charts(place: Path) -> None:
    out = place / "out"
    for suffix in (".html", ".md", ".tex", ".csv"):
        assert "--quick" in (out / f"table6-fusion{suffix}").read_text()
    with (out / "table6-fusion.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} >= {"popularity", "TMMSRec-add", "TMMSRec-linear", "TMMSRec-mlp", "TMMSRec"}
    assert all(row["seed"] == "0" and float(row["NDCG@10"]) >= 0 for row in rows)
    charts = {file.name for file in (out / "figures").iterdir()}
    assert {"table6-fusion-hr10.svg", "table6-fusion-hr10.png", "table6-fusion-validation.svg"} <= charts


def test_a_report_says_again_what_the_study_said(place: Path, tmp_path: Path) -> None:
    page = tmp_path / "again.html"
    call("report", place / "out", "--to", page, "--to", tmp_path / "again.csv", "--to", tmp_path / "again.md")
    call("report", place / "out", "--to", tmp_path / "again.csv")  # what it wrote it may replace
    (tmp_path / "events.csv").write_text("user,item,time\n")
    refused = call("report", place / "out", "--to", tmp_path / "events.csv", code=2)
    assert "holds other data" in refused.stderr
    assert (tmp_path / "events.csv").read_text() == "user,item,time\n"
    studied = (place / "out" / "table6-fusion.html").read_text()
    assert page.read_text() == studied
    assert (tmp_path / "again.csv").read_text() == (place / "out" / "table6-fusion.csv").read_text()
    assert "TMMSRec-mlp" in call("report", place / "out", "--study", "table6-fusion").output


def test_a_report_of_runs_named_one_by_one(place: Path, tmp_path: Path) -> None:
    runs = sorted((place / "out" / "runs").iterdir())[:3]
    said = call("report", *runs, "--data", place / "data").output
    assert all(method_name(read_run(folder).about["job"]["method"]) in said for folder in runs)
    assert "--data DIR" in call("report", *runs, code=2).output


def test_a_report_of_a_study_under_way_says_what_is_missing(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call("study", "table6-fusion", place / "data", "--quick", "--out", out, "--method", "TMMSRec-add")
    kept = out / "studies" / "table6-fusion.json"
    kept.write_text(kept.read_text().replace('"methods":["TMMSRec-add"]', '"methods":[]'))
    said = call("report", out).output
    assert re.search(r"TMMSRec-mlp lacks one run", said)
    assert "TMMSRec-add" in said


def test_on_a_terminal_a_table_shows_how_the_study_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(screen, "console", lambda *, stderr=False: Console(file=shown, force_terminal=stderr, width=80))
    with screen.Screen() as listener:
        listener.standing(Table(["method", "seeds"], [["sasrec", "2"]]))
        listener.stage("2 of 3: sasrec, seed 1")
        listener.standing(Table(["method", "seeds"], [["sasrec", "3"]]))
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    assert re.search(r"sasrec +2.*2 of 3: sasrec, seed 1.*sasrec +3", plain, re.DOTALL)
    elsewhere = io.StringIO()
    monkeypatch.setattr(screen, "console", lambda *, stderr=False: Console(file=elsewhere, width=80))
    with screen.Screen() as listener:
        listener.standing(Table(["method", "seeds"], [["sasrec", "2"]]))
    assert elsewhere.getvalue() == ""


def test_a_long_training_says_where_it_is_when_nothing_was_said_for_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, now = io.StringIO(), [0.0]
    monkeypatch.setattr(screen, "console", lambda *, stderr=False: Console(file=shown, width=80))
    monkeypatch.setattr(screen, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with screen.Screen() as listener:
        listener.stage("sasrec")
        watch = listener.training("sasrec")
        assert watch is not None
        for now[0] in (10.0, 29.0, 31.0, 45.0, 62.0):
            watch(Progress(int(now[0]), 0.25, 1.5, None, 0.1, 1000.0, 90.0))
    lines = shown.getvalue().splitlines()
    assert [line[:24] for line in lines] == ["   0.0 s  sasrec", "sasrec: epoch 32 (25%), ", "sasrec: epoch 63 (25%), "]
    assert lines[1].endswith("at least 1:30 left")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["study", "table6-fusion"], "needs a Dataset folder"),
        (["study", "table6-fusoin", "data"], "did you mean 'table6-fusion'"),
        (["report", "{place}/out", "--study", "table6"], "holds no study 'table6'"),
        (["report", "{place}/data"], "holds no study"),
        (["report", "{place}/out", "--to", "x.docx"], ".docx"),
    ],
)
def test_refusals(place: Path, arguments: list[str], says: str) -> None:
    assert says in " ".join(call(*[a.format(place=place) for a in arguments], code=2).output.split())


@pytest.mark.slow
def test_every_study_from_one_command_on_the_demo_shop(tmp_path: Path) -> None:
    """All tables and figures in --quick, with a page each; what two of them share is done once."""
    width = ["--set", "width=12", "--training", "epochs=1"]
    call("demo", "--out", tmp_path / "demo", "--users", 120, "--items", 80, *width)
    out = tmp_path / "out"
    call("study", "all", tmp_path / "demo" / "data", "--quick", "--out", out, "--jobs", 2)
    for name in studies.names():
        page = (out / f"{name}.html").read_text()
        assert "<h2>" in page
        assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).lower().split()
    whole = tmp_path / "all.html"
    call("report", out, "--to", whole)
    assert whole.read_text().count('class="chapter"') == len(studies.names())


@pytest.mark.parametrize("name", zoo.methods())
def test_a_method_is_known_by_its_name_again(name):
    assert method_name(values.to_json(zoo.methods()[name])) == name


def test_a_method_without_a_name_is_told_by_the_likest_one():
    changed = values.change_all(zoo.SASREC, ["width=66", "loss=CrossEntropy"])
    assert method_name(values.to_json(changed)) == "sasrec width=66 loss=CrossEntropy"
    many = ["width=66", "loss=CrossEntropy", "backbone.dropout=0.2", "backbone.norm=pre", "backbone.heads=3"]
    told = method_name(values.to_json(values.change_all(zoo.methods()["tmmsrec-no-time"], many)))
    assert told.startswith("tmmsrec-no-time width=66 ")  # and not one of another backbone, which would be fewer changes
    fewer = replace(zoo.TMMSREC_PLUS, modalities=(), alike=None)
    assert method_name(values.to_json(fewer)) == "tmmsrec-plus modalities=none alike=null"
    assert method_name({"kind": "Unheard"}) == "Unheard"
