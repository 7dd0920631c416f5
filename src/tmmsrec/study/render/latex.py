"""A document's tables and charts as LaTeX, to be put into a paper: booktabs tables, and charts by their PNG files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tmmsrec.study.blocks import Beside, Block, Cell, Document, Facts, Figure, Fold, Points, Table, Text
from tmmsrec.study.render.markdown import prefix

# (A bracket after the end of a line would be read as its argument.)
_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "·": r"\textperiodcentered{}",
    "–": "--", "…": r"\ldots{}", "[": "{[}", "]": "{]}",
}  # fmt: skip
_MARKS = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}


def latex(document: Document, figures: str = "") -> str:
    r"""The whole, to be \input: it needs the packages booktabs and graphicx.

    Args:
        document: what is told.
        figures: the beginning of the names of the charts' files ("figures/table3-"); without it charts are left out.
    """
    lines = [f"% {document.title}".replace("\n", " "), r"% \usepackage{booktabs,graphicx}"]
    for chapter in document.chapters:
        lines += ["", rf"\section{{{escape(chapter.title)}}}", escape(chapter.lead)]
        for section in chapter.sections:
            told = list(_blocks(section.blocks, f"{figures}{prefix(document, chapter)}" if figures else "", section.title))
            lines += ["", rf"\subsection{{{escape(section.title)}}}", *told] if told else []
    return "\n".join(lines) + "\n"


def _blocks(blocks: Sequence[Block], figures: str, about: str) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Table):
            yield table(block, about)
        elif isinstance(block, Facts):
            yield table(Table(["", ""], [[k, v] for k, v in block.lines.items()], label="facts"), about, columns="lp{9cm}")
        elif isinstance(block, Text):
            yield escape(block.text) + "\n"
        elif isinstance(block, Points):
            yield "\n".join([r"\begin{itemize}", *[rf"  \item {escape(p)}" for p in block.points], r"\end{itemize}"])
        elif isinstance(block, Figure) and figures:
            yield _figure(block, figures, about)
        elif isinstance(block, Beside):
            yield from _blocks(block.blocks, figures, about)
        elif isinstance(block, Fold):
            yield from _blocks([b for b in block.blocks if isinstance(b, Table)], figures, block.title)


def table(given: Table, about: str, columns: str = "") -> str:
    """One table environment: best in bold, second underlined."""
    lines = [
        r"\begin{table}\centering\small",
        rf"\begin{{tabular}}{{{columns or 'l' + 'r' * (len(given.heads) - 1)}}}",
        r"\toprule",
    ]
    if any(given.heads):
        lines += [_line([escape(h) for h in given.heads]), r"\midrule"]
    for at, row in enumerate(given.rows):
        lines += [r"\midrule"] if at in given.rules else []
        lines.append(_line([_shown(c) for c in row]))
    caption = f"{about}. {given.note}" if given.note else f"{about}."
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{escape(caption)}}}", r"\end{table}"]
    return "\n".join(lines)


def _figure(figure: Figure, figures: str, about: str) -> str:
    caption = escape(figure.caption or f"{about}: {figure.chart.said}")
    graphic = rf"\includegraphics[width=\linewidth]{{{figures}{figure.name}.png}}"
    return "\n".join([r"\begin{figure}\centering", graphic, rf"\caption{{{caption}}}", r"\end{figure}"])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _shown(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return escape(cell)
    text = _MARKS[cell.place].format(escape(cell.text))
    return rf"{text} {{\footnotesize {escape(cell.faint)}}}" if cell.faint else text


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return re.sub("|".join(map(re.escape, _SPECIAL)), lambda m: _SPECIAL[m[0]], text.replace("\n", " "))
