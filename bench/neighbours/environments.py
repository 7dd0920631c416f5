"""An environment of its own for each neighbour: made once, used again.  One that cannot be made is told of, and is no error."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

_INSTALLING = 1800.0  # seconds


@dataclass(frozen=True)
class Contender:
    """Who takes part.

    Attributes:
        name: in tables.
        module: of this folder; run as the contender's main.
        packages: for pip; none for what runs in our own environment.
        python: of Python 3, the least minor version that the packages ask for, and the first that they do not know.
        imports: what a person imports before training it, as Python.
        arguments: for the module.
    """

    name: str
    module: str
    packages: tuple[str, ...] = ()
    python: tuple[int, int] = (11, 30)
    imports: str = ""
    arguments: tuple[str, ...] = ()


TORCH = "torch==2.13.0"
OURS = Contender("tmmsrec", "ours", imports="import tmmsrec, tmmsrec.zoo, tmmsrec.fit")
SEEING = replace(OURS, name="tmmsrec, padding seen", arguments=("--padding",))
OWN = (OURS.name, SEEING.name)
_REPLAY = Contender(
    "RePlay",
    "replay_sasrec",
    ("replay-rec[torch]==0.22.0", TORCH),
    (10, 15),
    "import lightning, replay.data.nn, replay.nn.lightning, replay.nn.sequential, replay.nn.transform.template",
)
NEIGHBOURS = (
    SEEING,
    Contender("padded reference", "padded", imports="import torch"),
    Contender(
        "RecTools",
        "rectools_sasrec",
        ("rectools[torch]==0.19.0", TORCH),
        (9, 14),
        "from rectools.models import SASRecModel",
    ),
    _REPLAY,
    Contender(
        "RePlay, rows grouped",
        _REPLAY.module,
        _REPLAY.packages,
        _REPLAY.python,
        _REPLAY.imports,
        arguments=("--grouped",),
    ),
    Contender(
        "WarpRec",
        "warprec_sasrec",
        ("warprec==2.2.8", TORCH),
        (12, 30),
        "import lightning, warprec.data.dataset, warprec.recommenders.sequential_recommender.sasrec",
    ),
)


class Missing(RuntimeError):
    """An environment that cannot be made; the message says why."""


def interpreter(contender: Contender, envs: Path) -> Path:
    """The Python of a contender's environment, which is made in a folder of ``envs`` where it is not there yet.

    Raises:
        Missing: no Python of a version that it asks for, or pip could not install it.
    """
    if not contender.packages:
        return Path(sys.executable)
    folder = envs / contender.module
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    wanted = asdict(contender) | {"name": "", "arguments": (), "imports": ""}  # who shares a module shares its environment
    note, failed = folder / "ready.json", folder / "failed.txt"
    if note.exists() and note.read_text(encoding="utf-8") == json.dumps(wanted):
        return python
    if failed.exists():
        raise Missing(f"{failed.read_text(encoding='utf-8').strip()} (delete {folder} to try again)")
    if not python.exists():
        _run([_base(contender), "-m", "venv", str(folder)], folder)
    _run([str(python), "-m", "pip", "install", "--quiet", *contender.packages], folder)
    note.write_text(json.dumps(wanted), encoding="utf-8")
    return python


def _base(contender: Contender) -> str:
    """A Python that the packages know: this one, or the newest that the search path offers."""
    least, beyond = contender.python
    if sys.version_info.major == 3 and least <= sys.version_info.minor < beyond:
        return sys.executable
    for minor in range(beyond - 1, least - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:  # a shim may lead nowhere
            return found
    raise Missing(f"{contender.name} asks for Python 3.{least} or newer, and none that it knows is on the search path")


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALLING)
    except subprocess.TimeoutExpired:
        raise Missing(f"'{' '.join(command[1:])}' took more than {_INSTALLING:.0f} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:] or ["?"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "failed.txt").write_text(f"'{' '.join(command[1:])}': {said[-1]}", encoding="utf-8")
        raise Missing(f"'{' '.join(command[1:])}': {said[-1]}")
