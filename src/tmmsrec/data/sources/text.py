"""Lines of `user item unixtime`, split by blanks, without a header: the form of the paper's own files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ibis

from tmmsrec.data.engines import PLACE, Desk
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Events, files

# Blanks by name: what \s stands for differs between the engines.
_GAP, _WORD = r"[ \t\n\f\r]", r"([^ \t\n\f\r]+)"
FIELD = f"^{_GAP}*{_WORD}{_GAP}+{_WORD}{_GAP}+{_WORD}{_GAP}*$"


@dataclass(frozen=True)
class TextLines:
    """A file of such lines; blank lines are passed over."""

    path: Path

    def events(self, desk: Desk) -> Events:
        """Read them; raises DataProblem naming the first line that has not three fields."""
        needed = "three fields are needed, user item unixtime, split by blanks"
        return Events(by_pattern(desk, self.path, FIELD, {"user": 1, "item": 2, "time": 3}, needed), str(self.path), "line")


def by_pattern(desk: Desk, path: Path, pattern: str, groups: Mapping[str, int], needed: str) -> ibis.Table:
    """Lines without a header, taken apart by a pattern that all engines read alike; blank lines are passed over.

    Args:
        desk: where.
        path: the file.
        pattern: what a whole line looks like.
        groups: column -> the group of the pattern that it is; ``position`` is added.
        needed: words for what a line must be.

    Raises:
        DataProblem: the first line of another form, with its number, itself and ``needed``.
    """
    files.first_lines(path)
    raw = files.read_lines(desk, path)
    raw = raw.filter(raw.line.strip().length() > 0)
    bad = raw.filter(~raw.line.re_search(pattern)).order_by(PLACE).limit(1).to_pyarrow().to_pylist()
    if bad:
        raise DataProblem(f"line {bad[0][PLACE] + 1} of {path} is {bad[0]['line'][:80]!r}: {needed}")
    return raw.select(**{name: raw.line.re_extract(pattern, i) for name, i in groups.items()}, position=raw[PLACE])
