"""The same document as a page, as Markdown, as LaTeX and on a terminal: whole, and never broken by what is in the data."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.unit.conftest import EVIL
from tmmsrec.data.problems import DataProblem
from tmmsrec.study.blocks import Cell, Document, Table
from tmmsrec.study.charts import Bars, Chart, Clouds, Columns, Curve, Dots, Group, Lines, Mark, Panel
from tmmsrec.study.publish import publish
from tmmsrec.study.render import draw, latex, markdown, page, terminal
from tmmsrec.study.report import Report
from tmmsrec.study.telling import chapter, main_table

MARK = Mark(EVIL, 0.0, 0.0, 0.0)
CHARTS: dict[str, Chart] = {
    "bars": Bars((MARK, Mark("b", 0.2, 0.1, 0.3, "floor", True)), EVIL, 0.5),
    "curves": Lines((Curve(EVIL, ((1.0, 0.2),), "s1", 0), Curve("other", ((1.0, 0.1), (2.0, 0.3)), "s2")), EVIL, EVIL),
    "steps": Lines((Curve("d", ((66.0, 0.2), (126.0, 0.3)), band=((0.1, 0.3), (0.2, 0.4))),), "d", EVIL, 0.2, EVIL, (66.0, 126.0)),
    "columns": Columns({EVIL: {EVIL: 0.0, "1": 1.0}, "other": {EVIL: 0.5, "1": 0.5}}, EVIL, EVIL),
    "dots": Dots({EVIL: (Group(EVIL, 1, (MARK,)),), "two": (Group("g", 2, (MARK, Mark("m", 0.5, 0.4, 0.6))),)}, EVIL),
    "clouds": Clouds((Panel(EVIL, np.eye(2), np.arange(2.0)), Panel("one", np.eye(2)), Panel("none", np.zeros((0, 2)))), EVIL),
}  # fmt: skip


@pytest.fixture(scope="module")
def told(whole: Report) -> Document:
    one = chapter(whole)
    return Document(one.title, [one])


@pytest.fixture(scope="module")
def twice(whole: Report) -> Document:
    return Document("Two", [chapter(whole, "first"), chapter(whole, f"second {EVIL}")])


class Tags(HTMLParser):
    """What a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_is_whole_and_lets_nothing_in(told: Document, twice: Document) -> None:
    for document in (told, twice):
        text = page.page(document)
        tags = Tags()
        tags.feed(text)
        names = {tag for tag, _ in tags.found}
        assert "script" not in names
        assert "b" not in {tag for tag, attrs in tags.found if "bold" in str(attrs)}
        assert EVIL in tags.text  # shown as it is, as text
        for _, attrs in tags.found:
            assert not any(name.startswith("on") for name in attrs)
            for name in ("src", "href", "xlink:href"):
                assert (attrs.get(name) or "data:").startswith(("data:", "#"))
        assert not re.search(r"url\((?!#)|@import", text)
        assert {"svg", "table", "article"} <= names
        assert "prefers-color-scheme" in text
    links = [attrs["href"] for tag, attrs in tags.found if tag == "a"]
    assert links == [f"#{attrs['id']}" for tag, attrs in tags.found if tag == "article" and attrs.get("class") == "chapter"]


def test_markdown_escapes_and_marks(told: Document, twice: Document) -> None:
    for document in (told, twice):
        text = markdown.markdown(document, PurePosixPath("figures/x-"))
        assert "<script" not in text
        assert "**0." in text
        assert "| best possible | 0.9000 | 0.8000 |" in text
        # Every line of a table has as many cells as its head, whatever the data says.
        lines = [line.replace("\\|", "") for line in text.splitlines()]
        for before, line in itertools.pairwise(lines):
            if before.startswith("|") and line.startswith("|"):
                assert before.count("|") == line.count("|")
    assert "# Two" in text
    assert "## first" in text
    assert "](figures/x-2-hr10.svg)" in text
    assert "](figures/" not in markdown.markdown(twice)


def test_latex_is_balanced_and_means_what_it_says(told: Document) -> None:
    text = latex.latex(told, "figures/x-")
    body = text.split("\n", 2)[2]
    assert body.count("\\begin{") == body.count("\\end{") > 10
    bare = re.sub(r"\\[{}%&$#_]", "", body)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"(?<!\\)[%$#_~^<>](?![^{}]*\.png)", body.replace("\\_", "").replace("figures/x-", ""))
    table = latex.table(Table(["a_b", "c"], [[Cell("[1]", 1), Cell("2 %", 2, "& more")], ["x", "y"]], frozenset({1})), "About")
    assert r"{\bfseries" not in table
    assert r"\textbf{{[}1{]}} & \underline{2 \%} {\footnotesize \& more} \\" in table
    assert table.index(r"\midrule") < table.rindex(r"\midrule") < table.index("x & y")


def test_a_row_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 columns"):
        Table(["a", "b"], [["only one"]])


def test_the_terminal_shows_every_row_in_80_columns(whole: Report, told: Document) -> None:
    wide = Console(width=80)
    with wide.capture() as captured:
        wide.print(terminal.table(main_table(whole)))
    for name in ("popularity", "markov", "sasrec", "tmmsrec", "best possible"):
        assert any(name in line and "0." in line for line in captured.get().splitlines())
    with wide.capture() as captured:
        wide.print(*terminal.terminal(told), sep="\n")
    assert max(map(len, captured.get().splitlines())) <= 80


@pytest.mark.parametrize("name", ["TMMSRec without time", "mlp4rec-causal"])
def test_on_a_narrow_terminal_a_name_is_cut_between_its_words_only(name: str) -> None:
    heads = ["method", "chosen", "epochs", "seconds", "MB", "parameters", "NDCG@10 over seeds"]
    row = [
        name,
        "lr=0.001, decay=1.0",
        "8 of 16",
        "3.0",
        "360",
        "294,210",
        "0.2615 to 0.2895",
    ]
    console = Console(width=80)
    with console.capture() as captured:
        console.print(terminal.table(Table(heads, [row])))
    words = captured.get().split()
    assert {*name.split(), "lr=0.001,", "decay=1.0", "294,210", "0.2615", "0.2895", "seeds"} <= set(words)
    assert max(map(len, captured.get().splitlines())) <= 80


def test_on_a_narrow_terminal_an_interval_stands_below_its_number_and_nothing_is_cut() -> None:
    rows = [["a method of some name", Cell("+0.0568", 1, "[+0.0301, +0.0835]"), "42 / 16 / 215", "< 0.0001"]]
    table = terminal.table(Table(["method", "difference [95 % interval]", "better / worse / same", "p"], rows))

    def lines(width: int) -> list[str]:
        console = Console(width=width)
        with console.capture() as captured:
            console.print(table)
        return captured.get().replace("\u00a0", " ").splitlines()

    assert any("+0.0568 [+0.0301, +0.0835]" in line for line in lines(100))
    narrow = lines(66)
    assert not any("+0.0568 [" in line for line in narrow)
    for whole in ("[95 % interval]", "+0.0568", "[+0.0301, +0.0835]", "42 / 16 / 215", "< 0.0001"):
        assert any(whole in line for line in narrow), whole
    assert max(map(len, narrow)) <= 66


@pytest.mark.parametrize("name", list(CHARTS))
def test_charts_survive_names_and_single_points(name: str, tmp_path: Path) -> None:
    chart = CHARTS[name]
    inline = draw.inline(chart)
    assert "<script" not in inline
    assert not re.search(r"=\"-?(nan|inf)", inline)
    assert "var(--ink)" in inline
    assert "#0123" not in inline  # every colour is the page's
    assert inline == draw.inline(chart)
    ElementTree.fromstring(inline)
    svg, png = draw.save(chart, tmp_path / "drawn")
    assert "var(" not in svg.read_text()
    ElementTree.parse(svg)
    with Image.open(png) as opened:
        assert opened.size[0] == round(draw.WIDTH * 200)


def test_a_report_is_published_whole(twice: Document, tmp_path: Path) -> None:
    files = publish(twice, tmp_path / "report")
    assert {f.suffix for f in files} == {".html", ".md", ".tex", ".svg", ".png"}
    for file in (tmp_path / "report.md", tmp_path / "report.tex"):
        shown = re.findall(r"figures/[-\w@.]+?\.(?:svg|png)", file.read_text())
        assert len(shown) >= 10
        assert all((tmp_path / name).exists() for name in shown)
    with pytest.raises(DataProblem, match=r"\.docx"):
        publish(twice, tmp_path / "report", (".docx",))
