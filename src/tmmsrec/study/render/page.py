"""A document as one HTML page that needs nothing else: style, charts and pictures are in it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from tmmsrec.study.blocks import (
    Beside,
    Block,
    Cell,
    Chapter,
    Code,
    Document,
    Facts,
    Figure,
    Fold,
    Gallery,
    Points,
    Section,
    Table,
    Text,
)  # fmt: skip
from tmmsrec.study.render import draw
from tmmsrec.study.render.gallery import gallery

_MARKS = {0: "{}", 1: "<strong>{}</strong>", 2: "<u>{}</u>"}


def page(document: Document) -> str:
    """The page; everything that comes from the data is escaped."""
    style = files("tmmsrec.study.render").joinpath("page.css").read_text(encoding="utf-8")
    title, several = escape(document.title), len(document.chapters) > 1
    lead = document.lead or (document.chapters[0].lead if not several else "")
    of = "" if several or not document.chapters or document.chapters[0].title == document.title else document.chapters[0].title
    eyebrow = escape(" · ".join(filter(None, [document.kind, of])))
    chapters = [_chapter(c, n, several) for n, c in enumerate(document.chapters)]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{style}</style></head><body><main>"
        f'<header><p class="eyebrow">{eyebrow}</p><h1>{title}</h1><p class="lead">{escape(lead)}</p>'
        f"{_contents(document.chapters) if several else ''}</header>{''.join(chapters)}</main></body></html>\n"
    )


def _contents(chapters: Sequence[Chapter]) -> str:
    lines = "".join(f'<li><a href="#chapter-{n + 1}">{escape(c.title)}</a></li>' for n, c in enumerate(chapters))
    return f'<nav aria-label="Contents"><ol>{lines}</ol></nav>'


def _chapter(chapter: Chapter, at: int, several: bool) -> str:
    sections = "".join(_section(s, 3 if several else 2) for s in chapter.sections)
    if not several:
        return sections
    lead = f'<p class="lead">{escape(chapter.lead)}</p>' if chapter.lead else ""
    return f'<article class="chapter" id="chapter-{at + 1}"><h2>{escape(chapter.title)}</h2>{lead}{sections}</article>'


def _section(section: Section, level: int) -> str:
    return f"<section><h{level}>{escape(section.title)}</h{level}>{_blocks(section.blocks)}</section>"


def _blocks(blocks: Sequence[Block]) -> str:
    return "".join(_block(b) for b in blocks)


def _block(block: Block) -> str:
    if isinstance(block, Table):
        note = f'<p class="note">{escape(block.note)}</p>' if block.note else ""
        return table(block) + note
    if isinstance(block, Facts):
        body = "".join(_row(escape(k), [escape(v)]) for k, v in block.lines.items())
        return f'<div class="scroll"><table class="facts"><tbody>{body}</tbody></table></div>'
    if isinstance(block, Text):
        return f'<p class="note">{escape(block.text)}</p>'
    if isinstance(block, Points):
        return "<ul>" + "".join(f"<li>{escape(p)}</li>" for p in block.points) + "</ul>"
    if isinstance(block, Figure):
        said = f"<figcaption>{escape(block.caption)}</figcaption>" if block.caption else ""
        return f"<figure>{draw.inline(block.chart)}{said}</figure>"
    if isinstance(block, Beside):
        return f'<div class="figures">{"".join(_block(b) for b in block.blocks)}</div>'
    if isinstance(block, Fold):
        return f"<details><summary>{escape(block.title)}</summary>{_blocks(block.blocks)}</details>"
    if isinstance(block, Code):
        return f"<pre>{escape(block.text)}</pre>"
    assert isinstance(block, Gallery)
    return gallery(block.samples)


def table(given: Table) -> str:
    """One table, which scrolls by itself where the screen is too narrow for it."""
    heads = "".join(f'<th scope="col">{escape(h)}</th>' for h in given.heads)
    body = "".join(
        _row(_shown(row[0]), [_shown(c) for c in row[1:]], "apart" if at in given.rules else "")
        for at, row in enumerate(given.rows)
    )
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(first: str, cells: Sequence[str], kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'<tr{marked}><th scope="row">{first}</th>{"".join(f"<td>{c}</td>" for c in cells)}</tr>'


def _shown(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return escape(cell)
    text = _MARKS[cell.place].format(escape(cell.text))
    return f'{text} <span class="faint">{escape(cell.faint)}</span>' if cell.faint else text
