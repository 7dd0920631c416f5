"""Outside ids, kept exactly as they were given, and their rows inside."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from tmmsrec.data.problems import UnknownId


class Ids:
    """A list of distinct outside ids (text or integers, never changed) and the row of each.

    ``first`` is the row of the first id: 0 for users, 1 for items, where row 0 is padding.
    """

    def __init__(self, values: pa.Array | list[Any], first: int = 0, what: str = "id") -> None:
        array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
        self.array: pa.Array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        self.first = first
        self.what = what

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.array.to_pylist())

    def __getitem__(self, row: int) -> Any:
        """The outside id of a row; raises IndexError outside ``first .. first + len - 1``."""
        if not self.first <= row < self.first + len(self):
            raise IndexError(f"{self.what} row {row} outside {self.first}..{self.first + len(self) - 1}")
        return self.array[int(row) - self.first].as_py()

    def __contains__(self, value: Any) -> bool:
        return self.same_type(value) in self._rows

    @cached_property
    def _rows(self) -> dict[Any, int]:
        return {v: self.first + i for i, v in enumerate(self.array.to_pylist())}

    def same_type(self, value: Any) -> Any:
        """A value in the type of the ids: 42 and "42" name the same id, for all are of one type; "042" never becomes 42."""
        if pa.types.is_integer(self.array.type):
            if isinstance(value, str) and value.isascii() and value.isdigit() and str(int(value)) == value:
                return int(value)
            return int(value) if isinstance(value, np.integer) else value
        return str(value) if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else value

    def row(self, value: Any) -> int:
        """The row of an outside id.

        Raises:
            UnknownId: the id is not there; the message names the nearest one.
        """
        found = self._rows.get(self.same_type(value))
        if found is None:
            close = difflib.get_close_matches(str(value), [str(v) for v in list(self._rows)[:20000]], n=1)
            hint = f"; the nearest known one is '{close[0]}'" if close else ""
            raise UnknownId(f"unknown {self.what} {value!r}: none of the {len(self)} {self.what}s has it{hint}")
        return found

    def rows(self, values: Iterable[Any]) -> np.ndarray:
        """Rows of many outside ids, int64; raises UnknownId at the first unknown one."""
        return np.fromiter((self.row(v) for v in values), dtype=np.int64)
