"""Extractions by real processes, started by torchrun as on a cluster, on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.unit.test_extract_shards import extract, shop, written  # noqa: F401 (shop is a fixture)
from tmmsrec.data import store
from tmmsrec.data.dataset import Dataset
from tmmsrec.extract import Form, TfidfText

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENCODER = TfidfText(width=8)

# Each process makes one shard; then the second is killed, and the first is at a shard that it would never finish.
DYING = """
import os, signal, sys, time
from pathlib import Path
from tmmsrec.cli import main
from tmmsrec.extract import sharded

whole, made = sharded._Maker._rows, []

def rows(self, n, fitted):
    made.append(n)
    if len(made) > 1 and os.environ["RANK"] == "1":
        while len(self.shards.there("rows")) < 2:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)
    while len(made) > 1:
        time.sleep(0.1)
    return whole(self, n, fitted)

sharded._Maker._rows = rows
main()
"""


def command(folder: Path, *more: object) -> list[str]:
    return [str(a) for a in ("extract", folder, "--image", "none", "--width", 8, "--shard", 32, "--no-cache", *more)]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    there = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*TORCHRUN, *arguments], capture_output=True, text=True, timeout=300, env=there)


def test_two_processes_write_what_one_does_and_one_speaks(tmp_path: Path, shop: Dataset) -> None:  # noqa: F811
    store.save(shop, tmp_path / "d")
    done = torchrun("-m", "tmmsrec", *command(tmp_path / "d", "--dtype", "float16"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("1 of 2 modalities have features") == 1
    assert done.stdout.count("no text for item") == 20
    extract(tmp_path / "one", shop, ENCODER, Form("float16", 32))
    both = {n: f for n, f in written(tmp_path / "d").items() if n.startswith(("features", "encoders"))}
    assert both == written(tmp_path / "one")
    assert store.load(tmp_path / "d").features["text"].rows.dtype == np.float16


def test_after_a_kill_under_torchrun_another_number_of_processes_goes_on(tmp_path: Path, shop: Dataset) -> None:  # noqa: F811
    store.save(shop, tmp_path / "d")
    (tmp_path / "dying.py").write_text(DYING)
    done = torchrun(str(tmp_path / "dying.py"), *command(tmp_path / "d"))
    assert done.returncode != 0
    assert "Signal 9" in done.stderr
    kept = sorted((tmp_path / "d" / "features" / ".text-shards" / "rows").glob("0*.safetensors"))
    assert [file.stem for file in kept] == ["000000", "000003"]
    assert "text" not in store.load(tmp_path / "d").features
    extract(tmp_path / "d", shop, ENCODER)
    extract(tmp_path / "one", shop, ENCODER)
    both = {n: f for n, f in written(tmp_path / "d").items() if n.startswith(("features", "encoders"))}
    assert both == written(tmp_path / "one")
