"""Shards -> a modality's files as they lie in a Dataset folder; one shard in memory at a time."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from io import BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import DTypeLike

from tmmsrec.data.catalog import Catalog
from tmmsrec.extract.base import Fitted, nothing_to_fit
from tmmsrec.extract.shards import Shards
from tmmsrec.values import key, to_json

_FIRST = 20


def assemble(shards: Shards, catalog: Catalog, fitted: Fitted, more: dict[str, Any], start: float) -> Path:
    """Write rows.npy [I+1, f], present.npy [I+1], provenance.json and missing.parquet; the folder that holds them.

    Raises:
        NothingToLearn: not one item could be encoded.
        DataProblem: a shard is damaged or another extraction's.
    """
    plan, folder = shards.plan, shards.folder / "assembled"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    reasons: Counter[str] = Counter()
    first: list[dict[str, str]] = []
    present = reused = 0
    with (
        _npy(folder / "rows.npy", plan.dtype, (plan.items + 1, fitted.width)) as rows,
        _npy(folder / "present.npy", np.bool_, (plan.items + 1,)) as flags,
        _report(folder / "missing.parquet", catalog) as report,
    ):
        rows.write(np.zeros(fitted.width, plan.dtype).tobytes())  # row 0 is padding
        flags.write(np.zeros(1, np.bool_).tobytes())
        for n in range(plan.shards):
            arrays, about = shards.read("rows", n)
            rows.write(np.ascontiguousarray(arrays["rows"]).data)
            flags.write(np.ascontiguousarray(arrays["present"]).data)
            at = plan.items_of(n).start + 1
            missing = [{"item": catalog.ids[at + i], "reason": reason} for i, reason in about["reasons"]]
            report.write_table(pa.Table.from_pylist(missing, report.schema))
            reasons.update(m["reason"] for m in missing)
            first += [{"item": str(m["item"]), "reason": m["reason"]} for m in missing[: _FIRST - len(first)]]
            present += int(arrays["present"].sum())
            reused += about["reused"]
    if not present:
        problem = nothing_to_fit(plan.encoder.modality, reasons)
        shards.end(problem)
        raise problem
    counts = {"items": plan.items, "present": present, "coverage": present / plan.items}
    missed = {"count": reasons.total(), "reasons": dict(reasons.most_common(_FIRST)), "first": first}
    done = {"missing": missed, "from_cache": reused, "seconds": round(time.perf_counter() - start, 2), "libraries": _versions()}
    told = {**_made_by(fitted), **more, **counts, "dtype": plan.dtype, **done}
    (folder / "provenance.json").write_text(json.dumps(told, indent=2, ensure_ascii=False), encoding="utf-8")
    return folder


def _made_by(fitted: Fitted) -> dict[str, Any]:
    about = fitted.about()
    seen = about.pop("fitted_items", 0)
    on = f"{seen:,} items of the catalogue, no events" if seen else "nothing; the model is taken as it is"
    return {"encoder": to_json(fitted.encoder), "encoder_key": key(fitted.encoder), **about, "fitted_on": on}


@contextmanager
def _npy(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> Iterator[BufferedWriter]:
    """An npy file whose values are written one after the other."""
    with path.open("wb") as out:
        head = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, head)
        yield out


def _report(path: Path, catalog: Catalog) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, pa.schema([("item", catalog.ids.array.type), ("reason", pa.string())]))


def _versions() -> dict[str, str]:
    names = ("tmmsrec", "numpy", "scikit-learn", "scikit-image", "pillow", "torch", "transformers")
    return {n: v for n in names if (v := _version(n)) is not None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
