"""A catalogue's features, made shard by shard by one process or many: describe, fit, encode, assemble."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from tmmsrec.data import store
from tmmsrec.data.catalog import Catalog
from tmmsrec.data.problems import DataProblem
from tmmsrec.extract.assemble import assemble
from tmmsrec.extract.base import Content, Encoded, Encoder, Fitted, Work
from tmmsrec.extract.describe import Described, Describer, describe_all
from tmmsrec.extract.plan import Crew, Form, Plan
from tmmsrec.extract.saved import load_encoder
from tmmsrec.extract.shards import BadShard, Shards, cannot_write, joined
from tmmsrec.extract.stream import PictureSource, Stream, stream
from tmmsrec.extract.whole import Arrays

LARGEST = {"float32": float(np.finfo(np.float32).max), "float16": float(np.finfo(np.float16).max)}


@dataclass(frozen=True, eq=False)
class Source:
    """What is encoded.

    Attributes:
        catalog: its ids and fields.
        encoder: the value.
        pictures: where pictures are, None for texts.
        more: further lines for the provenance.
    """

    catalog: Catalog
    encoder: Encoder
    pictures: PictureSource | None
    more: dict[str, Any]

    def part(self, items: slice) -> Stream:
        """The contents of some items (from 0)."""
        return stream(self.catalog.fields.slice(items.start, items.stop - items.start), self.encoder, self.pictures)


def extract_into(place: Path, source: Source, work: Work, form: Form, report: Path | None = None) -> Fitted:
    """Features in ``place``/features/MODALITY and the encoder in ``place``/encoders/MODALITY, each put there whole.

    Every process that calls this for the same place takes part; all are back when the features stand.  One that is killed leaves
    its finished shards, and whoever is called next goes on.  The rows do not depend on how many processes made them.

    Args:
        place: a Dataset folder, or any other.
        source: what is encoded.
        work: how; nothing in it changes a row.
        form: how the rows are written.
        report: a Parquet file to write: item and reason for every item without a row.

    Raises:
        NothingToLearn: not one item can be encoded, or they do not differ; so it is told to every process.
        DataProblem: a model cannot be had, a folder cannot be written, or other processes are at the same
            features by other options.
    """
    catalog, encoder, start = source.catalog, source.encoder, time.perf_counter()
    source.part(slice(0, 0))  # says what is missing before anything is written
    fields = tuple(catalog.fields.column_names)
    plan = Plan(encoder, form.dtype, form.shard or encoder.shard, len(catalog), fields)
    with joined(place / "features" / f".{encoder.modality}-shards", plan, Crew.told()) as shards:
        fitted = _Maker(source, shards, work).all()
        with shards.alone():
            last = not shards.ended()
            if last:
                try:
                    made = assemble(shards, catalog, fitted, source.more, start)
                except OSError as problem:
                    raise cannot_write(shards.folder, problem) from None
                _put(place, encoder.modality, made, report, fitted, len(catalog))
                shards.end()
        if last:
            shards.clear()
    return fitted


def _put(place: Path, modality: str, made: Path, report: Path | None, fitted: Fitted, items: int) -> None:
    """Take what was assembled to where it belongs; what a process left that was killed while it did so is removed."""
    for left in (*place.glob(f"features/.{modality}.*"), *place.glob(f"encoders/.{modality}.*")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        beside = report.with_name(f".{report.name}.new")
        shutil.copyfile(made / "missing.parquet", beside)  # the report may be on another disk
        beside.replace(report)
    (made / "missing.parquet").unlink(missing_ok=True)
    store.put_features(place / "features" / modality, made, items)
    fitted.save(place / "encoders" / modality)


class _Maker:
    """Makes shards of one extraction, with the encoder, its model and its cache opened once."""

    def __init__(self, source: Source, shards: Shards, work: Work) -> None:
        self.source, self.shards, self.encoder = source, shards, source.encoder
        self.plan, self.before, self.tell = shards.plan, 0, work.tell
        self.work = replace(work, mark=shards.token, progress=self._told)

    def all(self) -> Fitted:
        """Make all shards, with whoever else is at it; the encoder that was fitted on the way."""
        describer = self.encoder.describer()
        if describer is not None:
            self.shards.make_all("raw", lambda n: self._raw(n, describer))
        fitted = self._fitted()
        self.shards.make_all("rows", lambda n: self._rows(n, fitted))
        return fitted

    def _raw(self, n: int, describer: Describer) -> tuple[Arrays, dict[str, Any]]:
        self.before = len(self.shards.there("raw")) * self.plan.shard
        done = describe_all(describer, self._part(n), self.work)
        keys = np.frombuffer(b"".join(key or bytes(16) for key in done.keys), np.uint8).reshape(-1, 16)
        about = {"reasons": list(done.reasons.items()), "reused": done.reused}
        return {"rows": done.rows, "present": done.present, "keys": keys}, about

    def _described(self, n: int) -> Described:
        arrays, about = self.shards.read("raw", n)
        keys = [key.tobytes() for key in arrays["keys"]]
        return Described(arrays["rows"], arrays["present"], keys, dict(about["reasons"]), about["reused"])

    def _fitted(self) -> Fitted:
        """Fit once for all, or read what another process fitted."""
        with self.shards.alone():
            if self.shards.ended():
                return load_encoder(self.shards.folder.parent.parent / "encoders" / self.encoder.modality)
            if self.shards.encoder.exists():
                return load_encoder(self.shards.encoder)
            try:
                fitted = self.encoder.learn(self._contents(), (self._described(n) for n in range(self.plan.shards)))
            except BadShard:
                raise
            except DataProblem as problem:  # so it is for every process, until the items change
                self.shards.end(problem)
                raise
            fitted.save(self.shards.encoder)
            return fitted

    def _contents(self) -> Iterator[Content]:
        return chain.from_iterable(self._part(n) for n in range(self.plan.shards))

    def _rows(self, n: int, fitted: Fitted) -> tuple[Arrays, dict[str, Any]]:
        part = self._part(n)
        if self.encoder.describer() is not None:
            done = fitted.reduce(self._described(n))
        else:
            self.before = len(self.shards.there("rows")) * self.plan.shard
            done = fitted.examine(part, self.work)
        done = part.in_place(done)
        about = {"reasons": sorted(done.reasons.items()), "reused": done.reused}
        return {"rows": self._as_written(n, done), "present": done.present}, about

    def _as_written(self, n: int, done: Encoded) -> Any:
        largest = np.abs(done.rows).max(axis=1, initial=0)
        if (largest > LARGEST[self.plan.dtype]).any():
            item = self.source.catalog.ids[self.plan.items_of(n).start + int(largest.argmax()) + 1]
            said = f"the row of item {item} holds {largest.max():g}, more than {self.plan.dtype} can"
            raise DataProblem(f"{said} ({LARGEST[self.plan.dtype]:g}): write float32, or take an encoder with rows of length 1")
        return done.rows.astype(self.plan.dtype)

    def _part(self, n: int) -> Stream:
        return self.source.part(self.plan.items_of(n))

    def _told(self, done: int, total: int, what: str) -> None:
        """Of the whole catalogue, by all processes, as far as this one knows."""
        self.tell(min(self.before + done, self.plan.items), self.plan.items, what)
