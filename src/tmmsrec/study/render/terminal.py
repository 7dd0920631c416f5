"""A document's tables and words for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.table import Table as Drawn
from rich.text import Text as Words

from tmmsrec.study.blocks import Block, Cell, Document, Facts, Points, Table, Text

NAME, NUMBER = 40, 28  # what is longer than these, in the first column and in the others, may be cut into lines
TIGHT = 18  # in place of NUMBER where that leaves no room: an interval still stands in one line
HARD = "\u00a0"  # a blank that no line ends at
_STYLES = {1: "bold", 2: "underline"}


def terminal(document: Document) -> Iterator[RenderableType]:
    """What can be read at a glance: each chapter's own sections, without what is folded away, drawn, or long."""
    for chapter in document.chapters:
        yield Words(f"\n{chapter.title}", style="bold")
        if chapter.lead:
            yield Words(chapter.lead)
        for section in chapter.sections:
            told = list(blocks(section.blocks))
            if told:
                yield Words(f"\n{section.title}", style="bold")
                yield from told


def blocks(given: Sequence[Block]) -> Iterator[RenderableType]:
    """Tables, facts and words, one after the other."""
    for block in given:
        if isinstance(block, Table):
            yield table(block)
            if block.note:
                yield Words(block.note)
        elif isinstance(block, Facts):
            yield _facts(block)
        elif isinstance(block, Text):
            yield Words(block.text)
        elif isinstance(block, Points):
            yield from (Words(point) for point in block.points)


def table(given: Table) -> RenderableType:
    """One table: best bold, second underlined, rules where they are asked for; as wide as there is room."""
    return _Roomy(given)


@dataclass(frozen=True)
class _Roomy:
    """A table that puts the intervals below their numbers where it would not fit otherwise, and then cuts what can be cut."""

    given: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width - 2 * (len(self.given.heads) - 1)
        for between, number in ((" ", NUMBER), ("\n", NUMBER), ("\n", TIGHT), ("\n", 0)):
            columns = [_column(self.given, at, between, number) for at in range(len(self.given.heads))]
            if sum(column.least for column in columns) <= room:
                break
        yield _drawn(self.given, between, columns, room)


@dataclass(frozen=True)
class _Column:
    """A column's head, the least room in which no word of it is cut, and the room in which no line is."""

    head: str
    least: int
    most: int


def _column(given: Table, at: int, between: str, number: int) -> _Column:
    """One column with what stands ``between`` a number and its interval; cells of ``number`` and less stay in one line."""
    column = [_shown(row[at], between).plain for row in given.rows]
    widest = _longest("\n", column)
    fixed = widest <= number if at else between == " " and widest <= NAME
    head = _narrow(given.heads[at], between, widest) if at else given.heads[at]
    # What may be cut, a name above all, is cut between its words only, however wide the rest would like to be.
    least = max(widest if fixed else min(NAME, _longest("\n ", column)), _longest("\n" if fixed else "\n ", [head]))
    return _Column(head, least, max(least, widest, _longest("\n", [head])))


def _drawn(given: Table, between: str, columns: Sequence[_Column], room: int) -> Drawn:
    """A table in so much room, of which those columns that want more than the least get what is left, from the first on."""
    drawn = Drawn(header_style="bold", box=box.HORIZONTALS, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    spare = max(0, room - sum(column.least for column in columns))
    for at, column in enumerate(columns):
        more = min(spare, column.most - column.least)
        spare -= more
        drawn.add_column(Words(column.head), justify="right" if at else "left", overflow="fold", width=column.least + more)
    for at, row in enumerate(given.rows):
        drawn.add_row(*[_shown(cell, between) for cell in row], end_section=at + 1 in given.rules)
    return drawn


def _longest(ends: str, texts: Sequence[str]) -> int:
    """The width of the widest piece of some texts, each cut at these marks."""
    return max((cell_len(piece) for text in texts for piece in re.split(f"[{ends}]", text)), default=0)


def _narrow(head: str, between: str, width: int) -> str:
    """A head in lines that are no wider than its column or its own longest word; what stands in brackets is one."""
    name, bracket, interval = head.partition(" [")
    words = f"{name}{between}[{interval.replace(' ', HARD)}" if bracket else head
    width = max(width, _longest("\n ", [words]))
    return "\n".join(line for part in words.split("\n") for line in textwrap.wrap(part, width, break_long_words=False))


def _shown(cell: Cell | str, between: str) -> Words:
    cell = Cell(cell) if isinstance(cell, str) else cell
    return Words(f"{cell.text}{between}{cell.faint}" if cell.faint else cell.text, _STYLES.get(cell.place, ""))


def _facts(given: Facts) -> Drawn:
    drawn = Drawn(show_header=False, box=None, padding=(0, 2, 0, 0))
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in given.lines.items():
        drawn.add_row(escape(name), escape(value))
    return drawn
