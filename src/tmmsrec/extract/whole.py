"""Arrays in a safetensors file that is there as a whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tmmsrec.data.whole import whole

Arrays = dict[str, NDArray[Any]]


def save_whole(path: Path, arrays: Arrays, about: dict[str, str] | None = None) -> None:
    """Write beside ``path``, under a name that begins with ".shard.", and rename into place once it is on disk.

    Raises:
        OSError, SafetensorError: the disk refuses; nothing half-written stays.
    """
    with whole(path, ".shard.") as fresh:
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, fresh, about)
