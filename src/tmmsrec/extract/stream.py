"""What is encoded of each item of a table: its text, or its picture, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tmmsrec.data.pictures import Pictures
from tmmsrec.data.problems import DataProblem
from tmmsrec.extract.base import Absent, Content, Encoded
from tmmsrec.extract.templates import flatten, wanted


class PictureSource(Protocol):
    """Where pictures come from; ``tmmsrec.data.pictures`` has folders, zips, Parquet files and web addresses."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a picture, or None where there is none of that name."""
        ...


class Stream(Protocol):
    """The contents of a table's items, one for each, in the order that is cheapest to read."""

    def __len__(self) -> int:
        """How many items."""
        ...

    def __iter__(self) -> Iterator[Content]:
        """One content after the other."""
        ...

    def in_place(self, done: Encoded) -> Encoded:
        """What was encoded from this stream, in the order of the items."""
        ...


class TextStream:
    """A sentence of each item, as an encoder wants it."""

    def __init__(self, fields: pa.Table, encoder: Any) -> None:
        self.fields, self.wanted = fields, wanted(encoder)

    def __len__(self) -> int:
        return int(self.fields.num_rows)

    def __iter__(self) -> Iterator[str]:
        yield from flatten(self.fields, *self.wanted)

    def in_place(self, done: Encoded) -> Encoded:
        """See ``Stream.in_place``; texts are read in the order of the items."""
        return done


class PictureStream:
    """The pictures named in the column ``image``, read when they are asked for, in the order that is cheapest to read.

    Attributes:
        order: [I] the item (from 0) of each picture in turn.
    """

    def __init__(self, fields: pa.Table, source: PictureSource) -> None:
        if "image" not in fields.column_names:
            known = ", ".join(map(repr, fields.column_names)) or "none"
            raise DataProblem(f"the item table has no column 'image' that names pictures; its fields are: {known}")
        self.names: list[Any] = fields["image"].to_pylist()
        self.source = source
        named = [i for i, n in enumerate(self.names) if n is not None and str(n).strip()]
        if isinstance(source, Pictures):
            named = [named[i] for i in source.in_order([str(self.names[i]) for i in named])]
        unnamed = np.setdiff1d(np.arange(len(self.names)), named)
        self.order: NDArray[np.int64] = np.concatenate([np.array(named, np.int64), unnamed.astype(np.int64)])

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[bytes | Absent]:
        for item in self.order:
            yield self._read(self.names[item])

    def in_place(self, done: Encoded) -> Encoded:
        """See ``Stream.in_place``."""
        rows, present = np.empty_like(done.rows), np.empty_like(done.present)
        rows[self.order], present[self.order] = done.rows, done.present
        return Encoded(rows, present, {int(self.order[i]): r for i, r in done.reasons.items()}, done.reused)

    def _read(self, name: Any) -> bytes | Absent:
        if name is None or not str(name).strip():
            return Absent("the item named no picture that was there when the data was prepared")
        try:
            if isinstance(self.source, Pictures):
                found = self.source.get(str(name))
                return found.data if found.data is not None else Absent(f"no picture: {found.status}")
            data = self.source.read(str(name))
        except (DataProblem, OSError) as problem:
            return Absent(f"the picture cannot be read: {problem}")
        return Absent("the picture it names was not found") if data is None else data


def stream(fields: pa.Table, encoder: Any, pictures: PictureSource | None) -> Stream:
    """The contents that an encoder encodes of an item table.

    Raises:
        DataProblem: no text field, or no column ``image``, or no place where pictures are.
    """
    if encoder.modality == "text":
        return TextStream(fields, encoder)
    if pictures is None:
        raise DataProblem("to encode pictures of items, say where their pictures are")
    return PictureStream(fields, pictures)
