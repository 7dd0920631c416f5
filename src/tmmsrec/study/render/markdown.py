"""A document as Markdown.  Charts are named by their files where those were written; a gallery needs a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from tmmsrec.study.blocks import Beside, Block, Cell, Chapter, Code, Document, Facts, Figure, Fold, Points, Section, Table, Text

_MARKS = {0: "{}", 1: "**{}**", 2: "<u>{}</u>"}


def markdown(document: Document, figures: PurePosixPath | None = None) -> str:
    """The whole.

    Args:
        document: what is told.
        figures: where the charts' SVG files lie, as seen from the Markdown file, with the beginning of their names
            ("figures/table3-"); without it charts are left out.
    """
    pieces = [f"# {_text(document.title)}", _text(document.lead)]
    for chapter in document.chapters:
        pieces += _chapter(chapter, figures, deeper=len(document.chapters) > 1, prefix=prefix(document, chapter))
    return "\n\n".join(p for p in pieces if p) + "\n"


def prefix(document: Document, chapter: Chapter) -> str:
    """What tells a chapter's figures from another's: its number, where there are several."""
    return f"{document.chapters.index(chapter) + 1}-" if len(document.chapters) > 1 else ""


def _chapter(chapter: Chapter, figures: PurePosixPath | None, deeper: bool, prefix: str) -> list[str]:
    level = "###" if deeper else "##"
    pieces = [f"## {_text(chapter.title)}" if deeper else f"**{_text(chapter.title)}**", _text(chapter.lead)]
    for section in chapter.sections:
        pieces += _section(section, figures, level, prefix)
    return pieces


def _section(section: Section, figures: PurePosixPath | None, level: str, prefix: str) -> list[str]:
    told = _blocks(section.blocks, figures, prefix)
    return [f"{level} {_text(section.title)}", *told] if told else []


def _blocks(blocks: Sequence[Block], figures: PurePosixPath | None, prefix: str) -> list[str]:
    found: list[str] = []
    for block in blocks:
        if isinstance(block, Table):
            found += [table(block), *([_text(block.note)] if block.note else [])]
        elif isinstance(block, Facts):
            found.append(grid(["", ""], [[k, _cell(v)] for k, v in block.lines.items()]))
        elif isinstance(block, Text):
            found.append(_text(block.text))
        elif isinstance(block, Points):
            found.append("\n".join(f"- {_text(p)}" for p in block.points))
        elif isinstance(block, Figure) and figures is not None:
            found.append(f"![{_text(block.chart.said)}]({figures}{prefix}{block.name}.svg)")
        elif isinstance(block, Beside):
            found += _blocks(block.blocks, figures, prefix)
        elif isinstance(block, Fold):
            inside = _blocks(block.blocks, figures, prefix)
            found += [f"<details><summary>{_text(block.title)}</summary>", *inside, "</details>"]
        elif isinstance(block, Code):
            found.append(f"```json\n{block.text.replace('```', '` ` `')}\n```")
    return found


def table(given: Table) -> str:
    """One table, best in bold, second underlined."""
    return grid([_cell(h) for h in given.heads], [[_shown(c) for c in row] for row in given.rows])


def _shown(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return _cell(cell)
    text = _MARKS[cell.place].format(_cell(cell.text))
    return f"{text} {_cell(cell.faint)}" if cell.faint else text


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def grid(heads: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table of texts that are Markdown already."""
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
