"""One job of a study in a process of its own: ``python -m tmmsrec.study.worker`` reads it as JSON from its input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tmmsrec.data import store
from tmmsrec.study.run import job_of, run


def main() -> None:
    """Do the job; the run folder holds the result."""
    asked = json.loads(sys.stdin.read())
    run(job_of(asked["job"]), store.load(Path(asked["dataset"])), Path(asked["root"]))


if __name__ == "__main__":
    main()
