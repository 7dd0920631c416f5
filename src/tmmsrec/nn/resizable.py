"""Buffers as long as what was counted: they take the length of what is loaded into them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Resizable(nn.Module):
    """A module some of whose buffers hold a list of unknown length: edges of a graph, pairs that were counted.

    Buffers named in ``resizable`` are saved as they are and take the length of what is loaded.
    """

    resizable: ClassVar[tuple[str, ...]] = ()

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
        for name in self.resizable:
            held = getattr(self, name, None)  # a part that was built without it leaves it to load_state_dict to complain
            if held is not None and prefix + name in state:
                setattr(self, name, torch.empty_like(state[prefix + name], device=held.device))
        super()._load_from_state_dict(state, prefix, *rest)
