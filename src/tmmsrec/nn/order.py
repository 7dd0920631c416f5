"""Whole numbers in order."""

from __future__ import annotations

import torch
from torch import Tensor


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


def distinct(keys: Tensor) -> tuple[Tensor, Tensor]:
    """[n] int64, none negative -> each number once [u], rising, and the place of each key among them [n]."""
    rising, place = in_order(keys)
    found, among = torch.unique_consecutive(rising, return_inverse=True)
    return found, torch.empty_like(among).scatter_(0, place, among)
