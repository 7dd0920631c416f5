"""``python -m tmmsrec``."""

from tmmsrec.cli import main

main()
