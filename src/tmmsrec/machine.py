"""What the machine has, and what this process holds of it."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def memory() -> int | None:
    """Bytes of the device, of the machine or its control group; or what TMMSREC_MEMORY says: "40GB", or "unlimited" (None)."""
    told = os.environ.get("TMMSREC_MEMORY")
    if told:
        return _read(told)
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")] if hasattr(os, "sysconf") else []
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = Path(file).read_text().strip() if Path(file).exists() else ""
        found += [int(text)] if text.isdigit() else []
    return min(found, default=None)


def _read(told: str) -> int | None:
    units = {"gib": (1 << 30), "gb": 10**9, "mib": 1 << 20, "mb": 10**6, "": 1}
    number = told.strip().lower().rstrip("gimb ")
    unit = told.strip().lower()[len(number) :].strip()
    try:
        return None if told.strip().lower() == "unlimited" else int(float(number) * units[unit])
    except (ValueError, KeyError):
        raise ValueError(f"TMMSREC_MEMORY={told!r} is no amount of memory: write 40GB, 24GiB or unlimited") from None


def held() -> int:
    """What the process holds of it now; 0 where the system does not tell."""
    if torch.cuda.is_available():
        return int(torch.cuda.memory_allocated())
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS")), 0)
