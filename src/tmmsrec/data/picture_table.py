"""Pictures in a Parquet column of bytes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tmmsrec.data.picture_base import LARGEST, Found, Pictures
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import columns


class ParquetPictures(Pictures):
    """A Parquet file with a column of ids (or names) and one of bytes (or records with ``bytes``)."""

    kind = "parquet"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._mine = threading.local()
        try:
            schema = self._file().schema_arrow
            self._key, self._bytes = _picture_columns(schema, path)
            keys = [self._file().read_row_group(g, columns=[self._key])[self._key] for g in range(self._file().num_row_groups)]
        except (OSError, pa.ArrowException) as problem:
            raise DataProblem(
                f"{path} is no complete Parquet file ({str(problem).splitlines()[0]}); copy or write it again"
            ) from None
        pairs = ((str(k), (g, i)) for g, column in enumerate(keys) for i, k in enumerate(column.to_pylist()) if k is not None)
        self._where: dict[str, tuple[int, int]] = {}
        for key, place in pairs:
            if key in self._where:
                raise DataProblem(f"{path} holds two pictures for '{key}' in column '{self._key}'; keep one")
            self._where[key] = place

    def _file(self) -> pq.ParquetFile:
        if not hasattr(self._mine, "file"):
            self._mine.file, self._mine.group, self._mine.column = pq.ParquetFile(self.path), -1, None
        return self._mine.file

    def resolve(self, ids: Sequence[str], names: Sequence[str | None]) -> list[str | None]:
        """See ``Pictures.resolve``."""
        found = []
        for item, name in zip(ids, names, strict=True):
            found.append(name if name in self._where else item if item in self._where else None)
        return found

    def get(self, name: str) -> Found:
        """See ``Pictures.get``."""
        place = self._where.get(name)
        if place is None:
            return Found(None, "missing")
        group, row = place
        file = self._file()
        if self._mine.group != group:  # neighbours share a row group: the last one read stays at hand
            self._mine.column = file.read_row_group(group, columns=[self._bytes])[self._bytes]
            self._mine.group = group
        value = self._mine.column[row].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if data is None:
            return Found(None, "missing")
        return Found(data) if len(data) <= LARGEST else Found(None, "too large")

    def in_order(self, names: Sequence[str]) -> list[int]:
        """See ``Pictures.in_order``: by place in the file."""
        return sorted(range(len(names)), key=lambda i: self._where.get(names[i], (-1, -1)))


def _picture_columns(schema: pa.Schema, path: Path) -> tuple[str, str]:
    holds = [f.name for f in schema if is_picture_type(f.type)]
    if len(holds) != 1:
        raise DataProblem(
            f"{path} has {len(holds)} columns of bytes; a Parquet file of pictures needs an id column and exactly one of bytes"
        )
    names = [n for n in schema.names if n != holds[0]]
    key = columns.choose(names, None, (*columns.ITEM, "id", "name", "image_name", "file_name", "path"), "item id", path)
    return key, holds[0]


def is_picture_type(kind: pa.DataType) -> bool:
    """Whether an Arrow type can hold a picture's bytes, bare or as a record with a field ``bytes``."""
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
