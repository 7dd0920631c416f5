"""A document's tables and words for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table as Drawn
from rich.text import Text as Words

from tmmsrec.study.blocks import Block, Cell, Document, Facts, Points, Table, Text

NAME = 40  # a name of this length stands in one line; a longer one would leave no room for the numbers
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


def table(given: Table) -> Drawn:
    """One table: best bold, second underlined, rules where they are asked for."""
    drawn = Drawn(header_style="bold", box=box.HORIZONTALS if len(given.heads) > 5 else box.HEAVY_HEAD, padding=(0, 1))
    longest = max([len(c if isinstance(c, str) else c.text) for row in given.rows for c in row[:1]], default=0)
    for at, head in enumerate(given.heads):
        drawn.add_column(escape(head), justify="right" if at else "left", no_wrap=at == 0 and longest <= NAME, overflow="fold")
    for at, row in enumerate(given.rows):
        drawn.add_row(*[_shown(c) for c in row], end_section=at + 1 in given.rules)
    return drawn


def _shown(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return escape(cell)
    text, style = escape(f"{cell.text} {cell.faint}".rstrip()), _STYLES.get(cell.place)
    return f"[{style}]{text}[/{style}]" if style else text


def _facts(given: Facts) -> Drawn:
    drawn = Drawn(show_header=False, box=None, padding=(0, 2, 0, 0))
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in given.lines.items():
        drawn.add_row(escape(name), escape(value))
    return drawn
