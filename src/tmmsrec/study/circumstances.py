"""What a run ran on and with: memory and versions."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import tmmsrec


def peak_memory() -> int | None:
    """Most memory that this process has held so far, in MB; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells on Linux can be the parent's, whose size a child begins with
        peak = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), "")
        if peak:
            return round(int(peak.split()[1]) / 1024)
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def versions() -> dict[str, str]:
    """What ran: package, Python, torch and numpy versions, and the package's git revision where it runs from a checkout."""
    found = {
        "tmmsrec": tmmsrec.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    revision = _revision(Path(tmmsrec.__file__))
    return found | ({"git": revision} if revision else {})


def _revision(file: Path) -> str | None:
    """The short revision of the checkout that holds a file, "-dirty" added where something was changed since; None outside one."""

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(file.parent), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)  # an environment below somebody's checkout is no part of it
        return git("describe", "--always", "--dirty", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
