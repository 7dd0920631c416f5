"""A sample that is the same in whatever order things come, and never more in memory than the sample."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from operator import itemgetter
from typing import TypeVar

T = TypeVar("T")


def smallest(keyed: Iterable[tuple[bytes, T]], limit: int) -> list[T]:
    """Of many things, each after its key, the ``limit`` with the smallest keys, in the order of their keys."""
    return [thing for _, thing in heapq.nsmallest(limit, keyed, key=itemgetter(0))]
