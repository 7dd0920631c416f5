"""Lines of `user item unixtime`, split by blanks, without a header: the form of the paper's own files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
        files.first_lines(self.path)
        raw = files.read_lines(desk, self.path)
        raw = raw.filter(raw.line.strip().length() > 0)
        bad = raw.filter(~raw.line.re_search(FIELD)).order_by(PLACE).limit(1).to_pyarrow().to_pylist()
        if bad:
            raise DataProblem(
                f"line {bad[0][PLACE] + 1} of {self.path} is {bad[0]['line'][:80]!r}: "
                "three fields are needed, user item unixtime, split by blanks"
            )
        part = {name: raw.line.re_extract(FIELD, i) for i, name in enumerate(("user", "item", "time"), start=1)}
        return Events(raw.select(**part, position=raw[PLACE]), str(self.path), "line")
