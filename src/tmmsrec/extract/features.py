"""A Dataset's texts and pictures -> Features, with the encoder that made them."""

from __future__ import annotations

import time
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tmmsrec.data.catalog import Catalog, Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.pictures import Pictures as KnownPictures
from tmmsrec.data.problems import DataProblem
from tmmsrec.extract.base import Content, Encoded, Encoder, Fitted, Progress, Work
from tmmsrec.extract.image import DescriptorImage, ModelImage
from tmmsrec.extract.stream import PictureSource, PictureStream
from tmmsrec.extract.templates import flatten, text_fields
from tmmsrec.extract.text import ModelText
from tmmsrec.extract.tfidf import TfidfText
from tmmsrec.values import key, to_json

_FIRST = 20


def extract_text(
    dataset: Dataset,
    encoder: TfidfText | ModelText | None = None,
    *,
    cache: Path | str | None = None,
    progress: Progress | None = None,
    report: Path | str | None = None,
) -> tuple[Features, Fitted]:
    """Text features of every item, and the encoder fitted on the catalogue (it never sees an event).

    Args:
        dataset: the catalogue's fields are read; nothing is changed.
        encoder: ``TfidfText()`` when None.
        cache: folder where a model's rows are kept by content; the next run makes only what is new.
        progress: called as ``progress(done, total, what)``.
        report: a Parquet file to write: item and reason for every item without a row.

    Raises:
        DataProblem: no text field, no item with text, a model that cannot be had, a cache that cannot be written.
    """
    encoder = encoder or TfidfText()
    texts: list[Content] = list(flatten(dataset.catalog.fields, encoder.template, encoder.columns))
    more = {"template": encoder.template, "fields": text_fields(dataset.catalog.fields, encoder.columns)}
    return _extract(dataset.catalog, encoder, texts, Work(_folder(cache), progress), more, report)


def extract_images(
    dataset: Dataset,
    encoder: DescriptorImage | ModelImage | None,
    pictures: PictureSource,
    *,
    cache: Path | str | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    report: Path | str | None = None,
) -> tuple[Features, Fitted]:
    """Picture features of every item; a missing or broken picture is absent, with its reason, and stops nothing.

    Args:
        dataset: the catalogue's column ``image`` names the pictures.
        encoder: ``DescriptorImage()`` when None.
        pictures: gives the bytes of a named picture; read one after the other.
        cache: folder where raw rows are kept by content; the next run makes only what is new.
        progress: called as ``progress(done, total, what)``.
        workers: decoding threads; changes no number.
        report: a Parquet file to write: item and reason for every item without a row.

    Raises:
        DataProblem: no column ``image``, no picture that can be read, a model that cannot be had, a cache that cannot be
            written.
    """
    stream = PictureStream(dataset.catalog.fields, pictures)
    more = {"pictures": pictures.about()["kind"]} if isinstance(pictures, KnownPictures) else {}
    return _extract(dataset.catalog, encoder or DescriptorImage(), stream, Work(_folder(cache), progress, workers), more, report)


def encode_items(fitted: Fitted, fields: pa.Table, pictures: PictureSource | None = None) -> Encoded:
    """Rows of items that came later, from their fields (and pictures, for a picture encoder), by an encoder fitted before.

    Fields that this table lacks count as missing.  Raises DataProblem when it has no text field, or no ``image`` column.
    """
    encoder = fitted.encoder
    if isinstance(encoder, TfidfText | ModelText):
        return fitted.examine(flatten(fields, encoder.template, encoder.columns), Work())
    if pictures is None:
        raise DataProblem("to encode pictures of new items, say where their pictures are")
    stream = PictureStream(fields, pictures)
    return stream.in_place(fitted.examine(stream, Work()))


def _extract(
    catalog: Catalog, encoder: Encoder, contents: Any, work: Work, more: dict[str, Any], report: Path | str | None
) -> tuple[Features, Fitted]:
    start = time.perf_counter()
    fitted, done = encoder.fit_encode(contents, work)
    if isinstance(contents, PictureStream):
        done = contents.in_place(done)
    rows = np.concatenate([np.zeros((1, fitted.width), np.float32), done.rows])
    present = np.concatenate([[False], done.present])
    missing = [{"item": catalog.ids[i + 1], "reason": r} for i, r in sorted(done.reasons.items())]
    about = fitted.about()
    items = about.pop("fitted_items")
    provenance = {
        "encoder": to_json(encoder),
        "encoder_key": key(encoder),
        **about,
        **more,
        "fitted_on": f"{items:,} items of the catalogue, no events" if items else "nothing; the model is taken as it is",
        "items": len(catalog),
        "present": int(done.present.sum()),
        "coverage": float(done.present.mean()) if len(catalog) else 0.0,
        "missing": {
            "count": len(missing),
            "reasons": dict(Counter(m["reason"] for m in missing).most_common(_FIRST)),
            "first": [{"item": str(m["item"]), "reason": m["reason"]} for m in missing[:_FIRST]],
        },
        "from_cache": done.reused,
        "seconds": round(time.perf_counter() - start, 2),
        "libraries": _versions(),
    }
    if report is not None:
        _write_report(Path(report), missing, catalog)
    return Features(rows, present, provenance), fitted


def _write_report(path: Path, missing: list[dict[str, Any]], catalog: Catalog) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("item", catalog.ids.array.type), ("reason", pa.string())])
    beside = path.with_name(f".{path.name}.new")
    pq.write_table(pa.Table.from_pylist(missing, schema), beside)
    beside.replace(path)


def _folder(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


def _versions() -> dict[str, str]:
    names = ("tmmsrec", "numpy", "scikit-learn", "scikit-image", "pillow", "torch", "transformers")
    return {n: v for n in names if (v := _version(n)) is not None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
