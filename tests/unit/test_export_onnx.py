"""The query side as ONNX: it says what the model says, for every method that can be exported; and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import DAY, shrunk, small
from tests.shopkeeping import START, TMMSREC, held, items
from tmmsrec import values, zoo
from tmmsrec.cli import app
from tmmsrec.data.batch import history_batch
from tmmsrec.data.problems import DataProblem
from tmmsrec.export import onnx_file, write_onnx
from tmmsrec.export.onnx_file import runner
from tmmsrec.export.parity import compare
from tmmsrec.export.query import asked_at, exportable
from tmmsrec.models.base import Method
from tmmsrec.models.sequential import Sequential
from tmmsrec.nn.backbones.attention import Attention
from tmmsrec.nn.time import Gap, TimeEncoder
from tmmsrec.recommender import Recommender

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="ONNX export needs it: pip install 'tmmsrec[onnx]'")
PAGE = Path(__file__).parents[2] / "docs" / "export.md"
SHORT = replace(TMMSREC, modalities=("id", "image"), backbone=Attention(blocks=1))  # TIE, and a stream with gaps


def one_product(method: Method) -> bool:
    return method.inner_product and not method.reads_users and not method.beside


def methods() -> dict[str, Method]:
    """Every method whose query side is a function of the history, and every time encoder; found by themselves.

    Of methods that differ in nothing but what they read, the first: another modality is the same graph again.
    """
    able = {name: shrunk(method) for name, method in zoo.methods().items() if one_product(method)}
    first: dict[str, str] = {}
    for name, method in able.items():
        first.setdefault(values.key(replace(method, modalities=("id",)) if isinstance(method, Sequential) else method), name)
    named = {name: able[name] for name in first.values()}
    times = {f"time {name}": replace(SHORT, time=encoder()) for name, encoder in values.offered(TimeEncoder).items()}
    return named | times


def histories(seed: int, rows: int, columns: int) -> tuple[np.ndarray, ...]:
    """Item rows, times and moments; each row ends somewhere."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, columns + 1, (rows, 1))
    length[0] = columns
    held_ = np.arange(columns) < length
    times = START + np.sort(rng.integers(0, 3000, (rows, columns)), axis=1) * DAY // 2
    return np.where(held_, rng.integers(1, 31, (rows, columns)), 0), np.where(held_, times, 0), times.max(1) + 5 * DAY


def says_the_same(mine: Recommender, path: Path) -> None:
    """Histories that the command did not see, at shapes that it did not try."""
    run = runner(path)
    for seed, (rows, columns) in enumerate(
        [(1, 1), (2, 1), (1, mine.method.history), (9, 4), (5, mine.method.history - 1), (33, 7)]
    ):
        batch = history_batch(np.full(rows, -1), *histories(seed, rows, columns))
        with torch.no_grad():
            expected = mine.model.users(batch).numpy()
        np.testing.assert_allclose(run(batch), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", methods())
def test_every_method_says_the_same_as_onnx(name, tmp_path):
    mine = held(methods()[name])
    done = write_onnx(mine.state, tmp_path / "q.onnx")
    assert done.inputs == (("items", "times", "at") if mine.method.reads_now else ("items", "times"))
    assert done.parity.largest < 1e-5
    says_the_same(mine, done.path)


@pytest.mark.parametrize(
    "method", [replace(SHORT, time=Gap()), shrunk(zoo.GRU4REC)], ids=["now, and a stream with gaps", "recurrent"]
)
def test_some_methods_say_the_same_as_onnx(method, tmp_path):
    mine = held(method)
    says_the_same(mine, write_onnx(mine.state, tmp_path / "q.onnx").path)


@pytest.fixture(scope="module")
def mine() -> Recommender:
    return held(SHORT)


@pytest.fixture(scope="module")
def written(mine, tmp_path_factory):
    """The file, what the verb said, and the graph that it made (some seconds' work)."""
    folder, made = tmp_path_factory.mktemp("onnx"), []
    mine.save(folder / "bundle")
    with pytest.MonkeyPatch.context() as patch:
        real = onnx_file.graph
        patch.setattr(onnx_file, "graph", lambda state: made.append(real(state)) or made[0])
        result = CliRunner().invoke(app, ["export", "onnx", str(folder / "bundle"), str(folder / "shop.onnx")])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return folder / "shop.onnx", " ".join(result.stdout.split()), made[0]


def test_the_verb_compares_and_says_what_it_found(mine, written):
    path, said, _ = written
    assert "items [batch, length], times [batch, length] int64, length up to 20" in said
    assert "users [batch, 24] float32" in said
    assert "30 items, 30 of them recommendable" in said
    largest = float(re.search(r"largest difference ([0-9.e+-]+) over", said)[1])
    assert 0 < largest < 1e-5
    assert "1 to 20 columns" in said
    assert sorted(one.name for one in path.parent.iterdir()) == ["bundle", "shop.items.parquet", "shop.onnx"]
    says_the_same(mine, path)


def test_the_graph_is_valid_and_its_dimensions_have_names(written):
    import onnx

    model = onnx.load(written[0])
    onnx.checker.check_model(model)
    shapes = {one.name: [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim] for one in model.graph.input}
    assert shapes == {"items": ["batch", "length"], "times": ["batch", "length"]}
    assert [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == ["batch", 24]


def test_what_a_consumer_needs_is_beside_it(mine, written):
    import onnxruntime

    about = onnxruntime.InferenceSession(written[0]).get_modelmeta().custom_metadata_map
    file = written[0].with_name(about["tmmsrec.items_file"])
    assert about["tmmsrec.items_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert values.from_json(Method, json.loads(about["tmmsrec.method"])) == SHORT
    assert json.loads(about["tmmsrec.shares"]) == {"id": [0, 12], "image": [12, 24]}
    assert (about["tmmsrec.history"], about["tmmsrec.reads_now"], about["tmmsrec.dataset"]) == ("20", "false", "small")
    table = pq.read_table(file)
    np.testing.assert_array_equal(np.stack(table["vector"].combine_chunks().to_numpy(zero_copy_only=False)), mine.state.vectors[1:])
    assert table["title"].to_pylist() == mine.dataset.catalog.fields["title"].to_pylist()


def test_the_example_of_the_page_gives_the_librarys_answer_without_torch(mine, written):
    script = re.search(r"```python\n# onnx_example.py .*?\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    alone = script + "\nassert not {'torch', 'tmmsrec'} & set(sys.modules)\n"
    for length in (1, 6, 30):
        history = [[int(n % 30 + 1), int(START + n * DAY * 3)] for n in range(length)]
        done = subprocess.run(
            [sys.executable, "-c", alone, str(written[0]), json.dumps(history)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        expected = mine.recommend(history=history)
        assert [one[0] for one in found] == items(expected)
        np.testing.assert_allclose([one[1] for one in found], [one.score for one in expected], atol=1e-4)


# Parity


def test_the_comparison_sees_a_difference_wherever_it_lies(mine):
    def right(batch):
        with torch.inference_mode():
            return mine.model.users(batch).numpy()

    fine = compare(right, mine.state)
    assert fine.largest == 0
    assert {1, 3, 16}.issubset(fine.sizes)
    assert {1, 2, 20}.issubset(fine.lengths)

    def only_for(broken):
        return lambda batch: right(batch) + (0.01 if broken(batch) else 0)

    for broken in (
        lambda b: b.items.shape == (1, 1),
        lambda b: b.items.shape[1] == 20,
        lambda b: len(b.items) == 16,
        lambda b: bool((b.mask.sum(1) == 20).any()),  # a whole history of the longest length
    ):
        assert compare(only_for(broken), mine.state).largest > 1e-4
    assert compare(lambda batch: right(batch) * np.nan, mine.state).largest == np.inf


def test_a_graph_that_says_something_else_is_not_kept(written, tmp_path, monkeypatch):
    """The model has other weights than the graph."""
    wrong = held(SHORT)
    with torch.no_grad():
        wrong.model.tables[0].table.weight[5] += 1
    (tmp_path / "q.onnx").write_text("what stood here before")
    monkeypatch.setattr(onnx_file, "graph", lambda state: written[2])
    with pytest.raises(DataProblem, match="differ by"):
        write_onnx(wrong.state, tmp_path / "q.onnx")
    assert [one.name for one in tmp_path.iterdir()] == ["q.onnx"]
    assert (tmp_path / "q.onnx").read_text() == "what stood here before"


def test_files_that_stand_there_are_replaced_and_nothing_is_left_over(mine, written, tmp_path, monkeypatch):
    once = written[2]
    monkeypatch.setattr(onnx_file, "graph", lambda state: once)
    (tmp_path / "q.onnx").write_text("old")
    (tmp_path / "q.items.parquet").write_text("old")
    write_onnx(mine.state, tmp_path / "q.onnx")
    says_the_same(mine, tmp_path / "q.onnx")
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    assert sorted(before) == ["q.items.parquet", "q.onnx"]

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tmmsrec.export.onnx_file._move", fail)
    with pytest.raises(DataProblem, match="could not be written"):
        write_onnx(mine.state, tmp_path / "q.onnx")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
    monkeypatch.undo()

    monkeypatch.setattr(onnx_file, "graph", lambda state: once)
    monkeypatch.setattr(onnx_file, "_TOO_MUCH", 1000)  # weights in a file of their own
    write_onnx(mine.state, tmp_path / "big.onnx")
    assert (tmp_path / "big.onnx.data").stat().st_size > 1000
    says_the_same(mine, tmp_path / "big.onnx")


# What is refused, and where


@pytest.mark.parametrize("name", ["popularity", "repeat", "markov"])
def test_counting_methods_are_refused_with_the_reason(name):
    with pytest.raises(DataProblem, match="scores by no inner product"):
        exportable(held(zoo.methods()[name]).state)


@pytest.mark.parametrize("name", [name for name, method in zoo.methods().items() if method.reads_users])
def test_methods_that_know_users_by_rows_are_refused_with_the_reason(name):
    state = held(shrunk(zoo.methods()[name])).state
    advice = ": export its users' vectors" if state.method.inner_product else "$"  # without vectors there are none to export
    with pytest.raises(DataProblem, match=rf"knows users by rows of their own.*query to compute{advice}"):
        exportable(state)


def test_bad_paths_and_missing_packages_are_said(mine, tmp_path, monkeypatch):
    with pytest.raises(DataProblem, match="is a folder; name a file"):
        write_onnx(mine.state, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataProblem, match="could not be written"):
        write_onnx(mine.state, tmp_path / "file" / "q.onnx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None if name == "onnxscript" else object())
    with pytest.raises(DataProblem, match=r"needs onnxscript: pip install 'tmmsrec\[onnx\]'"):
        write_onnx(mine.state, tmp_path / "q.onnx")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_the_moment_asked_about_is_put_where_batches_have_it():
    for seed, (rows, columns) in enumerate([(1, 1), (4, 1), (6, 5), (3, 20)]):
        items_, times, at = histories(seed, rows, columns)
        items_[-1], times[-1] = 0, 0  # an empty history
        batch = history_batch(np.full(rows, -1), items_, times, at)
        assert torch.equal(asked_at(batch.items, batch.times, torch.from_numpy(at)), batch.now)


def test_exporting_leaves_the_model_as_it_was(written, mine):
    """Its features keep their own width, its layers their kind."""
    fresh = SHORT.build(small())
    assert [type(part) for part in mine.model.modules()] == [type(part) for part in fresh.modules()]
    assert mine.model.tables[1].features.shape == (31, 5)
