"""A document as values: what is told, before anyone decides how it looks (``render``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tmmsrec.study.charts import Chart
from tmmsrec.study.samples import Sample


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it says.
        place: 1 for the best of its column, 2 for the second, 0 for all others.
        faint: a lesser remark after it, an interval.
    """

    text: str
    place: int = 0
    faint: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column names the rows.

    Attributes:
        heads: of the columns.
        rows: each as long as ``heads``; plain text is a cell.
        rules: rows before which a rule is drawn.
        note: below it.
        label: a short name to find it by among the blocks of a section; nothing shows it.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    rules: frozenset[int] = frozenset()
    note: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.heads):
                raise ValueError(f"a row of {len(row)} cells in a table of {len(self.heads)} columns: {row}")


@dataclass(frozen=True)
class Facts:
    """Names and what they are."""

    lines: Mapping[str, str]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of remarks."""

    points: Sequence[str]


@dataclass(frozen=True, eq=False)
class Figure:
    """A chart.

    Attributes:
        chart: what is to be seen.
        name: for its files, "ndcg-by-width".
        caption: below it.
    """

    chart: Chart
    name: str
    caption: str = ""


@dataclass(frozen=True)
class Beside:
    """Blocks that stand beside each other where there is room."""

    blocks: Sequence[Block]


@dataclass(frozen=True)
class Fold:
    """Blocks for those who ask; a page folds them away."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Code:
    """Text to be kept as it is."""

    text: str


@dataclass(frozen=True)
class Gallery:
    """Users with what they had and were given; only a page can show it."""

    samples: Sequence[Sample]


Block = Table | Facts | Text | Points | Figure | Beside | Fold | Code | Gallery


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Chapter:
    """Sections under a heading of their own: a study on a dataset."""

    title: str
    sections: Sequence[Section]
    lead: str = ""


@dataclass(frozen=True)
class Document:
    """The whole.

    Attributes:
        title: of it.
        chapters: one, or as many as there are studies and datasets.
        lead: the first sentence.
        kind: a word above the title.
    """

    title: str
    chapters: Sequence[Chapter]
    lead: str = ""
    kind: str = "tmmsrec report"


def figures(blocks: Sequence[Block]) -> list[Figure]:
    """Every figure among blocks, in order."""
    found: list[Figure] = []
    for block in blocks:
        if isinstance(block, Figure):
            found.append(block)
        elif isinstance(block, Beside | Fold):
            found += figures(block.blocks)
    return found
