"""A document written to files: a page, Markdown and LaTeX with their charts, SVG and PNG."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tmmsrec.data.problems import DataProblem
from tmmsrec.data.store import atomic_text, make_folder
from tmmsrec.study.blocks import Document, figures
from tmmsrec.study.render import draw
from tmmsrec.study.render.latex import latex
from tmmsrec.study.render.markdown import markdown, prefix
from tmmsrec.study.render.page import page

SUFFIXES = (".html", ".md", ".tex")


def publish(document: Document, stem: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """Write STEM.html, STEM.md, STEM.tex, and the charts that the latter two show as figures/STEM-*.svg and .png beside them.

    Args:
        document: what is told.
        stem: the files' path without its suffix.
        suffixes: some of ``SUFFIXES``.

    Raises:
        DataProblem: another suffix.
    """
    unknown = [s for s in suffixes if s not in SUFFIXES]
    if unknown:
        raise DataProblem(f"a report cannot be written as '{unknown[0]}'; known: {', '.join(SUFFIXES)}")
    drawn = PurePosixPath("figures") / f"{stem.name}-"
    text = {
        ".html": lambda: page(document),
        ".md": lambda: markdown(document, drawn),
        ".tex": lambda: latex(document, str(drawn)),
    }
    written = []
    for suffix in suffixes:
        file = stem.with_name(stem.name + suffix)
        atomic_text(file, text[suffix]())
        written.append(file)
    return written + (_charts(document, stem) if set(suffixes) & {".md", ".tex"} else [])


def _charts(document: Document, stem: Path) -> list[Path]:
    folder = stem.parent / "figures"
    make_folder(folder)
    return [
        file
        for chapter in document.chapters
        for section in chapter.sections
        for figure in figures(section.blocks)
        for file in draw.save(figure.chart, folder / f"{stem.name}-{prefix(document, chapter)}{figure.name}")
    ]
