"""Whole numbers in order."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_CROWDED = 4  # numbers up to so many times as many as there are keys are marked in a table, which is quicker than to sort the keys


def in_order(keys: Tensor) -> tuple[Tensor, Tensor]:
    """[n] int64, none negative -> the same, rising, and where each of them stood; equal ones keep their order.

    On a processor a number and its place are packed into one, which numpy sorts four to five times as fast as torch sorts pairs.
    """
    bits = len(keys).bit_length()
    if keys.device.type != "cpu" or not len(keys) or int(keys.max()) >= 1 << (63 - bits):
        found, place = keys.sort(stable=True)
        return found, place
    packed = (keys << bits) | torch.arange(len(keys))
    packed.numpy().sort()
    return packed >> bits, packed & ((1 << bits) - 1)


def kept(holds: Tensor, *columns: Tensor) -> tuple[Tensor, ...]:
    """The entries of columns [n, ...] at which it holds, bool [n]; its places are asked for once, and not where it always holds."""
    if bool(holds.all()):
        return columns
    place = holds.nonzero()[:, 0]
    return tuple(column.index_select(0, place) for column in columns)


def distinct(keys: Tensor) -> tuple[Tensor, Tensor]:
    """[n] int64, none negative -> each number once [u], rising, and the place of each key among them [n]."""
    if keys.device.type == "cpu" and len(keys) and int(keys.max()) < _CROWDED * len(keys):
        return _marked(keys)
    rising, place = in_order(keys)
    found, among = torch.unique_consecutive(rising, return_inverse=True)
    return found, torch.empty_like(among).scatter_(0, place, among)


def _marked(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The same by a table of all numbers up to the largest key."""
    asked = keys.numpy()
    there = np.zeros(int(asked.max()) + 1, bool)
    there[asked] = True
    found = np.flatnonzero(there)
    number = np.empty(len(there), np.int64)
    number[found] = np.arange(len(found))
    return torch.from_numpy(found), torch.from_numpy(number[asked])
