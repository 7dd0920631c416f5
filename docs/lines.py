"""Set the line numbers in docs/paper.md anew: ``python docs/lines.py`` after code has moved.

A reference is a link whose words stand in the line that it points to.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def link(words: str, file: str) -> str:
    """A link to the first line of ``file`` that holds ``words``."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    at = next((n for n, line in enumerate(lines, 1) if words in line), None)
    if at is None:
        raise SystemExit(f"{file} has no line with {words!r}: correct docs/paper.md by hand")
    return f"[`{words}`](../{file}#L{at})"


def main() -> None:
    """Rewrite the page."""
    page = ROOT / "docs" / "paper.md"
    text = page.read_text(encoding="utf-8")
    pattern = r"\[`([^`]+)`\]\(\.\./(src/[^)#]+)#L\d+\)"
    page.write_text(re.sub(pattern, lambda m: link(m[1], m[2]), text), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        raise SystemExit(__doc__)
    main()
