"""The command line on a tiny shop: what it writes, that it goes on where it was, and what it says when something is wrong."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.conftest import shrunk, small
from tmmsrec import zoo
from tmmsrec.cli import app
from tmmsrec.cli.recommend import conditions
from tmmsrec.data import store
from tmmsrec.data.ids import Ids
from tmmsrec.recommender import Recommender
from tmmsrec.study.run import read_run

FLOORS = len(zoo.FLOORS)
SMALL = ["--set", "width=12", "--training", "epochs=2", "--training", "batch=64"]


def call(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


def bundled(folder: Path) -> str:
    """Which method the bundle of a path holds."""
    name: str = json.loads((folder / "bundle" / "bundle.json").read_text(encoding="utf-8"))["about"]["name"]
    return name


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo at its smallest."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    call("demo", "--out", folder, "--users", 60, "--items", 60, *SMALL)
    return folder


def stamps(folder: Path) -> dict[str, int]:
    """When each file of runs, data and bundle was written."""
    return {
        str(p): p.stat().st_mtime_ns
        for part in ("runs", "data", "bundle", "raw")
        for p in (folder / part).rglob("*")
        if p.is_file()
    }


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from tmmsrec.cli import app; "
        "r = CliRunner().invoke(app, ['--help']); assert r.exit_code == 0 and 'demo' in r.output; "
        "r = CliRunner().invoke(app, ['fit', '--help']); assert r.exit_code == 0 and '--set' in r.output; "
        "print([m for m in ('torch', 'sklearn', 'matplotlib', 'ibis', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_verb_has_help() -> None:
    for verb in ("run", "prepare", "extract", "fit", "evaluate", "recommend", "forget", "list", "show", "doctor", "demo"):
        assert "Usage" in call(verb, "--help").output


def test_demo_leaves_everything_and_says_what(out: Path) -> None:
    said = call("demo", "--out", out, "--users", 60, "--items", 60, *SMALL).stdout
    for name in (
        "popularity",
        "markov-decayed",
        "markov-tuned",
        "sasrec",
        "tmmsrec-no-time",
        "tmmsrec",
        "tmmsrec-plus",
        "tmmsrec-plus-now",
        "tmmsrec-plus-sasrec",
        "best possible",
        "recommends",
        "report.html",
    ):
        assert name in said
    for file in (
        "report.html",
        "report.md",
        "bundle/bundle.json",
        "data/dataset.json",
        "raw/images.zip",
        "data/encoders/text/encoder.json",
    ):
        assert (out / file).is_file(), file
    assert len(list((out / "runs").glob("*/run.json"))) == FLOORS + 6
    assert f"The bundle holds {bundled(out)}:" in said
    assert f"{bundled(out)} recommends" in said


def test_a_second_time_nothing_is_done_again(out: Path) -> None:
    before = stamps(out)
    again = call("demo", "--out", out, "--users", 60, "--items", 60, *SMALL)
    assert stamps(out) == before
    assert again.stderr.count("as before") == 4 + FLOORS + 6  # shop, data, two features; floors and trained methods


def test_run_does_only_what_changed(out: Path, tmp_path: Path) -> None:
    raw = out / "raw"
    files = ["--interactions", raw / "interactions.csv", "--items", raw / "items.csv", "--images", raw / "images.zip"]
    common = ["run", *files, "--out", tmp_path / "r", "--width", 12, "--epochs", 1]
    call(*common, "--method", "sasrec")
    before = stamps(tmp_path / "r")
    more = call(*common, "--method", "sasrec", "--method", "tmmsrec")
    assert more.stderr.count("as before") == 3 + FLOORS + 1  # data, two features; floors and SASRec
    assert "tmmsrec\n" in more.stderr
    kept = stamps(tmp_path / "r")
    assert {k: v for k, v in before.items() if "/bundle/" not in k}.items() <= kept.items()
    # What does better in validation is bundled; TMMSRec reads all three.
    shares = json.loads(call("recommend", tmp_path / "r" / "bundle", "--user", "u0001", "-k", 1, "--json").stdout)[0]["shares"]
    assert set(shares) == {"sasrec": {"id"}, "tmmsrec": {"id", "text", "image"}}[bundled(tmp_path / "r")]


def test_changed_events_are_prepared_again(out: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(out / "raw", raw)
    common = [
        "run",
        "--interactions",
        raw / "interactions.csv",
        "--out",
        tmp_path / "r",
        "--width",
        12,
        "--epochs",
        1,
        "--method",
        "sasrec",
    ]
    first = call(*common)
    assert "No text features" in first.stderr
    assert "No image features" in first.stderr
    events = (raw / "interactions.csv").read_text().splitlines(keepends=True)
    (raw / "interactions.csv").write_text("".join(events[:-1]))
    call(*common)
    assert store.load(tmp_path / "r" / "data").report["events"]["read"] == len(events) - 2
    assert len(list((tmp_path / "r" / "runs").glob("*/run.json"))) == 2 * (FLOORS + 1)


def test_without_texts_and_pictures_tmmsrec_goes_without_and_says_so(out: Path, tmp_path: Path) -> None:
    said = call(
        "run",
        "--interactions",
        out / "raw" / "interactions.csv",
        "--out",
        tmp_path / "r",
        "--width",
        12,
        "--epochs",
        1,
        "--method",
        "tmmsrec",
    )
    assert "tmmsrec reads id only" in said.stdout
    assert "tmmsrec reads id only" in (tmp_path / "r" / "report.md").read_text()


def test_prepare_and_extract(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMMSREC_CACHE", str(tmp_path / "cache"))
    raw = out / "raw"
    files = [raw / "interactions.csv", "--items", raw / "items.csv", "--images", raw / "images.zip"]
    said = call("prepare", *files, "--out", tmp_path / "d", "--min-events", 3, "--name", "tiny", "--ties", "hash").stdout
    assert "#Interactions" in said
    assert "seconds since 1970" in said
    dataset = store.load(tmp_path / "d")
    assert (dataset.name, dataset.n_users) == ("tiny", 60)
    said = call("extract", tmp_path / "d", "--width", 16, "--image", "none").stdout
    assert "1 of 2 modalities" in said
    features = store.load(tmp_path / "d").features
    assert list(features) == ["text"]
    assert features["text"].width <= 16
    assert (tmp_path / "d" / "encoders" / "text" / "encoder.json").exists()


def test_a_person_chooses_what_is_read_of_an_item(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "data", tmp_path / "d")
    read = ["--image", "none", "--encoder", "text.columns=brand", "--encoder", "text.grams=char"]
    call("extract", tmp_path / "d", *read)
    dataset = store.load(tmp_path / "d")
    rows, brands = dataset.features["text"].rows[1:], dataset.catalog.fields["brand"].to_numpy()
    assert ((rows @ rows.T > 0.999) == (brands[:, None] == brands)).all()  # of one brand: the same row, and no other


def test_a_broken_picture_is_named(out: Path, tmp_path: Path) -> None:
    with (out / "raw" / "items.csv").open() as opened:
        images = [row["image"] for row in csv.DictReader(opened)]
    folder = tmp_path / "pictures"
    folder.mkdir()
    shutil.unpack_archive(out / "raw" / "images.zip", folder)
    (folder / images[-1]).write_bytes(b"no picture")
    raw = out / "raw"
    call(
        "prepare",
        raw / "interactions.csv",
        "--items",
        raw / "items.csv",
        "--images",
        folder,
        "--out",
        tmp_path / "d",
        "--catalogue",
        "all",
    )
    said = call("extract", tmp_path / "d", "--text", "none", "--cache", tmp_path / "c").stdout
    assert f"no image for item {images[-1].removesuffix('.png')}" in said


def test_fit_goes_on_and_is_not_done_twice(out: Path, tmp_path: Path) -> None:
    common = ["fit", "tmmsrec", out / "data", "--set", "width=12", "--set", "time.dropout=.2", "--set", "loss=CrossEntropy"]
    common += ["--training", "epochs=2", "--runs", tmp_path / "runs", "--seed", 3]
    first = call(*common)
    assert "HR@10" in first.stdout
    assert "epoch 1, loss" in first.stderr
    assert first.stderr.index("memory: about ") < first.stderr.index("epoch 1, loss")
    folder = next((tmp_path / "runs").iterdir())
    method = read_run(folder).job.method
    assert method.time.dropout == 0.2  # type: ignore[attr-defined]
    assert method.width == 12  # type: ignore[attr-defined]
    written = (folder / "run.json").stat().st_mtime_ns
    again = call(*common, "--quiet")
    assert (folder / "run.json").stat().st_mtime_ns == written
    assert again.stderr == ""
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
    listed = call("list", "runs", tmp_path / "runs").stdout
    assert folder.name in listed


def test_evaluate_a_run_and_the_bundle_agree(out: Path) -> None:
    done = [p.parent for p in (out / "runs").glob("*/run.json")]
    of_bundle = json.loads((out / "bundle" / "bundle.json").read_text())["about"]["run"]
    run = out / "runs" / of_bundle
    assert run in done
    first = call("evaluate", run).stdout
    assert "cold" in first
    table = [line for line in first.splitlines() if "HR@10 " in line or "NDCG@10 " in line]
    bundled = call("evaluate", out / "bundle").stdout
    assert all(line in bundled for line in table)
    excluded = call("evaluate", run, out / "data", "--exclude-seen").stdout
    assert "seen items left out" in excluded
    call("evaluate", run, "--exclude-seen", code=2)
    assert "seen items kept" in call("evaluate", run, "--keep-seen").stdout
    assert "seen items left out" in call("evaluate", out / "bundle", "--exclude-seen").stdout


def test_evaluate_has_a_floor_choose_as_it_is_asked(tmp_path: Path) -> None:
    store.save(small(users=80, items=15, seed=3), tmp_path / "data")

    def fitted(*words: str) -> Path:
        call("fit", "markov-tuned", tmp_path / "data", "--runs", tmp_path / "-".join(["runs", *words]), *words)
        (run,) = tmp_path.joinpath("-".join(["runs", *words])).rglob("run.json")
        return run.parent

    kept, left_out = fitted(), fitted("--exclude-seen")
    metrics = [
        call("evaluate", run, *rest).stdout.splitlines()[:12]
        for run, rest in ((left_out, ()), (kept, (tmp_path / "data", "--exclude-seen")), (kept, ()))
    ]
    assert metrics[0] == metrics[1] != metrics[2]


def test_evaluate_leaves_out_users_whom_the_method_has_no_row_for(tmp_path: Path) -> None:
    data, method = small(), shrunk(zoo.VBPR)
    held = Recommender(method, method.build(data), data)
    held.add_events([(999, item, 1_500_000_000 + item) for item in (1, 2, 3)])
    held.save(tmp_path / "bundle")
    told = call("evaluate", tmp_path / "bundle").stdout
    assert "1 users who came after the training are left out" in told
    assert f"{data.n_users:,} test users" in told
    store.save(replace(data, users=Ids(pa.array(np.arange(data.n_users) + 5), first=0, what="user")), tmp_path / "others")
    assert "other users than the bundle" in call("evaluate", tmp_path / "bundle", tmp_path / "others", code=2).stderr


def test_who_only_asks_does_not_wait_for_what_only_training_needs(out: Path) -> None:
    asks = f"""
import sys
from tmmsrec.cli import app
try:
    app(["recommend", {str(out / "bundle")!r}, "--user", "u0001"])
except SystemExit as ended:
    assert not ended.code
dear = ("torch._dynamo", "sklearn", "scipy.stats", "skimage", "ibis", "duckdb", "pandas", "matplotlib", "transformers")
print("imported:", *[name for name in dear if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported:"


def test_preparing_and_showing_a_log_need_no_torch(tmp_path: Path) -> None:
    events = tmp_path / "events.csv"
    events.write_text("user,item,time\n" + "".join(f"u{u},i{n},2024-01-{n + 1:02}\n" for u in range(4) for n in range(6)))
    for words in (["prepare", events, "--out", tmp_path / "data"], ["show", tmp_path / "data"]):
        code = f"""
import sys
from tmmsrec.cli import app
try:
    app({[str(w) for w in words]!r})
except SystemExit as ended:
    assert not ended.code
print("torch" in sys.modules)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False"


def test_recommend_in_every_way(out: Path) -> None:
    bundle = out / "bundle"
    given = json.loads(call("recommend", bundle, "--user", "u0001", "-k", 5, "--json").stdout)
    assert [g["rank"] for g in given] == [1, 2, 3, 4, 5]
    for one in given:
        assert sum(one["shares"].values()) == pytest.approx(one["score"], abs=1e-4)
    items = [g["item"] for g in given]
    without = json.loads(
        call("recommend", bundle, "--user", "u0001", "-k", 5, "--json", "--deny", items[0], "--deny", items[1]).stdout
    )
    assert [g["item"] for g in without][:3] == items[2:]
    only = json.loads(call("recommend", bundle, "--user", "u0001", "--json", "--allow", items[3]).stdout)
    assert [g["item"] for g in only] == [items[3]]
    strange = call("recommend", bundle, "--user", "u0001", "-k", 5, "--json", "--deny", "A9998", "--allow", items[3])
    assert [g["item"] for g in json.loads(strange.stdout)] == [items[3]]
    assert "A9998" in strange.stderr
    history = f"{items[0]}@2021-05-01,{items[1]}@1625000000"
    said = call("recommend", bundle, "--history", history, "--at", "2021-09-01", "-k", 3, "--explain").stdout
    assert "image" in said
    assert "most popular" in call("recommend", bundle, "--history", "").stdout
    pairs = json.dumps([[items[0], "2021-05-01"], [items[1], 1625000000]])
    assert call("recommend", bundle, "--history", pairs, "--at", "2021-09-01", "-k", 3, "--explain").stdout == said
    assert "history[1]" in call("recommend", bundle, "--history", f'[["{items[0]}", 5], "x"]', code=2).stderr
    assert "is no JSON" in call("recommend", bundle, "--history", "[A0001@2021-01-01", code=2).stderr


def test_only_items_whose_fields_are_so_and_those_alike(out: Path) -> None:
    bundle = out / "bundle"
    brand = json.loads(call("recommend", bundle, "--user", "u0001", "-k", 1, "--json").stdout)[0]["fields"]["brand"]
    asked = ["--where", f"brand={brand},Nobody", "--json"]
    found = json.loads(call("recommend", bundle, "--user", "u0001", *asked).stdout)
    assert {one["fields"]["brand"] for one in found} == {brand}
    near = json.loads(call("similar", bundle, found[0]["item"], "-k", 3, *asked).stdout)
    assert {one["fields"]["brand"] for one in near} == {brand}
    assert found[0]["item"] not in {one["item"] for one in near}
    assert "score" in call("similar", bundle, found[0]["item"], "--explain").stdout
    assert "No item is left" in call("similar", bundle, found[0]["item"], "--where", "brand=Nobody").stdout
    assert "write FIELD=VALUE" in call("similar", bundle, found[0]["item"], "--where", "brand", code=2).stderr
    assert "unknown item" in call("similar", bundle, "A9999", code=2).stderr


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("price=10..50", {"price": {"min": 10.0, "max": 50.0}}),
        ("price=..50", {"price": {"max": 50.0}}),
        ("price=10..", {"price": {"min": 10.0}}),
        ("title=to be.., or not", {"title": ["to be..", "or not"]}),
        (" brand = Fjell , Nordlys ", {"brand": ["Fjell", "Nordlys"]}),
    ],
)
def test_conditions_as_they_are_written(said: str, meant: dict[str, Any]) -> None:
    assert conditions([said]) == meant


def test_list_and_show(out: Path) -> None:
    methods = call("list").stdout
    assert "tmmsrec-no-time" in methods
    parts = call("list", "parts").stdout
    assert "CrossEntropy" in parts
    assert "TIE" in parts
    assert "fingerprint" in call("show", out / "data").stdout
    assert f'"kind": "{type(zoo.methods()[bundled(out)]).__name__}"' in call("show", out / "bundle").stdout
    assert "test users" in call("show", next((out / "runs").iterdir())).stdout
    assert "bundle" in call("show", out, code=2).stderr


def test_doctor(out: Path) -> None:
    said = call("doctor", out / "data").stdout
    assert "GFLOP/s" in said
    assert "is sound" in said


def test_doctor_names_every_extra_and_what_it_lacks(tmp_path: Path, monkeypatch) -> None:
    """The extras are those of the installed package's description, which is made of pyproject's."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = {**project["optional-dependencies"], "ann": ["numpy>=2"], "serve": ["numpy", "no.such-package[x]>=1"]}
    (tmp_path / "tmmsrec-1.dist-info").mkdir()
    lines = [f"Requires-Dist: {one}; extra == '{name}'" for name, packages in told.items() for one in packages]
    (tmp_path / "tmmsrec-1.dist-info" / "METADATA").write_text("\n".join(["Name: tmmsrec", "Version: 1", *lines, ""]))
    monkeypatch.syspath_prepend(tmp_path)
    said = call("doctor").stdout
    assert set(re.findall(r"extra \[(\w+)\]", said)) == set(project["optional-dependencies"]) - {"dev"}
    assert re.search(r"extra \[serve\] +lacks no\.such-package: pip install 'tmmsrec\[serve\]'", said)
    assert re.search(r"extra \[ann\] +present", said)


def wrong(out: Path, tmp_path: Path) -> dict[str, tuple[list[object], str]]:
    """What is asked -> what has to be said."""
    files = ["--interactions", out / "raw" / "interactions.csv", "--out", tmp_path / "r"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    return {
        "no file": (["prepare", tmp_path / "no.csv", "--out", tmp_path / "d"], "no.csv"),
        "column": (["prepare", out / "raw" / "interactions.csv", "--out", tmp_path / "d", "--user-column", "usr_id"], "user_id"),
        "word": (["prepare", out / "raw" / "interactions.csv", "--out", tmp_path / "d", "--ties", "coin"], "ties"),
        "method": (["fit", "tmmrec", out / "data"], "did you mean 'tmmsrec'"),
        "field": (["fit", "tmmsrec", out / "data", "--set", "widht=12"], "did you mean 'width'"),
        "part": (["fit", "tmmsrec", out / "data", "--set", "loss=CrosEntropy"], "did you mean 'CrossEntropy'"),
        "training": (["fit", "tmmsrec", out / "data", "--training", "epoch=3"], "did you mean 'epochs'"),
        "width": (["fit", "tmmsrec", out / "data", "--set", "width=128"], "128"),
        "no field": (["fit", "popularity", out / "data", "--set", "width=12"], "no field 'width'"),
        "dataset": (["fit", "tmmsrec", out / "raw"], "is no Dataset"),
        "run method": (["run", *files, "--method", "sasrek"], "did you mean 'sasrec'"),
        "run change": (["run", *files, "--set", "withd=3"], "did you mean 'width'"),
        "run encoder": (["run", *files, "--encoder", "text.gram=char"], "did you mean 'grams'"),
        "run folder": (["run", *files[:2], "--out", other], "holds something else"),
        "template": (["extract", out / "data", "--template", "plane"], "did you mean 'plain'"),
        "encoder": (["extract", out / "data", "--encoder", "txt.grams=char"], "names no encoder"),
        "encoder field": (["extract", out / "data", "--encoder", "text.gram=char"], "did you mean 'grams'"),
        "encoder left out": (["extract", out / "data", "--image", "none", "--encoder", "image.width=3"], "was left out"),
        "text field": (["extract", out / "data", "--encoder", "text.columns=titel"], "did you mean 'title'"),
        "user": (["recommend", out / "bundle", "--user", "u9999"], "unknown user"),
        "item": (["recommend", out / "bundle", "--history", "A0001@2021-01-01,Q1@2021-01-02"], "history[1]"),
        "time": (["recommend", out / "bundle", "--history", "A0001"], "history[0]"),
        "nobody": (["recommend", out / "bundle"], "--user 42"),
        "bundle": (["recommend", out / "runs", "--user", "u0001"], "is no bundle"),
        "evaluate": (["evaluate", out], "is no run"),
        "list": (["list", "method"], "did you mean 'methods'"),
        "runs": (["list", "runs", tmp_path], "no finished run"),
    }


def test_problems_are_one_message_and_status_2(out: Path, tmp_path: Path) -> None:
    data = stamps(out)
    for name, (arguments, said) in wrong(out, tmp_path).items():
        result = call(*arguments, code=2)
        assert said in result.stderr, (name, result.stderr)
        assert result.stderr.startswith("error: "), name
        assert len(result.stderr.strip().splitlines()) <= 2, (name, result.stderr)
    assert not (tmp_path / "d").exists()
    assert stamps(out) == data


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--debug", "show", str(tmp_path)])
    assert isinstance(result.exception, ValueError)


def test_a_loss_that_explodes_is_said(out: Path, tmp_path: Path) -> None:
    arguments = ["fit", "sasrec", out / "data", "--runs", tmp_path, "--set", "width=12", "--training", "optimiser.lr=1e30"]
    with np.errstate(all="ignore"):
        assert "lower the learning rate" in call(*arguments, code=2).stderr
