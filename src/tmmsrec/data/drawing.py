"""Garments, drawn: a shape for the kind, filled with a colour and a pattern.

Shapes are polygons and ellipses on a grid of 64 x 64, drawn three times as large and averaged down; no fonts, no files, so
the pixels are the same on every machine.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIZE = 64
_FINE = 3
_INK, _GROUND = (52, 48, 60), (247, 245, 241)

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 62, 58),
    "orange": (238, 150, 62),
    "yellow": (243, 206, 84),
    "green": (86, 158, 98),
    "blue": (66, 118, 196),
    "purple": (136, 92, 176),
    "pink": (236, 150, 180),
    "grey": (128, 132, 142),
}
PATTERNS = ("plain", "stripes", "dots", "checks", "zigzag")

Points = Sequence[tuple[float, float]]


class _Pen:
    """Draws on the shape's mask and on the layer of dark lines above it."""

    def __init__(self) -> None:
        self.mask = Image.new("L", (SIZE * _FINE, SIZE * _FINE), 0)
        self.lines = Image.new("L", self.mask.size, 0)
        self._fill, self._ink = ImageDraw.Draw(self.mask), ImageDraw.Draw(self.lines)

    def shape(self, points: Points, fill: int = 255) -> None:
        """A filled polygon; ``fill`` 0 cuts it out."""
        self._fill.polygon([(x * _FINE, y * _FINE) for x, y in points], fill=fill)

    def oval(self, left: float, top: float, right: float, bottom: float, fill: int = 255) -> None:
        """A filled ellipse; ``fill`` 0 cuts it out."""
        self._fill.ellipse([v * _FINE for v in (left, top, right, bottom)], fill=fill)

    def line(self, points: Points, width: float = 1.0) -> None:
        """A dark line."""
        self._ink.line([(x * _FINE, y * _FINE) for x, y in points], fill=255, width=round(width * _FINE), joint="curve")

    def arc(self, left: float, top: float, right: float, bottom: float, start: int, end: int) -> None:
        """A dark arc of an ellipse, degrees clockwise from three o'clock."""
        self._ink.arc([v * _FINE for v in (left, top, right, bottom)], start, end, fill=255, width=_FINE)

    def knob(self, x: float, y: float, radius: float = 1.1) -> None:
        """A dark dot."""
        self._ink.ellipse([v * _FINE for v in (x - radius, y - radius, x + radius, y + radius)], fill=255)


def _mirror(points: Points) -> list[tuple[float, float]]:
    """A left outline from top to bottom, closed by its mirror image around x = 32."""
    return [*points, *[(SIZE - x, y) for x, y in reversed(points)]]


def _tshirt(pen: _Pen) -> None:
    pen.shape(_mirror([(25, 12), (17, 15), (5, 27), (13, 35), (18, 30), (18, 54)]))
    pen.oval(25, 5, 39, 18, fill=0)
    pen.line([(18, 30), (19, 24)])
    pen.line([(46, 30), (45, 24)])


def _jumper(pen: _Pen) -> None:
    pen.shape(_mirror([(26, 10), (17, 13), (11, 22), (6, 50), (14, 52), (18, 32), (18, 54)]))
    pen.oval(26, 4, 38, 14, fill=0)
    pen.arc(23, 2, 41, 17, 25, 155)
    pen.line([(18, 50), (46, 50)])
    pen.line([(7, 46), (15, 48)])
    pen.line([(57, 46), (49, 48)])
    pen.line([(18, 34), (19, 24)])
    pen.line([(46, 34), (45, 24)])


def _coat(pen: _Pen) -> None:
    pen.shape(_mirror([(27, 6), (18, 9), (12, 18), (7, 42), (14, 44), (18, 28), (15, 60)]))
    pen.shape([(27, 5), (37, 5), (32, 16)], fill=0)
    pen.line([(32, 16), (32, 60)])
    pen.line([(27, 6), (23, 15), (32, 24), (41, 15), (37, 6)])
    for y in (30, 38, 46):
        pen.knob(35.5, y)
    pen.line([(20, 44), (27, 43)])
    pen.line([(37, 52), (44, 52)])


def _dress(pen: _Pen) -> None:
    pen.shape(_mirror([(24, 5), (22, 14), (19, 18), (24, 30), (11, 59)]))
    pen.oval(26, -3, 38, 15, fill=0)
    pen.line([(24, 30), (40, 30)], 1.6)
    pen.line([(27, 33), (23, 58)], 0.7)
    pen.line([(37, 33), (41, 58)], 0.7)


def _skirt(pen: _Pen) -> None:
    pen.shape(_mirror([(22, 14), (21, 19), (9, 52)]))
    pen.line([(21, 19), (43, 19)], 1.4)
    for x, end in ((25, 18), (30, 28), (34, 36), (39, 46)):
        pen.line([(x, 20), (end, 51)], 0.7)


def _trousers(pen: _Pen) -> None:
    pen.shape([(20, 6), (44, 6), (48, 60), (36, 60), (32, 26), (28, 60), (16, 60)])
    pen.line([(20, 11), (44, 11)])
    pen.line([(32, 11), (32, 26)])
    pen.line([(20, 12), (25, 20)], 0.7)
    pen.line([(44, 12), (39, 20)], 0.7)


def _shorts(pen: _Pen) -> None:
    pen.shape([(18, 16), (46, 16), (52, 48), (35, 49), (32, 33), (29, 49), (12, 48)])
    pen.line([(17, 21), (47, 21)])
    pen.line([(32, 21), (32, 33)])
    pen.line([(29, 22), (28, 29)], 0.7)
    pen.line([(35, 22), (36, 29)], 0.7)


def _sandals(pen: _Pen) -> None:
    for left in (10, 35):
        pen.oval(left, 7, left + 19, 36)
        pen.oval(left + 2, 30, left + 17, 58)
        pen.shape([(left + 1, 22), (left + 18, 22), (left + 17, 44), (left + 2, 44)])
        pen.line([(left + 1, 32), (left + 9.5, 16), (left + 18, 32)], 2.6)
        pen.line([(left + 2, 45), (left + 17, 45)], 2.0)


def _boots(pen: _Pen) -> None:
    pen.shape([(19, 6), (37, 6), (36, 38), (50, 44), (55, 50), (55, 58), (19, 58)])
    pen.line([(19, 53), (55, 53)], 1.8)
    pen.line([(19, 12), (37, 12)])
    for y in (20, 26, 32, 38):
        pen.line([(31, y), (36, y - 1)], 1.3)


def _bag(pen: _Pen) -> None:
    pen.oval(20, 6, 44, 42)
    pen.oval(24, 10, 40, 40, fill=0)
    pen.shape(_mirror([(14, 26), (9, 57)]))
    pen.shape([(14, 26), (50, 26), (50, 28), (14, 28)])
    pen.line([(13, 33), (51, 33)])
    pen.knob(32, 35, 2.2)


def _sunhat(pen: _Pen) -> None:
    pen.oval(3, 34, 61, 53)
    pen.oval(17, 13, 47, 47)
    pen.arc(17, 33, 47, 46, 8, 172)
    pen.arc(17, 29, 47, 42, 8, 172)


def _beanie(pen: _Pen) -> None:
    pen.oval(26, 5, 38, 17)
    pen.oval(13, 13, 51, 67)
    pen.shape([(10, 43), (54, 43), (54, 70), (10, 70)], fill=0)
    pen.shape([(11, 41), (53, 41), (53, 54), (11, 54)])
    pen.line([(11, 42), (53, 42)], 1.2)
    for x in range(16, 52, 5):
        pen.line([(x, 44), (x, 53)], 0.7)


KINDS: dict[str, Callable[[_Pen], None]] = {
    "t-shirt": _tshirt,
    "jumper": _jumper,
    "coat": _coat,
    "dress": _dress,
    "skirt": _skirt,
    "trousers": _trousers,
    "shorts": _shorts,
    "sandals": _sandals,
    "boots": _boots,
    "bag": _bag,
    "sun hat": _sunhat,
    "beanie": _beanie,
}


@cache
def _cloth(pattern: str, shift: int) -> Image.Image:
    """Where a pattern shows its lighter colour, as a mask; ``shift`` moves it by so many pixels of the final picture."""
    half = np.arange(SIZE * _FINE) * 2 // _FINE + 2 * shift  # in half pixels of the final picture
    y, x = half[:, None], half
    if pattern == "stripes":
        light = y % 20 < 8
    elif pattern == "dots":
        light = ((x + (y // 16 % 2) * 8) % 16 - 8) ** 2 + (y % 16 - 8) ** 2 < 17
    elif pattern == "checks":
        light = (x // 10 + y // 10) % 2 == 0
    elif pattern == "zigzag":
        light = (y + np.abs(x % 24 - 12)) % 20 < 8
    else:
        light = np.zeros((1, 1), dtype=np.bool_)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(light, (len(half), len(half)))).astype(np.uint8) * 255)


@cache
def _cut(kind: str) -> tuple[Image.Image, Image.Image, Image.Image]:
    """A kind's shape, the shape with its outline, and its lines: masks that every picture of the kind shares."""
    pen = _Pen()
    KINDS[kind](pen)
    lines = Image.composite(pen.lines, Image.new("L", pen.mask.size), pen.mask)
    return pen.mask, pen.mask.filter(ImageFilter.MaxFilter(2 * _FINE - 1)), lines


def draw(kind: str, colour: str, pattern: str, shift: int = 0) -> Image.Image:
    """A garment on a light ground, RGB, 64 x 64.

    Args:
        kind: one of ``KINDS``.
        colour: one of ``COLOURS``.
        pattern: one of ``PATTERNS``.
        shift: moves pattern and garment a little, so that no two pictures need be the same.
    """
    shape, outlined, lines = _cut(kind)
    dark = COLOURS[colour]
    light = tuple((3 * c + 7 * 255) // 10 for c in dark)  # the same hue, far lighter
    at = (shift % 3 - 1, shift // 3 % 3 - 1)
    ground = Image.new("RGB", shape.size, _GROUND)
    ground.paste(_INK, at, mask=outlined)
    ground.paste(dark, at, mask=shape)
    ground.paste(light, at, mask=ImageChops.multiply(shape, _cloth(pattern, shift % 7)))
    ground.paste(_INK, at, mask=lines)
    return ground.reduce(_FINE)


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()
