"""The Dataset folder: whole or not there, equal when read back, refused when damaged or newer."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from tests.conftest import random_features, small
from tests.killing import killed
from tmmsrec.data import store, swap
from tmmsrec.data.catalog import Catalog, Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem, NewerFormat, UnknownId
from tmmsrec.data.store import atomic_folder, atomic_text, load, save, save_features


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_read_back_equal_and_memory_mapped(tmp_path: Path, dataset: Dataset) -> None:
    read = save(dataset, tmp_path / "d")
    assert read.fingerprint == dataset.fingerprint
    assert read.folder == tmp_path / "d"
    assert read.table2() == dataset.table2()
    assert isinstance(read.interactions.times, np.memmap)
    assert isinstance(read.features["text"].rows, np.memmap)
    assert read.catalog.fields.equals(dataset.catalog.fields)
    assert load(tmp_path / "d", features=False).features == {}
    assert os.stat(tmp_path / "d").st_mode & 0o777 == 0o755


def test_the_fingerprint_tells_data_apart_and_nothing_else(tmp_path: Path) -> None:
    first = small()
    assert first.fingerprint == small().fingerprint
    assert replace(first, name="other", report={"x": 1}).fingerprint == first.fingerprint
    assert save(first, tmp_path / "a").fingerprint == save(first, tmp_path / "b").fingerprint
    others = [small(seed=1), small(missing=(3,)), first.with_features(text=random_features(30, 12, 9))]
    later = replace(first.interactions, times=first.interactions.times + 1)
    others.append(replace(first, interactions=later))
    assert len({first.fingerprint, *(d.fingerprint for d in others)}) == 5


def test_the_fingerprint_is_that_of_everything_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Block by block, the same bytes in the same order as all in one; runs of earlier versions are found again."""
    users = Ids(pa.array(["ü", "", "日本😀", "007"]), what="user")
    fields = pa.table(
        {"n": [7, None, -1], "t": pa.chunked_array([["a", None], ["é\u0301"]]), "image": ["x", "y", "z"], "f": [1.0, 2.5, None]}
    )
    log = Interactions.of(np.array([0, 1, 1, 2, 3]), np.array([1, 2, 3, 1, 2]), np.arange(5))
    features = {"text": random_features(3, 7, 1, (2,))}
    made = Dataset("d", log, Catalog(Ids(pa.array([5, 10, -3]), first=1, what="item"), fields, features), users)
    digest = hashlib.blake2b(log.offsets.tobytes() + log.items.tobytes() + log.times.tobytes(), digest_size=8)
    words = {c: ["" if w is None else str(w) for w in fields[c].to_pylist()] for c in ("f", "n", "t")}
    for texts in (list(users), ["5", "10", "-3"]):
        digest.update(np.array([len(texts), *map(len, texts)], dtype="<i8").tobytes() + "".join(texts).encode())
    for name, texts in words.items():
        digest.update(name.encode() + np.array([*map(len, texts)], dtype="<i8").tobytes() + "".join(texts).encode())
    digest.update(b"text" + features["text"].rows.tobytes() + features["text"].present.tobytes())
    assert made.fingerprint == digest.hexdigest()
    monkeypatch.setattr("tmmsrec.data.dataset.BLOCK", 2)
    assert replace(made, name="in blocks of two").fingerprint == digest.hexdigest()


def test_ids_that_differ_only_in_where_they_end_have_different_fingerprints() -> None:
    log = Interactions.of(np.array([0, 1]), np.array([1, 2]), np.array([1, 2]))

    def named(users: list[str], items: list[str]) -> str:
        fields = pa.table({"title": pa.nulls(2, pa.string())})
        return Dataset("d", log, Catalog(Ids(items, first=1), fields), Ids(users)).fingerprint

    prints = {
        named(["a", "bc"], ["x", "y"]),
        named(["ab", "c"], ["x", "y"]),
        named(["a", "b"], ["cx", "y"]),
        named(["a\x1fb", "c"], ["x", "y"]),
    }
    assert len(prints) == 4


def test_an_error_while_writing_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    save(small(), tmp_path / "d")
    before = tree(tmp_path)

    def half() -> None:
        with atomic_folder(tmp_path / "d") as fresh:
            (fresh / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert tree(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def needs_exchange(folder: Path) -> None:
    """Skips where the file system does not let two folders change places at once."""
    for name in ("a", "b"):
        (folder / "try" / name).mkdir(parents=True)
    can = swap.exchange(folder / "try" / "a", folder / "try" / "b")
    shutil.rmtree(folder / "try")
    if not can:
        pytest.skip("this file system does not let two folders change places at once")


def test_a_swap_that_fails_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    save(small(), tmp_path / "d")
    before, real, calls = tree(tmp_path), os.replace, []

    def fails_second(a: object, b: object) -> None:
        calls.append(a)
        if len(calls) == 2:
            raise PermissionError("denied")
        real(a, b)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", fails_second)
    with pytest.raises(PermissionError):
        save(small(seed=1), tmp_path / "d")
    assert tree(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_where_two_folders_can_change_places_there_is_always_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step of the system takes the old one away before the new one stands."""
    needs_exchange(tmp_path)
    save(small(), tmp_path / "d")
    steps, real = [], os.replace

    def watched(a: object, b: object) -> None:
        real(a, b)  # type: ignore[arg-type]
        steps.append((tmp_path / "d" / "dataset.json").exists())

    monkeypatch.setattr(os, "replace", watched)
    assert save(small(seed=1), tmp_path / "d").fingerprint == small(seed=1).fingerprint
    assert all(steps)
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


MOMENTS = {
    "at once, before": (True, store, "swap", 1),
    "at once, the old one not removed": (True, shutil, "rmtree", 1),
    "by two renames, before": (False, store, "swap", 1),
    "by two renames, between them": (False, os, "replace", 2),
    "by two renames, the old one not removed": (False, shutil, "rmtree", 1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_the_old_one_or_the_new_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    at_once, target, name, call = MOMENTS[moment]
    if at_once:
        needs_exchange(tmp_path)
    else:
        monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    old, new = save(small(), tmp_path / "d"), small(seed=1)
    killed(target, name, call, lambda: save(new, tmp_path / "d"))
    assert (tmp_path / "d").exists() == (not moment.endswith("between them"))
    read = load(tmp_path / "d")
    assert read.fingerprint == (new if moment.endswith("not removed") else old).fingerprint
    assert set(read.features) == {"text", "image"}
    if moment.endswith("between them"):
        assert not list(tmp_path.glob(".d.old.*"))
    assert save(new, tmp_path / "d").fingerprint == new.fingerprint


def test_what_a_killed_replacement_left_is_put_back_before_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    save(small(), tmp_path / "d")
    killed(os, "replace", 2, lambda: save(small(seed=1), tmp_path / "d"))
    assert save(small(seed=2), tmp_path / "d").fingerprint == small(seed=2).fingerprint
    assert not list(tmp_path.glob(".d.old.*"))  # nothing that could come back one day


def test_features_whose_replacement_was_killed_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    old = save(small(), tmp_path / "d").fingerprint
    killed(os, "replace", 2, lambda: save_features(tmp_path / "d", "text", random_features(30, 4, 7)))
    assert not (tmp_path / "d" / "features" / "text").exists()
    assert load(tmp_path / "d").fingerprint == old
    assert not list((tmp_path / "d" / "features").glob(".text.old.*"))


def test_who_comes_between_the_renames_waits_for_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    save(small(), tmp_path / "d")
    new, real, found, waits = small(seed=1), os.replace, [], threading.Event()
    reader = threading.Thread(target=lambda: found.append(load(tmp_path / "d").fingerprint))
    acquire = swap.FileLock.acquire

    def told(self: FileLock, *given: Any, **named: Any) -> Any:
        if threading.current_thread() is reader:
            waits.set()
        return acquire(self, *given, **named)

    def between(a: Any, b: Any) -> None:
        real(a, b)
        if Path(b).name == "was":
            reader.start()
            assert waits.wait(60)

    monkeypatch.setattr(swap.FileLock, "acquire", told)
    monkeypatch.setattr(os, "replace", between)
    save(new, tmp_path / "d")
    reader.join(60)
    assert found == [new.fingerprint]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_replacing_leaves_no_trace_of_the_old(tmp_path: Path) -> None:
    save(small(), tmp_path / "d")
    read = save(Dataset.in_memory("plain", small(seed=1).interactions, 30), tmp_path / "d")
    assert read.features == {}
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_link_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    old = save(small(), tmp_path / "first").fingerprint
    (tmp_path / "d").symlink_to("first")
    save(small(seed=1), tmp_path / "d")
    assert load(tmp_path / "first").fingerprint == old
    assert not (tmp_path / "d").is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "first"]


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataProblem, match="holds other files and no Dataset"):
        save(small(), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


FULL_DISK = """
import resource, sys
import numpy as np
from tmmsrec.data.catalog import Features
from tmmsrec.data.store import load, save, save_features
folder, other, limit, what = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
if what == "save":
    save(load(other), folder)
else:
    save_features(folder, "text", Features(np.zeros((31, 4000), np.float32), np.arange(31) > 0))
"""


@pytest.mark.parametrize("what", ["save", "features"])
@pytest.mark.parametrize("limit", [64, 4096])
def test_a_disk_that_fills_up_changes_nothing_and_is_said(tmp_path: Path, what: str, limit: int) -> None:
    old = save(small(), tmp_path / "d").fingerprint
    save(small(users=4000, seed=5), tmp_path / "e")
    before = tree(tmp_path)
    # A limit on file size makes the system refuse writes half-way, as a full disk does.
    arguments = [sys.executable, "-c", FULL_DISK, str(tmp_path / "d"), str(tmp_path / "e"), str(limit), what]
    source = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run(arguments, capture_output=True, text=True, env=source, check=False)
    assert done.returncode != 0
    assert "DataProblem: no room to write" in done.stderr, done.stderr
    assert tree(tmp_path) == before
    assert load(tmp_path / "d").fingerprint == old


def test_features_are_added_and_replaced(tmp_path: Path) -> None:
    save(small(), tmp_path / "d")
    new = replace(random_features(30, 4, 7), provenance={"encoder": "x"})
    save_features(tmp_path / "d", "sound", new)
    read = load(tmp_path / "d").features["sound"]
    assert np.array_equal(read.rows, new.rows)
    assert read.provenance == {"encoder": "x"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((12, 3)), r"text features have 12 rows; the catalogue needs 31 \(row 0 for padding, then 30 items\)"),
        (np.where(np.arange(31)[:, None] == 7, np.nan, 0) * np.ones((31, 3)), r"NaN or infinity in 1 rows, first at item row 7"),
        (np.ones((31, 3)), r"row 0 is padding and must be zero"),
    ],
)
def test_features_that_do_not_fit_are_refused_and_not_written(tmp_path: Path, rows: np.ndarray, message: str) -> None:
    save(small(), tmp_path / "d")
    before = tree(tmp_path)
    present = np.arange(len(rows)) > 0
    with pytest.raises(DataProblem, match=message):
        save_features(tmp_path / "d", "text", Features(rows.astype(np.float32), present))
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["users.parquet", "items.arrow", "log/items.npy", "log/offsets.npy", "log/times.npy", "features/text/rows.npy"]
)
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_damaged_folder_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    save(small(), tmp_path / "d")
    path = tmp_path / "d" / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 2] if damage == "cut" else b"")
    with pytest.raises(DataProblem, match=r"damaged: .*; run 'tmmsrec (prepare|extract)' again"):
        load(tmp_path / "d")


def test_a_folder_of_the_first_format_is_still_read(tmp_path: Path) -> None:
    new = save(small(), tmp_path / "d")
    pq.write_table(new.catalog.fields.add_column(0, "id", new.catalog.ids.array), tmp_path / "d" / "items.parquet")
    (tmp_path / "d" / "items.arrow").unlink()
    head = tmp_path / "d" / "dataset.json"
    head.write_text(json.dumps({**json.loads(head.read_text()), "format": 1}))
    old = load(tmp_path / "d")
    assert old.fingerprint == new.fingerprint
    assert old.catalog.fields.equals(new.catalog.fields)


def test_files_of_different_datasets_are_not_taken_together(tmp_path: Path) -> None:
    save(small(), tmp_path / "d")
    other = save(small(users=50, seed=3), tmp_path / "e")
    (tmp_path / "d" / "users.parquet").write_bytes((other.folder / "users.parquet").read_bytes())  # type: ignore[operator]
    with pytest.raises(DataProblem, match="40 users, the list of user ids 50"):
        load(tmp_path / "d")


def test_heads_that_are_newer_broken_or_missing(tmp_path: Path) -> None:
    save(small(), tmp_path / "d")
    head = tmp_path / "d" / "dataset.json"
    about = json.loads(head.read_text())
    head.write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(NewerFormat, match=r"written in Dataset format 99; this version reads up to \d+: upgrade tmmsrec"):
        load(tmp_path / "d")
    head.write_text(head.read_text()[:40])
    with pytest.raises(DataProblem, match="not readable JSON"):
        load(tmp_path / "d")
    head.write_text(json.dumps({"format": 1}))
    with pytest.raises(DataProblem, match="damaged"):
        load(tmp_path / "d")
    head.unlink()
    with pytest.raises(DataProblem, match=r"is no Dataset: it has no dataset.json"):
        load(tmp_path / "d")


def test_small_texts_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atomic_text(tmp_path / "x" / "a.json", "old")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk")))
        with pytest.raises(OSError, match="disk"):
            atomic_text(tmp_path / "x" / "a.json", "new")
    assert tree(tmp_path) == {"x/a.json": b"old"}
    atomic_text(tmp_path / "x" / "a.json", "new")
    assert tree(tmp_path) == {"x/a.json": b"new"}


def test_ids_keep_their_form_and_unknown_ones_name_a_neighbour() -> None:
    text, number = Ids(["007", "7", "ü"], first=1, what="item"), Ids([7, 42], what="user")
    assert (text.row("007"), text.row("7"), text.row(7), number.row(42), number.row("42")) == (1, 2, 2, 1, 1)
    assert ("042" in number, "7" in number, True in text) == (False, True, False)
    with pytest.raises(UnknownId, match="unknown item '0007': none of the 3 items has it; the nearest known one is '007'"):
        text.row("0007")
    with pytest.raises(IndexError):
        text[0]
