"""The query side of a bundle as an ONNX file, with the items beside it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import tmmsrec
from tmmsrec import values
from tmmsrec.data.batch import Batch
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.whole import sync
from tmmsrec.export.parity import Parity, Run, compare
from tmmsrec.export.query import exportable, graph, inputs
from tmmsrec.export.tables import items_table
from tmmsrec.recommender.state import State

FORMAT = 1
LIMIT = 1e-4  # differences beyond this are a fault
_TOO_MUCH = 1_900_000_000  # bytes of weights: a protobuf holds 2 GB


@dataclass(frozen=True)
class OnnxFile:
    """What was written.

    Attributes:
        path: the graph.
        items: the Parquet file beside it: ids, rows and vectors.
        inputs: names of the graph's inputs.
        history: how many of the newest events are read at the most.
        width: D.
        bytes: of the graph's file or files.
        parity: how far it lies from the model.
    """

    path: Path
    items: Path
    inputs: tuple[str, ...]
    history: int
    width: int
    bytes: int
    parity: Parity


def write_onnx(state: State, path: Path | str) -> OnnxFile:
    """Write PATH and, beside it, its items as PATH with ``.items.parquet`` in the place of its ending.

    The graph is run by onnxruntime and compared with the model before anything takes its place.

    Raises:
        DataProblem: the method cannot be exported, a package is missing, the path cannot be written, or the graph does not say
            what the model says; what stood there before is untouched.
    """
    path = Path(path)
    exportable(state)
    _needs("onnx", "onnxscript", "onnxruntime")
    if path.is_dir():
        raise DataProblem(f"{path} is a folder; name a file in it, such as {path / 'query.onnx'}")
    if path.suffix != ".onnx":
        raise DataProblem(f"{path}: the graph is written as FILE.onnx, such as {path.with_suffix('.onnx')}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as fresh:
            return _written(state, path, Path(fresh))
    except OSError as problem:
        raise DataProblem(f"{path} could not be written: {problem}") from problem


def _written(state: State, path: Path, fresh: Path) -> OnnxFile:
    items = path.with_name(f"{path.stem}.items.parquet")
    table = items_table(state, np.arange(1, state.dataset.n_items + 1))
    pq.write_table(table, fresh / items.name)
    with (fresh / items.name).open("rb") as opened:
        fingerprint = hashlib.file_digest(opened, "sha256").hexdigest()
    program = graph(state)
    _named(program.model, state)
    program.model.metadata_props.update(_about(state, items.name, fingerprint))
    big = sum(tensor.const_value.nbytes for tensor in program.model.graph.initializers.values() if tensor.const_value) > _TOO_MUCH
    program.save(str(fresh / path.name), external_data=big)
    parity = compare(runner(fresh / path.name), state)
    if not parity.largest <= LIMIT:
        raise DataProblem(
            f"the graph and the model differ by {parity.largest:.1e}, more than {LIMIT:.0e}, on histories of this bundle: "
            f"{path} was not written; please report this with the method, {values.to_json(state.method)}"
        )
    size = sum(one.stat().st_size for one in fresh.iterdir() if one.name != items.name)
    # The graph comes last: it names the items' fingerprint, so that a reader can tell a pair that does not belong together.
    for name in sorted((one.name for one in fresh.iterdir()), key=lambda name: name == path.name):
        _move(fresh / name, path.with_name(name))
    width = int(program.model.graph.outputs[0].shape[1])
    return OnnxFile(path, items, tuple(inputs(state.method)), state.method.history, width, size, parity)


def runner(path: Path) -> Run:
    """What runs a written graph on batches, with one thread."""
    import onnxruntime

    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads = how.inter_op_num_threads = 1
    how.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), how, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(batch: Batch) -> np.ndarray:
        last = batch.last[:, None]
        given = {"items": batch.items, "times": batch.times, "at": batch.now.gather(1, last)[:, 0]}
        found: np.ndarray = session.run(["users"], {name: given[name].numpy() for name in names})[0]
        return found

    return run


def _named(model: Any, state: State) -> None:
    """Name the open dimensions, and leave out the shapes of everything between."""
    import onnx_ir

    for node in model.graph:
        for one in node.outputs:
            one.shape = None
    for one in model.graph.inputs:
        one.shape = onnx_ir.Shape(["batch"] if one.name == "at" else ["batch", "length"])
    assert state.vectors is not None
    model.graph.outputs[0].shape = onnx_ir.Shape(["batch", state.vectors.shape[1]])


def _about(state: State, items: str, fingerprint: str) -> dict[str, str]:
    """What a consumer must know, as texts."""
    shares = {name: [at.start or 0, at.stop] for name, at in state.slices.items()}
    return {
        "tmmsrec.format": str(FORMAT),
        "tmmsrec.version": tmmsrec.__version__,
        "tmmsrec.method": json.dumps(values.to_json(state.method)),
        "tmmsrec.dataset": state.dataset.name,
        "tmmsrec.history": str(state.method.history),
        "tmmsrec.reads_now": json.dumps(state.method.reads_now),
        "tmmsrec.shares": json.dumps(shares),
        "tmmsrec.items_file": items,
        "tmmsrec.items_sha256": fingerprint,
    }


def _needs(*packages: str) -> None:
    import importlib.util

    lacking = [name for name in packages if importlib.util.find_spec(name) is None]
    if lacking:
        raise DataProblem(f"exporting to ONNX needs {', '.join(lacking)}: pip install 'tmmsrec[onnx]'")


def _move(source: Path, target: Path) -> None:
    sync(source)
    os.replace(source, target)
