"""Memory given back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Let go of what nobody holds any more, and of the gaps that it leaves.

    A bundle that was swapped out leaves its memory in pieces, which glibc keeps for itself: after 200 swaps a service held half as
    much again as it needed.  Elsewhere than on Linux with glibc only the first half is done.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
