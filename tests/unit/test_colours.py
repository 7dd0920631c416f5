"""A report's colours: as many as a score has parts, each told from the others on white, on paper and in the dark."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from tests.colours import contrast, nearest, parts_of_methods
from tmmsrec.study.charts import COLOURS
from tmmsrec.study.render import draw
from tmmsrec.study.render.gallery import gallery
from tmmsrec.study.samples import Part, Sample, Shown

ROOTS = re.findall(r":root\{([^}]*)\}", (files("tmmsrec.study.render") / "page.css").read_text(encoding="utf-8"))
LIGHT, DARK = (dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})", root)) for root in ROOTS)


def shown(parts: list[str]) -> Sample:
    item = Shown("i", "title", parts=tuple(Part(name, 0.5) for name in parts))
    return Sample(user="u", at="now", history=(), earlier=0, recommended=(item,), taken=Shown("j", "taken"), rank=1.0)


def test_no_two_parts_of_a_score_share_a_colour():
    found = [list(parts) for parts in parts_of_methods()]
    assert max(map(len, found)) == COLOURS
    assert ["text", "image", "popular", "season", "network id", "again", "follows", "alike"] in found
    for parts in found:
        page = gallery([shown(parts)])
        legend = re.findall(r'<span><i style="background:var\(--(s\d+)\)"></i>([^<]*)', page)
        assert [name for _, name in legend] == parts
        assert len({colour for colour, _ in legend}) == len(parts)
        assert set(re.findall(r"var\(--(s\d+)\)", page)) == {colour for colour, _ in legend}


@pytest.mark.parametrize(("palette", "card"), [(LIGHT, "#ffffff"), (DARK, DARK["card"])], ids=["light", "dark"])
def test_a_pages_colours_are_legible_and_apart(palette, card):
    colours = {name: palette[name] for name in (f"s{1 + n}" for n in range(COLOURS))}
    assert all(contrast(colour, card) >= 3 for colour in colours.values()), colours
    assert nearest(colours)[0] > 0.08, nearest(colours)


def test_charts_on_their_own_have_the_colours_of_a_light_page():
    colours = {f"s{1 + n}" for n in range(COLOURS)}
    assert {name: draw._PAPER[name] for name in colours} == {name: LIGHT[name] for name in colours}
