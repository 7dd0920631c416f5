"""A Recommender as a folder: written as a whole or not at all, checked when read, no pickle.

bundle.json               format, method, about, and the hash of every other file
weights.safetensors       parameters and counts
dataset/                  items, features, and the known users' histories (a Dataset folder)
encoders/NAME/            fitted encoders, for items that come later
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from safetensors import SafetensorError

import tmmsrec
from tmmsrec import values
from tmmsrec.checkpoint import read_tensors, write_tensors
from tmmsrec.data import store
from tmmsrec.data.problems import DataProblem, NewerFormat
from tmmsrec.extract import load_encoder
from tmmsrec.models.base import Method
from tmmsrec.recommender.adding import Encoders
from tmmsrec.recommender.state import State, build

FORMAT = 1
HEAD = "bundle.json"


def must_be_free(folder: Path) -> None:
    """Raise DataProblem where a bundle cannot be put: at a file, or a folder that holds something else."""
    store.must_be_free(folder, HEAD, "bundle")


def write(folder: Path, state: State, about: Mapping[str, Any], encoders: Encoders) -> None:
    """Write a bundle, in the place of one that stands there.

    Raises:
        DataProblem: the folder holds something else, ``about`` does not go to JSON, an encoder cannot be used by this version, or
            the disk refuses; what stood there before is untouched.
    """
    must_be_free(folder)
    head = {
        "format": FORMAT,
        "written_by": tmmsrec.__version__,
        "method": values.to_json(state.method),
        "trained_items": state.trained,
        "trained_users": state.trained_users,
        "encoders": sorted(encoders),
        "about": values.to_json(dict(about)),
    }
    try:
        json.dumps(head)
    except (TypeError, ValueError) as problem:
        raise DataProblem(f"'about' must hold values, texts, numbers, lists and dictionaries only: {problem}") from None
    try:
        with store.atomic_folder(folder) as fresh:
            write_tensors(fresh / "weights.safetensors", state.model.state_dict())
            store.save(state.people.merged(state.dataset), fresh / "dataset")
            for name, encoder in encoders.items():
                if isinstance(encoder, DataProblem):
                    raise encoder
                encoder.save(fresh / "encoders" / name)
            head["files"] = {name: _hash(fresh / name) for name in _files(fresh)}
            (fresh / HEAD).write_text(json.dumps(head, indent=2, ensure_ascii=False), encoding="utf-8")
    except (OSError, SafetensorError, pa.ArrowException) as problem:
        said = f"the bundle could not be written to {folder}: {problem}"
        raise DataProblem(f"{said}; what stood there before is untouched") from problem


def read(folder: Path) -> tuple[State, dict[str, Any], Encoders]:
    """A bundle's State, ``about`` and encoders.

    Where another is put in its place meanwhile, as an update does, files of both may be met: then it is read again.

    Raises:
        DataProblem: no bundle there, or a damaged one (the file is named).
        NewerFormat: written by a later version.
    """
    head = _head(folder)
    while True:
        try:
            return _opened(folder, head)
        except (DataProblem, OSError):
            before, head = head, _head(folder)
            if head == before:
                raise


def _opened(folder: Path, head: dict[str, Any]) -> tuple[State, dict[str, Any], Encoders]:
    _compare(folder, head["files"])
    try:
        method = values.from_json(Method, head["method"])  # type: ignore[type-abstract]
    except ValueError as problem:  # an unknown kind or field, or a value that its own class refuses
        raise DataProblem(f"{folder / HEAD} names a method that this version cannot build: {problem}") from None
    dataset = store.load(folder / "dataset")
    trained = head["trained_items"]
    if not isinstance(trained, int) or not 0 <= trained <= dataset.n_items:
        raise DataProblem(f"{folder / HEAD} says {trained!r} items were trained; the bundle holds {dataset.n_items}")
    users = head.get("trained_users", dataset.n_users)  # bundles of the first versions hold no others
    if not isinstance(users, int) or not 0 <= users <= dataset.n_users:
        raise DataProblem(f"{folder / HEAD} says {users!r} users were trained; the bundle holds {dataset.n_users}")
    weights = folder / "weights.safetensors"
    try:
        model = build(method, dataset, trained, users)
        model.load_state_dict(read_tensors(weights)[0])
    except (RuntimeError, KeyError) as problem:
        raise DataProblem(f"{weights} does not fit the method and the items of its bundle: {problem}") from None
    except ValueError as problem:
        raise DataProblem(f"the bundle {folder} is damaged: {problem}") from None
    return State(method, model.eval(), dataset, trained, users), head["about"], _encoders(folder, head["encoders"])


def _head(folder: Path) -> dict[str, Any]:
    try:
        head = store.read_about(folder / HEAD, "bundle", FORMAT)
        lacking = [name for name in ("format", "method", "trained_items", "encoders", "about", "files") if name not in head]
    except (UnicodeDecodeError, AttributeError, TypeError, OSError) as problem:
        raise DataProblem(f"{folder / HEAD} is damaged: {problem}") from None
    if lacking:
        raise DataProblem(f"{folder / HEAD} is damaged: it lacks '{lacking[0]}'")
    return head


def _compare(folder: Path, files: Mapping[str, str]) -> None:
    """Refuse a bundle whose files are not those that were written."""
    for name, expected in files.items():
        if not (folder / name).is_file():
            raise DataProblem(f"the bundle {folder} is damaged: {name} is missing; copy or save it again")
        if _hash(folder / name) != expected:
            raise DataProblem(f"the bundle {folder} is damaged: {name} is not what was saved; copy or save it again")


def _encoders(folder: Path, names: list[str]) -> Encoders:
    found: Encoders = {}
    for name in names:
        try:
            found[name] = load_encoder(folder / "encoders" / name)
        except NewerFormat:
            raise
        except DataProblem as problem:
            # The files are what was saved, so this version cannot use them: it matters only to items that come later.
            found[name] = problem
    return found


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
