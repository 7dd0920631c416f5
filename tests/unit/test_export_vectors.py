"""Vectors as Parquet: what is in the files, that they score as the library does, and that each recipe of the page works."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.conftest import shrunk
from tests.shopkeeping import START, TMMSREC, held, items, learned, shopkeeper
from tmmsrec import zoo
from tmmsrec.cli import app
from tmmsrec.data.problems import DataProblem
from tmmsrec.export import write_vectors
from tmmsrec.recommender import Recommender

__all__ = ["learned", "shopkeeper"]  # fixtures

PAGE = Path(__file__).parents[2] / "docs" / "export.md"


def matrix(table) -> np.ndarray:
    return np.stack(table["vector"].combine_chunks().to_numpy(zero_copy_only=False))


def recipe(name: str) -> str:
    """A script of the page."""
    return re.search(rf"```python\n# {name} .*?\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]


def call(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


def test_inner_products_of_the_files_are_the_librarys_scores(shopkeeper, tmp_path):
    done = write_vectors(shopkeeper.state, tmp_path / "v", at=START + 400 * 86400)
    table, users = pq.read_table(tmp_path / "v" / "items.parquet"), pq.read_table(tmp_path / "v" / "users.parquet")
    assert (done.items, done.users, done.width) == (24, 60, 36)
    assert table["id"].to_pylist() == list(shopkeeper.dataset.catalog.ids)
    assert table["row"].to_pylist() == list(range(1, 25))
    assert table["title"].to_pylist()[0] == "red shirt number 0"
    assert users["events"].to_pylist() == [7] * 60
    assert str(users.schema.field("vector").type) == "fixed_size_list<element: float>[36]"
    scores = matrix(users) @ matrix(table).T
    ids = table["id"].to_pylist()
    for row, user in enumerate(users["id"].to_pylist()):
        told = shopkeeper.explain(user, items=ids, at=START + 400 * 86400)
        np.testing.assert_allclose(scores[row], [one.score for one in told], atol=1e-4)


def test_users_are_asked_about_at_the_moment_given(tmp_path):
    mine = held()
    log = mine.dataset.interactions
    first = int(log.times[log.offsets[:-1]].min())
    done = write_vectors(mine.state, tmp_path / "v", at=first)
    users = pq.read_table(tmp_path / "v" / "users.parquet")
    started = [user for user in range(log.users) if log.times[log.offsets[user]] <= first]
    assert users["id"].to_pylist() == started
    assert (done.users, done.users_left_out) == (len(started), log.users - len(started))
    assert users["events"].to_pylist() == [1] * len(started)


def test_items_of_which_nothing_is_known_are_listed_apart_with_the_reason(tmp_path):
    mine = held(replace(TMMSREC, modalities=("image",)), missing=(3, 7))
    done = write_vectors(mine.state, tmp_path / "v")
    table, others = pq.read_table(tmp_path / "v" / "items.parquet"), pq.read_table(tmp_path / "v" / "left_out.parquet")
    assert (done.items, done.items_left_out) == (28, 2)
    assert not {3, 7} & set(table["row"].to_pylist())
    assert others.to_pylist() == [
        {"id": row, "row": row, "reason": "the method scores by image, and the item has none of it"} for row in (3, 7)
    ]
    about = json.loads((tmp_path / "v" / "about.json").read_text())
    assert (about["items"], about["items_left_out"], about["shares"]) == (28, 2, {"image": [0, 12]})


def test_users_and_items_that_came_later_are_in_the_files(shopkeeper, tmp_path):
    shopkeeper.add_items([{"id": "N1", "title": "red shirt"}])
    shopkeeper.add_events([("someone new", "N1", START), ("u3", "N1", START + 900 * 86400)])
    done = write_vectors(shopkeeper.state, tmp_path / "v", at=START + 1000 * 86400)
    users = pq.read_table(tmp_path / "v" / "users.parquet")
    assert (done.items, done.users) == (25, 61)
    assert users["id"].to_pylist()[-1] == "someone new"
    table = pq.read_table(tmp_path / "v" / "items.parquet")
    best = np.argsort(-(matrix(users)[3] @ matrix(table).T), kind="stable")[:5]
    assert [table["id"][int(row)].as_py() for row in best] == items(shopkeeper.recommend("u3", at=START + 1000 * 86400, k=5))


def test_methods_that_know_users_by_rows_have_vectors_too(tmp_path):
    mine = held(shrunk(zoo.VBPR))
    done = write_vectors(mine.state, tmp_path / "v")
    assert done.users == 40
    users, table = pq.read_table(tmp_path / "v" / "users.parquet"), pq.read_table(tmp_path / "v" / "items.parquet")
    told = mine.explain(7, items=table["id"].to_pylist())
    np.testing.assert_allclose(matrix(users)[7] @ matrix(table).T, [one.score for one in told], atol=1e-4)


def test_a_field_with_the_name_of_a_column_keeps_its_values(shopkeeper, tmp_path):
    state = shopkeeper.state
    catalog = state.dataset.catalog
    renamed = replace(catalog, fields=catalog.fields.rename_columns(["vector", "brand", "image"]))
    write_vectors(replace(state, dataset=replace(state.dataset, catalog=renamed)), tmp_path / "v")
    table = pq.read_table(tmp_path / "v" / "items.parquet")
    assert table["vector_"].to_pylist()[1] == "blue coat number 1"


def test_what_cannot_be_written_is_said_and_changes_nothing(tmp_path):
    mine = held()
    with pytest.raises(DataProblem, match="Popularity scores by no inner product"):
        write_vectors(held(zoo.POPULARITY).state, tmp_path / "v")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DataProblem, match="holds other files"):
        write_vectors(mine.state, tmp_path / "mine")
    with pytest.raises(DataProblem, match="at: 'soon' is no ISO date"):
        write_vectors(mine.state, tmp_path / "v", at="soon")
    with pytest.raises(DataProblem, match=r"cannot be made, for .*letter\.txt is a file"):
        write_vectors(mine.state, tmp_path / "mine" / "letter.txt" / "v")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["letter.txt", "mine"]


def test_an_older_export_is_replaced_as_a_whole(tmp_path, monkeypatch):
    mine = held()
    write_vectors(mine.state, tmp_path / "v", at=START)
    before = {p.name: p.read_bytes() for p in (tmp_path / "v").iterdir()}

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tmmsrec.export.vectors._write_users", fail)
    with pytest.raises(DataProblem, match=r"no room|could not be written"):
        write_vectors(mine.state, tmp_path / "v", at=START + 10**7)
    assert {p.name: p.read_bytes() for p in (tmp_path / "v").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["v"]
    monkeypatch.undo()
    write_vectors(mine.state, tmp_path / "v", at=START + 10**7)
    assert (tmp_path / "v" / "users.parquet").read_bytes() != before["users.parquet"]


# The recipes of docs/export.md


@pytest.fixture(scope="module")
def exported(learned, tmp_path_factory) -> tuple[Recommender, Path]:
    method, model, dataset, encoders = learned
    mine = Recommender(method, model, dataset, {}, encoders)
    folder = tmp_path_factory.mktemp("vectors") / "v"
    write_vectors(mine.state, folder, at="2019-01-01")
    return mine, folder


def needs(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: the recipe is not run here")


def follow(name: str, exported: tuple[Recommender, Path], *more: str) -> None:
    """The script of the page, run by itself, gives the library's answer."""
    mine, folder = exported
    for user in ("u4", "u5"):
        done = subprocess.run(
            [sys.executable, "-c", recipe(name), str(folder), user, *more], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        hits = [json.loads(line) for line in done.stdout.splitlines()]
        expected = mine.recommend(user, at="2019-01-01")
        assert [hit[0] for hit in hits] == items(expected)
        np.testing.assert_allclose([hit[1] for hit in hits], [one.score for one in expected], atol=1e-4)


def test_the_lancedb_recipe(exported):
    needs("lancedb")
    follow("lancedb_recipe.py", exported)


def test_the_qdrant_recipe(exported):
    needs("qdrant_client")
    follow("qdrant_recipe.py", exported)


def test_the_pgvector_recipe(exported, tmp_path):
    """Against a real PostgreSQL with pgvector, which the package pgserver brings."""
    needs("psycopg", "pgserver")
    import pgserver

    server = pgserver.get_server(tmp_path / "pg", cleanup_mode="stop")
    try:
        follow("pgvector_recipe.py", exported, server.get_uri())
    finally:
        server.cleanup()


@pytest.mark.parametrize("name", ["lancedb_recipe.py", "qdrant_recipe.py", "pgvector_recipe.py", "onnx_example.py"])
def test_every_script_of_the_page_is_python(name):
    compile(recipe(name), name, "exec")


# The verb


def test_the_verb_writes_and_says_what(shopkeeper, tmp_path):
    shopkeeper.save(tmp_path / "b")
    said = " ".join(call("export", "vectors", tmp_path / "b", tmp_path / "v", "--at", "2018-01-01").stdout.split())
    assert "24 vectors of 36 numbers" in said
    assert "60 vectors; 0 users have none" in said
    assert json.loads((tmp_path / "v" / "about.json").read_text())["at"] == 1_514_764_800
    assert "is no bundle" in call("export", "vectors", tmp_path, tmp_path / "w", code=2).stderr
    assert "no ISO date" in call("export", "vectors", tmp_path / "b", tmp_path / "w", "--at", "soon", code=2).stderr
