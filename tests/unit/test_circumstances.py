"""Which revision a run was made with."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tmmsrec.study.circumstances import _revision


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True).stdout.strip()


def test_the_revision_is_that_of_the_package_and_says_when_something_was_changed(tmp_path: Path) -> None:
    code = tmp_path / "src" / "code.py"
    code.parent.mkdir()
    code.write_text("one")
    assert _revision(code) is None
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    git(tmp_path, "tag", "v1")
    assert _revision(code) == git(tmp_path, "rev-parse", "--short", "HEAD")
    code.write_text("two")
    assert _revision(code) == git(tmp_path, "rev-parse", "--short", "HEAD") + "-dirty"


def test_an_environment_below_a_checkout_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    installed = tmp_path / ".venv" / "tmmsrec" / "__init__.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    assert _revision(installed) is None
