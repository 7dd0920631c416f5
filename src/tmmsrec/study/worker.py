"""One job of a study in a process of its own: ``python -m tmmsrec.study.worker`` reads it as JSON from its input.

Its exit status is BUSY where another process is at the same job.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tmmsrec.data import store
from tmmsrec.study.claim import Busy
from tmmsrec.study.run import job_of, run

BUSY = 75  # EX_TEMPFAIL of sysexits.h: try again later


def main() -> None:
    """Do the job; the run folder holds the result."""
    asked = json.loads(sys.stdin.read())
    try:
        run(job_of(asked["job"]), store.load(Path(asked["dataset"])), Path(asked["root"]), wait=False, test=asked["test"])
    except Busy:
        sys.exit(BUSY)


if __name__ == "__main__":
    main()
