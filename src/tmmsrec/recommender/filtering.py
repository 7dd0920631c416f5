"""Which items a filter by their fields lets through: ``{"brand": ["Nordlys", "Fjell"], "price": {"min": 10, "max": 50}}``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmmsrec.data.catalog import Catalog
from tmmsrec.data.problems import DataProblem
from tmmsrec.values import nearest

_NONE = np.zeros(0, np.int64)


class Filters:
    """Filters over one catalogue.  What they need of a field is made when it is first asked for.

    Args:
        catalog: its fields are text or numbers.
        device: where the masks go.
    """

    def __init__(self, catalog: Catalog, device: torch.device) -> None:
        self._catalog, self._device = catalog, device
        self._rows: dict[str, dict[str, NDArray[np.int64]]] = {}
        self._numbers: dict[str, NDArray[np.float64]] = {}

    def mask(self, where: Mapping[str, Any]) -> Tensor:
        """[I+1] bool: items that every named field lets through; one that lacks the field is not let through.

        A field is one value, a list of values of which any will do (compared as text), or ``{"min": ..., "max": ...}`` with
        one or both ends, which are let through.

        Raises:
            DataProblem: an unknown field (the nearest is named), a field without numbers asked for a range, or another form.
        """
        if not isinstance(where, Mapping):
            raise DataProblem(f"where: must be fields and what they may be, such as {{'brand': ['Nordlys']}}, got {where!r}")
        found = np.ones(len(self._catalog) + 1, np.bool_)
        for field, wanted in where.items():
            if field not in self._catalog.text_columns:
                has = ", ".join(self._catalog.text_columns) or "none"
                raise DataProblem(f"where.{field}: no such field{nearest(field, self._catalog.text_columns)}; there are: {has}")
            found &= self._range(field, wanted) if isinstance(wanted, Mapping) else self._any_of(field, wanted)
        found[0] = False
        return torch.from_numpy(found).to(self._device)

    def _any_of(self, field: str, wanted: Any) -> NDArray[np.bool_]:
        values = [wanted] if isinstance(wanted, (str, int, float)) else list(wanted) if isinstance(wanted, Iterable) else [wanted]
        if not all(isinstance(value, (str, int, float)) for value in values):
            raise DataProblem(f"where.{field}: give a value, a list of values, or {{'min': ..., 'max': ...}}, got {wanted!r}")
        rows = self._by_value(field)
        found = np.zeros(len(self._catalog) + 1, np.bool_)
        for value in values:
            found[rows.get(_text(value), _NONE)] = True
        return found

    def _by_value(self, field: str) -> dict[str, NDArray[np.int64]]:
        if field not in self._rows:
            rows: dict[str, list[int]] = {}
            for row, value in enumerate(self._catalog.fields[field].to_pylist(), start=1):
                if value is not None:
                    rows.setdefault(_text(value), []).append(row)
            self._rows[field] = {value: np.array(own, np.int64) for value, own in rows.items()}
        return self._rows[field]

    def _range(self, field: str, wanted: Mapping[str, Any]) -> NDArray[np.bool_]:
        strange = [name for name in wanted if name not in ("min", "max")]
        if strange or not wanted:
            raise DataProblem(f"where.{field}: a range has 'min', 'max' or both, got {dict(wanted)!r}")
        for name, end in wanted.items():
            if isinstance(end, bool) or not isinstance(end, (int, float)) or math.isnan(end):
                raise DataProblem(f"where.{field}.{name}: must be a number, got {end!r}")
        numbers = self._as_numbers(field)
        low, high = wanted.get("min", -math.inf), wanted.get("max", math.inf)
        if low > high:
            raise DataProblem(f"where.{field}: no number is at least {low:g} and at most {high:g}; exchange 'min' and 'max'")
        result: NDArray[np.bool_] = (numbers >= low) & (numbers <= high)  # NaN is in no range
        return result

    def _as_numbers(self, field: str) -> NDArray[np.float64]:
        if field not in self._numbers:
            numbers = np.array([math.nan, *_numbers(self._catalog.fields[field].to_pylist())])
            if np.isnan(numbers).all():
                raise DataProblem(f"where.{field}: the field holds no numbers, so it has no range; give a list of values")
            self._numbers[field] = numbers
        return self._numbers[field]


def _text(value: Any) -> str:
    """A value as text; 4.0 and 4 are the same."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


# How a number is written: with a point before its fraction, and perhaps commas between thousands, or the other way round.
_WRITTEN = {
    ".": re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?\.\d+"),
    ",": re.compile(r"[-+]?(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d*)?"),
}
_UNIT = re.compile(r"^[^\d.,+-]+|[^\d.,]+$")  # a currency, before it or after it


def _numbers(values: Sequence[Any]) -> list[float]:
    """The number of each value, NaN where it is none; a currency beside it does not matter.

    Whether a point or a comma stands before the fraction, all texts of the field say together: "1.299" alone could be either.
    """
    texts = [_UNIT.sub("", one.strip()) for one in values if isinstance(one, str)]
    fitting = {mark: sum(bool(form.fullmatch(text)) for text in texts) for mark, form in _WRITTEN.items()}
    mark = "," if fitting[","] > fitting["."] else "."
    return [_number(one, mark) for one in values]


def _number(value: Any, mark: str) -> float:
    if isinstance(value, str):
        text = _UNIT.sub("", value.strip())
        if not _WRITTEN[mark].fullmatch(text):
            return math.nan
        return float(text.replace("." if mark == "," else ",", "").replace(",", "."))
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
