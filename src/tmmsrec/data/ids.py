"""Outside ids, kept exactly as they were given, blanks around them too, and their rows inside.

Nothing is trimmed in any format or question: " u1" and "u1" are two users.  An id of blanks alone counts as none.
"""

from __future__ import annotations

import difflib
import heapq
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from operator import eq
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tmmsrec.data.problems import UnknownId

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")  # as an integer is written, and no longer than one of 64 bits


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
            if isinstance(value, str) and _WHOLE.fullmatch(value):
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
            near = self._nearest(str(value))
            hint = f"; the nearest known one is '{near}'" if near else ""
            raise UnknownId(f"unknown {self.what} {value!r}: none of the {len(self)} {self.what}s has it{hint}")
        return found

    def _nearest(self, word: str) -> str | None:
        """The known id (of the first 20,000) that is most like a word; None when none is."""
        if len(word) > 100:
            return None
        known = [str(v) for v in islice(self._rows, 20_000)]
        # difflib takes half a second for them all: it sees those that have the most characters in the same places.
        alike = heapq.nlargest(200, known, key=lambda one: sum(map(eq, one, word)) + 2 * (one[-3:] == word[-3:]))
        return next(iter(difflib.get_close_matches(word, alike, n=1)), None)

    def rows(self, values: pa.Array) -> NDArray[np.int64]:
        """[n] rows of many outside ids of the same type; raises UnknownId at the first unknown one."""
        found = pc.index_in(values, value_set=self.array)
        if found.null_count:
            self.row(values[pc.index(pc.is_null(found), True).as_py()].as_py())
        return np.asarray(found.to_numpy(), dtype=np.int64) + self.first
