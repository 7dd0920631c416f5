"""The command line with checkpoints and logs at every step, for tests that kill it."""

from __future__ import annotations

import tmmsrec.checkpoint as checkpoint
from tmmsrec.cli import main

if __name__ == "__main__":
    checkpoint.Saver.save_if_due = checkpoint.Saver.save
    main()
