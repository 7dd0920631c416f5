"""How a value is spelt in a line for people: anything that JSON holds, a p-value, a difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(data: Any) -> str:
    """A JSON-like value in one line for people."""
    if isinstance(data, Mapping):
        return ", ".join(f"{str(k).replace('_', ' ')} {plain(v)}" for k, v in data.items() if v not in (None, "", {}, []))
    if isinstance(data, (list, tuple)):
        return ", ".join(plain(v) for v in data)
    if isinstance(data, float):
        return f"{data:.4g}"
    return f"{data:,}" if isinstance(data, int) and not isinstance(data, bool) else str(data)


def probability(p: float) -> str:
    """A p-value, "0.0359"; tiny ones only as such."""
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def signed(difference: float, form: str = ".4f") -> str:
    """A difference, "+0.0120"; nothing at all has no sign."""
    shown = f"{difference:+{form}}"
    return shown if any(c in "123456789" for c in shown) else shown[1:]
