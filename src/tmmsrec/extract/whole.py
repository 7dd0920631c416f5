"""A safetensors file that is there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Arrays = dict[str, NDArray[Any]]


def save_whole(path: Path, arrays: Arrays, about: dict[str, str] | None = None) -> None:
    """Write beside ``path``, under a name that begins with ".shard.", and rename into place once it is on disk.

    Raises:
        OSError, SafetensorError: the disk refuses; nothing half-written stays.
    """
    handle, name = tempfile.mkstemp(prefix=".shard.", dir=path.parent)
    os.close(handle)
    try:
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, name, about)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
