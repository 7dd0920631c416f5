"""Feature rows for a model: held by it, or, where they are many, left where they are stored and read when they are asked for."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmmsrec.data.catalog import Features
from tmmsrec.data.mapping import by_the_row, give_back, in_turn


class Stored:
    """Rows [n, f] that stay where they are; those that are asked for come as float32.

    Nothing is ever written, so a copy of one is the very same.
    """

    def __init__(self, rows: NDArray[np.floating]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """f, how many numbers describe one item."""
        return int(self.rows.shape[1])

    def __call__(self, rows: Tensor) -> Tensor:
        """The rows [...] as [..., f] float32, on the device of ``rows``."""
        asked = rows.flatten().cpu().numpy()
        if len(asked) and asked[-1] - asked[0] == len(asked) - 1 and (np.diff(asked) == 1).all():  # as a pass over all of them asks
            in_turn(self.rows)
            found = self.rows[asked[0] : asked[-1] + 1].astype(np.float32)
        else:
            by_the_row(self.rows)
            found = self.rows[asked].astype(np.float32, copy=False)
        give_back(self.rows)
        return torch.from_numpy(found).view(*rows.shape, self.width).to(rows.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Stored:
        return self


@cache
def leave_to_python() -> None:
    """Have ``torch.compile`` leave the reading of stored rows to Python.

    To be called before anything is compiled.  No decorator says it, since that would import the compiler, which takes a second,
    wherever somebody only asks.
    """
    Stored.__call__ = torch.compiler.disable(Stored.__call__)  # type: ignore[method-assign, no-untyped-call]


def feature_rows(features: Features) -> Tensor | Stored:
    """[I+1, f]: a float32 tensor of the model's own, or the rows where they are stored, see ``Features.held``."""
    return torch.tensor(features.rows, dtype=torch.float32) if features.in_memory else Stored(features.rows)
