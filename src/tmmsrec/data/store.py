"""A Dataset as a folder: Arrow, Parquet, npy and JSON; memory-mapped when read, never half-written.

dataset.json                 format, name, counts, report
users.parquet                column id
items.arrow                  column id, text fields, image (an Arrow file, also known as Feather 2)
log/offsets.npy items.npy times.npy
features/NAME/rows.npy present.npy provenance.json
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tmmsrec.data.catalog import Catalog, Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.mapping import BLOCK
from tmmsrec.data.problems import DataProblem, NewerFormat
from tmmsrec.data.swap import put_back, remove, swap
from tmmsrec.data.whole import sync, whole

FORMAT = 2
HEAD = "dataset.json"
FEATURES = "features"  # a folder in it, with one for each modality


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Raises:
        DataProblem: a file stands in the way, or the system does not let us.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        file = next((one for one in (folder, *folder.parents) if one.is_file()), None)
        why = f"{file} is a file" if file else f"{problem.strerror}: {problem.filename}"
        raise DataProblem(f"the folder {folder} cannot be made, for {why}; write to another place") from None


def must_be_free(folder: Path, head: str = HEAD, what: str = "Dataset") -> None:
    """Raise DataProblem where a folder of ours, told by its file ``head``, cannot be put: at a file, or among other files."""
    if folder.exists() and not folder.is_dir():
        raise DataProblem(f"{folder} is a file; choose an empty or new folder")
    if folder.exists() and not (folder / head).exists() and any(folder.iterdir()):
        raise DataProblem(f"{folder} holds other files and no {what}; choose an empty or new folder")


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A fresh folder beside ``target`` to write into; it takes the target's place only when the block ends well.

    On any error the fresh folder is removed and whatever stood at ``target`` stays as it was.  A process that is killed leaves the
    old folder or the new one, whole (where a file system cannot let two folders change places, once ``read_about`` looks for it).

    Raises:
        DataProblem: the disk is full.
    """
    target = Path(target)
    make_folder(target.parent)
    put_back(target.parent, target.name)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield fresh
        for path in sorted(fresh.rglob("*")):
            if path.is_file():
                sync(path)
        os.chmod(fresh, 0o755)
        old = swap(fresh, target)
        sync(target.parent)  # before the old one is removed
        if old is not None:
            remove(old)
    except BaseException as problem:
        shutil.rmtree(fresh, ignore_errors=True)
        if _is_full(problem):
            raise DataProblem(
                f"no room to write {target} ({problem}); nothing was changed, free some space and run again"
            ) from None
        raise


def _is_full(problem: BaseException) -> bool:
    # numpy reports a short write without an error number, only as "... requested and ... written".
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(problem, OSError) and (problem.errno in full or "requested and" in str(problem))


def atomic_text(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old text or the new one, never a part."""
    atomic_bytes(path, text.encode())


def atomic_bytes(path: Path, data: bytes) -> None:
    """The same for bytes."""
    path = Path(path)
    make_folder(path.parent)
    with whole(path) as fresh:
        fresh.write_bytes(data)


def save(dataset: Dataset, folder: Path | str) -> Dataset:
    """Write a Dataset into ``folder`` (replacing one that stands there) and return it as read back."""
    folder = Path(folder)
    must_be_free(folder)
    dataset.check()
    with atomic_folder(folder) as fresh:
        pq.write_table(pa.table({"id": dataset.users.array}), fresh / "users.parquet")
        _write_items(fresh / "items.arrow", dataset.catalog.fields.add_column(0, "id", dataset.catalog.ids.array))
        (fresh / "log").mkdir()
        for name in ("offsets", "items", "times"):
            np.save(fresh / "log" / f"{name}.npy", getattr(dataset.interactions, name))
        for name, features in dataset.features.items():
            _write_features(fresh / FEATURES / name, features)
        about = {"format": FORMAT, "name": dataset.name, "counts": dataset.table2(), "report": dataset.report}
        (fresh / HEAD).write_text(json.dumps(about, indent=2, ensure_ascii=False), encoding="utf-8")
    return load(folder)


def save_features(folder: Path | str, name: str, features: Features) -> None:
    """Add one modality to a Dataset folder, or replace it, atomically."""
    folder = Path(folder)
    features.check(name, load(folder, features=False).n_items)
    with atomic_folder(folder / FEATURES / name) as fresh:
        _write_features(fresh, features)


def put_features(folder: Path, made: Path, n_items: int) -> None:
    """Take in a modality's files, made in another folder of the same disk; without a copy, atomically.

    Raises:
        DataProblem: files that are damaged or do not fit so many items.
    """
    read_features(made).check(folder.name, n_items)
    with atomic_folder(folder) as fresh:
        for file in sorted(made.iterdir()):
            os.replace(file, fresh / file.name)


def _write_features(folder: Path, features: Features) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    half = features.rows.dtype == np.float16
    np.save(folder / "rows.npy", np.asarray(features.rows, dtype=np.float16 if half else np.float32))
    np.save(folder / "present.npy", features.present)
    (folder / "provenance.json").write_text(json.dumps(features.provenance, indent=2, ensure_ascii=False), encoding="utf-8")


def read_about(path: Path, what: str, newest: int) -> dict[str, Any]:
    """Read a folder's JSON head and refuse a missing, broken or newer one with a clear message."""
    if not path.exists():
        put_back(path.parent.parent, path.parent.name)
    if not path.exists():
        raise DataProblem(f"{path.parent} is no {what}: it has no {path.name}")
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:  # no JSON, or no UTF-8
        raise DataProblem(f"{path} is not readable JSON ({problem}); the {what} is damaged, make it anew") from None
    if not isinstance(about, dict):
        raise DataProblem(f"{path} holds no object; the {what} is damaged, make it anew")
    if about.get("format", 0) > newest:
        raise NewerFormat(
            f"{path.parent} was written in {what} format {about['format']}; this version reads up to {newest}: upgrade tmmsrec"
        )
    return about


def load(folder: Path | str, *, features: bool = True) -> Dataset:
    """Open a Dataset folder, arrays memory-mapped.

    Raises:
        DataProblem: no Dataset there, or a damaged one (the file is named).
        NewerFormat: written by a later version.
    """
    folder = Path(folder)
    about = read_about(folder / HEAD, "Dataset", FORMAT)
    try:
        with pq.ParquetFile(folder / "users.parquet") as file:  # not read_table, which imports pandas
            users = Ids(file.read(["id"])["id"], first=0, what="user")
        table = _read_items(folder)
        arrays = {n: np.load(folder / "log" / f"{n}.npy", mmap_mode="r") for n in ("offsets", "items", "times")}
        catalog = Catalog(Ids(table["id"], first=1, what="item"), table.drop_columns(["id"]))
        dataset = Dataset(about["name"], Interactions(**arrays), catalog, users, about["report"], folder)
    except (OSError, ValueError, KeyError, EOFError, pa.ArrowException) as problem:
        raise DataProblem(f"the Dataset in {folder} is damaged: {problem}; run 'tmmsrec prepare' again") from None
    if features and (folder / FEATURES).is_dir():
        put_back(folder / FEATURES)
        found = {p.name: read_features(p) for p in sorted((folder / FEATURES).iterdir()) if not p.name.startswith(".")}
        for name, one in found.items():
            one.check(name, dataset.n_items)
        dataset = replace(dataset, catalog=replace(catalog, features=found))
    return dataset


def _write_items(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=BLOCK)


def _read_items(folder: Path) -> pa.Table:
    """The item table, mapped: its texts take memory only while they are looked at."""
    if (folder / "items.parquet").exists():  # format 1
        return pq.read_table(folder / "items.parquet")
    return pa.ipc.open_file(pa.memory_map(str(folder / "items.arrow"))).read_all()


def read_features(folder: Path) -> Features:
    """One modality's files, memory-mapped; raises DataProblem for damaged ones."""
    try:
        rows = np.load(folder / "rows.npy", mmap_mode="r")
        present = np.load(folder / "present.npy", mmap_mode="r")
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, EOFError) as problem:
        raise DataProblem(f"features in {folder} are damaged: {problem}; run 'tmmsrec extract' again") from None
    return Features(rows, present, provenance)
