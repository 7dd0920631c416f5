"""A Dataset's texts and pictures -> Features, with the encoder that made them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tmmsrec.data import store
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.pictures import Pictures as KnownPictures
from tmmsrec.data.problems import DataProblem
from tmmsrec.extract.base import Encoded, Encoder, Fitted, Progress, Work
from tmmsrec.extract.image import DescriptorImage
from tmmsrec.extract.plan import Form
from tmmsrec.extract.sharded import Source, extract_into
from tmmsrec.extract.stream import PictureSource, stream
from tmmsrec.extract.templates import text_fields, wanted
from tmmsrec.extract.tfidf import TfidfText
from tmmsrec.values import nearest


def extract_text(
    dataset: Dataset,
    encoder: Encoder | None = None,
    *,
    cache: Path | str | None = None,
    progress: Progress | None = None,
    report: Path | str | None = None,
) -> tuple[Features, Fitted]:
    """Text features of every item in memory, and the encoder fitted on the catalogue (it never sees an event).

    Args:
        dataset: the catalogue's fields are read; nothing is changed.
        encoder: ``TfidfText()`` when None.
        cache: folder where a model's rows are kept by content; the next run makes only what is new.
        progress: called as ``progress(done, total, what)``.
        report: a Parquet file to write: item and reason for every item without a row.

    Raises:
        DataProblem: no text field, no item with text, a model that cannot be had, a cache that cannot be written.
    """
    return _in_memory(source_of_items(dataset, encoder or TfidfText()), Work(_folder(cache), progress), report)


def extract_images(
    dataset: Dataset,
    encoder: Encoder | None,
    pictures: PictureSource,
    *,
    cache: Path | str | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    report: Path | str | None = None,
) -> tuple[Features, Fitted]:
    """Picture features of every item in memory; a missing or broken picture is absent, with its reason, and stops nothing.

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
    work = Work(_folder(cache), progress, workers)
    return _in_memory(source_of_items(dataset, encoder or DescriptorImage(), pictures), work, report)


def source_of_items(dataset: Dataset, encoder: Encoder, pictures: PictureSource | None = None) -> Source:
    """What ``extract_into`` encodes of a Dataset.

    Raises:
        DataProblem: the items have no text field, or lack one that the encoder was told to read.
    """
    if encoder.modality == "text":
        have = text_fields(dataset.catalog.fields)
        template, columns = wanted(encoder)
        for name in columns:
            if name not in have:
                raise DataProblem(f"the items have no text field '{name}'{nearest(name, have)}; they have: {', '.join(have)}")
        more: dict[str, Any] = {"template": template, "fields": text_fields(dataset.catalog.fields, columns)}
    else:
        more = {"pictures": pictures.about()["kind"]} if isinstance(pictures, KnownPictures) else {}
    return Source(dataset.catalog, encoder, pictures, more)


def encode_items(fitted: Fitted, fields: pa.Table, pictures: PictureSource | None = None) -> Encoded:
    """Rows of items that came later, from their fields (and pictures, for a picture encoder), by an encoder fitted before.

    Fields that this table lacks count as missing.  Raises DataProblem when it has no text field, or no ``image`` column.
    """
    contents = stream(fields, fitted.encoder, pictures)
    return contents.in_place(fitted.examine(contents, Work()))


def _in_memory(source: Source, work: Work, report: Path | str | None) -> tuple[Features, Fitted]:
    with tempfile.TemporaryDirectory(prefix="tmmsrec-") as place:
        fitted = extract_into(Path(place), source, work, Form(), _folder(report))
        mapped = store.read_features(Path(place) / "features" / source.encoder.modality)
        return replace(mapped, rows=np.array(mapped.rows), present=np.array(mapped.present)), fitted


def _folder(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)
