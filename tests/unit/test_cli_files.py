"""What the verbs say of files and folders: options that can be followed, commands that a shell takes, folders that are none."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import small
from tests.unit.test_cli import call
from tmmsrec import zoo
from tmmsrec.cli import doctor, screen
from tmmsrec.data import store
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.study.audit import audit
from tmmsrec.study.run import Job, run


@pytest.fixture
def events(tmp_path: Path) -> Path:
    rows = [f"u {u},i{(u + k) % 6},{1_600_000_000 + 86_400 * k}" for u in range(8) for k in range(5)]
    (tmp_path / "events.csv").write_text("who,what,moment\n" + "\n".join(rows))
    return tmp_path / "events.csv"


COLUMNS = ("--user-column", "who", "--item-column", "what", "--time-column", "moment")
QUICK = ("--method", "sasrec", "--width", 12, "--epochs", 1, "--quiet")


def test_run_takes_the_columns_that_prepare_takes(events: Path, tmp_path: Path) -> None:
    refused = call("run", "--interactions", events, "--out", tmp_path / "r", code=2).stderr
    assert "say which column it is: --user-column NAME" in refused
    (tmp_path / "items.csv").write_text("code,title\n" + "\n".join(f"i{n},thing {n}" for n in range(6)))
    files = ("--interactions", events, "--items", tmp_path / "items.csv", "--item-id-column", "code")
    said = call("run", *files, *COLUMNS, "--out", tmp_path / "a shop", *QUICK).stdout
    ask = next(line for line in said.splitlines() if "recommend" in line and "--explain" in line).partition(": ")[2]
    assert shlex.split(ask)[1:] == ["recommend", f"{tmp_path}/a shop/bundle", "--user", "u 0", "--explain"]
    assert store.load(tmp_path / "a shop" / "data").features["text"].coverage == 1
    assert len(call(*shlex.split(ask)[1:]).stdout.splitlines()) > 5


def test_prepare_prints_commands_that_a_shell_takes(events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "program", lambda: "bin/tmmsrec")
    said = call("prepare", events, *COLUMNS, "--out", tmp_path / "a shop").stdout
    found = re.search(r"next: (.*), then (.*)\n", said)
    assert found is not None
    assert shlex.split(found[1]) == ["bin/tmmsrec", "extract", f"{tmp_path}/a shop"]
    assert shlex.split(found[2]) == ["bin/tmmsrec", "fit", "tmmsrec", f"{tmp_path}/a shop"]


def test_audit_advises_by_commands_that_a_shell_takes(dataset: Dataset, tmp_path: Path) -> None:
    held = store.save(dataset, tmp_path / "a shop")
    remedies = [finding.remedy for finding in audit(held, program="bin/tmmsrec")]
    assert f"make them with: bin/tmmsrec extract '{tmp_path}/a shop'; or find out" in remedies


def test_the_doctor_looks_at_the_folder_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "gflops", lambda: pytest.fail("the machine was measured"))
    said = call("doctor", tmp_path, code=2)
    assert said.stdout == ""
    assert said.stderr == f"error: {tmp_path} is no Dataset: it has no dataset.json\n"


@pytest.mark.parametrize(
    "verb",
    [("run", "--interactions", "events.csv"), ("prepare", "events.csv"), ("study", "leak", "data"), ("tune", "sasrec", "data")],
)
def test_a_file_where_the_results_should_go_is_told_and_left_alone(
    dataset: Dataset, events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    store.save(dataset, tmp_path / "data")
    (tmp_path / "notes").write_text("mine")
    refused = call(*verb, *(COLUMNS if "events.csv" in verb else ()), "--out", "notes", code=2).stderr
    assert "notes is a file" in refused
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_job_that_cannot_be_done_is_told_without_a_traceback(dataset: Dataset, tmp_path: Path) -> None:
    store.save(dataset, tmp_path / "data")
    asked = ("study", "leak", tmp_path / "data", "--out", tmp_path / "out", "--quick", "--training", "optimiser.lr=1e30")
    assert re.search(r"seed 0: FloatingPointError: .*loss", call(*asked, code=2).stderr.replace("\n", " "))


def test_prepare_does_not_take_the_place_of_features(events: Path, tmp_path: Path) -> None:
    """A Dataset without any is made anew."""
    prepare = ("prepare", events, *COLUMNS, "--out", tmp_path / "data")
    for _ in range(2):
        call(*prepare)
    rows = np.ones((store.load(tmp_path / "data").n_items + 1, 3), np.float32)
    rows[0] = 0
    store.save_features(tmp_path / "data", "text", Features(rows, rows.any(1)))
    assert "is a Dataset with text features, which would be lost; choose another folder" in call(*prepare, code=2).stderr
    assert store.load(tmp_path / "data").features["text"].coverage == 1


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    data = small()
    done, strange = (run(Job(method), data, tmp_path) for method in (zoo.POPULARITY, zoo.REPEAT))
    head = json.loads((strange.folder / "run.json").read_text())
    head["job"]["method"]["kind"] = "OfAnotherPackage"
    (strange.folder / "run.json").write_text(json.dumps(head))
    said = call("list", "runs", tmp_path).stdout
    assert re.search(rf"^{done.folder.name} +popularity ", said, re.MULTILINE)
    assert re.search(rf"^{strange.folder.name} +cannot be read here", said, re.MULTILINE)
