"""The README's example runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_example(tmp_path):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ}, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.match(r"HR@10 0\.\d+ of \d+ users", lines[0])
    assert len(lines) == 4
    assert all("'id'" in line and "'text'" in line and "'image'" in line for line in lines[1:])
    assert (tmp_path / "example" / "bundle" / "bundle.json").exists()


def test_the_two_commands_and_the_verbs_that_it_names_are_there():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    from tmmsrec.cli import app

    known = {c.name or c.callback.__name__ for c in app.registered_commands} | {g.name for g in app.registered_groups}
    assert set(re.findall(r"(?:^    |`)tmmsrec ([a-z]+)", README, re.MULTILINE)) <= known
