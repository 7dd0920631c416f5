"""Preparation: ten million events from Parquet to a Dataset folder, in a process of its own so that its peak memory is known.

``python -m bench.prepare EVENTS FOLDER`` is that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.rows import Row

EVENTS, USERS, ITEMS = 10_000_000, 1_000_000, 200_000


def run(quick: bool = False) -> list[Row]:
    """Two rows: seconds and peak memory.  Quick takes a tenth of the events and sets no goal."""
    events = EVENTS // 10 if quick else EVENTS
    with tempfile.TemporaryDirectory() as name:
        raw, made = Path(name, "events.parquet"), Path(name, "dataset")
        _write(raw, events)
        size = raw.stat().st_size / 1e6
        command = [sys.executable, "-m", "bench.prepare", str(raw), str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"preparation failed:\n{done.stderr}")
    about = json.loads(done.stdout.splitlines()[-1])
    note = f"{events:,} events, text ids, {size:.0f} MB of Parquet; {about['users']:,} users and {about['items']:,} items kept"
    slow, big = (None, None) if quick else (60.0, 4.0)
    return [
        Row("prepare, time", slow, about["seconds"], "s", False, note, about),
        Row("prepare, peak memory", big, about["bytes"] / 1e9, "GB", False, "the whole process, imports included"),
    ]


def _write(file: Path, events: int) -> None:
    """Events in no order, with text ids, written in pieces."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    share, piece = events / EVENTS, 1_000_000
    schema = pa.schema({"user_id": pa.string(), "item_id": pa.string(), "timestamp": pa.int64()})
    with pq.ParquetWriter(file, schema) as writer:
        for start in range(0, events, piece):
            n = min(piece, events - start)
            user = rng.integers(0, int(USERS * share), n)
            item = (int(ITEMS * share) * rng.random(n) ** 2).astype(np.int64)
            numbers = (("U", user), ("B00", item))
            ids = [pc.binary_join_element_wise(mark, pa.array(at).cast(pa.string()), "") for mark, at in numbers]
            moments = pa.array(rng.integers(1_400_000_000, 1_600_000_000, n))
            writer.write_table(pa.table([*ids, moments], schema=schema))


def peak() -> int:
    """Most bytes that this process ever held in memory."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would still remember the parent's size from before exec
        line = next((one for one in status.read_text(encoding="ascii").splitlines() if one.startswith("VmHWM")), None)
        if line:
            return int(line.split()[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _child(raw: str, made: str) -> None:
    from tmmsrec.data.prepare import prepare_to
    from tmmsrec.data.sources import Source
    from tmmsrec.data.sources.table import TableEvents

    begun = time.perf_counter()
    dataset = prepare_to(made, Source(TableEvents(Path(raw))))
    took = time.perf_counter() - begun
    about = {"users": dataset.n_users, "items": dataset.n_items, "kept": len(dataset.interactions)}
    print(json.dumps({"seconds": took, "bytes": peak(), **about}))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    _child(*sys.argv[1:])
