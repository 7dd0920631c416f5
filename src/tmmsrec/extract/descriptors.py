"""What can be said of a picture without any learned model: where which colours are, edges, texture, shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Raise it whenever a number below changes: caches and saved encoders are told apart by it.
VERSION = 1
SIDE = 64

_LIGHT = np.array([0, 15, 35, 55, 70, 82, 92, 101], dtype=np.float64)
_GREEN_RED = _BLUE_YELLOW = np.array([-130, -20, -8, -2, 2, 8, 20, 40, 130], dtype=np.float64)


@dataclass(frozen=True)
class Group:
    """A kind of descriptor: how many numbers, and its share in the distance between two pictures."""

    width: int
    share: float


# The shares were chosen on 3,000 real garments by how often the five nearest neighbours have the same category and colour;
# see LOG.md for the alternatives (finer grids and edges, whitening) that gave nothing.
GROUPS: dict[str, Group] = {
    "layout": Group(4 * 4 * 3, 1.0),
    "colours": Group(7 * 8 * 8, 1.0),
    "edges": Group(3 * 3 * 2 * 2 * 9, 1.4),
    "texture": Group(4 * 4 * 10, 0.7),
    "shape": Group(1, 0.2),
}
WIDTH = sum(g.width for g in GROUPS.values())


def describe(image: Image.Image) -> NDArray[np.float16]:
    """The descriptors of an RGB picture: [WIDTH] float16, groups in the order of ``GROUPS``.

    layout: mean CIE Lab on a 4 x 4 grid.  colours: square root of the joint Lab histogram of the middle quarter, where
    products are shown.  edges: histograms of oriented gradients of the lightness (Dalal and Triggs 2005).  texture:
    square root of the histograms of uniform local binary patterns on a 4 x 4 grid (Ojala et al. 2002).  shape: log of
    width / height.  All on the picture squeezed to 64 x 64.
    """
    from skimage.color import rgb2lab  # here: it takes a second to import, and few need it
    from skimage.feature import hog

    small = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    lab = rgb2lab(np.asarray(small))
    cell = SIDE // 4
    layout = lab.reshape(4, cell, 4, cell, 3).mean(axis=(1, 3)).ravel() / 100
    middle = lab[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4].reshape(-1, 3)
    counts, _ = np.histogramdd(middle, bins=(_LIGHT, _GREEN_RED, _BLUE_YELLOW))
    edges = hog(lab[..., 0], orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2))
    shape = [np.log(image.width / image.height)]
    parts = (layout, np.sqrt(counts.ravel() / len(middle)), edges, _texture(small, cell), shape)
    return np.concatenate(parts).astype(np.float16)


def _texture(small: Image.Image, cell: int) -> NDArray[np.float64]:
    from skimage.feature import local_binary_pattern

    patterns = local_binary_pattern(np.asarray(small.convert("L")), 8, 1, "uniform").astype(np.int64)
    row, column = np.indices(patterns.shape) // cell
    counts = np.bincount(((row * 4 + column) * 10 + patterns).ravel(), minlength=160)
    return np.asarray(np.sqrt(counts / cell**2))


def shares() -> NDArray[np.int64]:
    """[WIDTH] which group each number belongs to."""
    return np.repeat(np.arange(len(GROUPS)), [g.width for g in GROUPS.values()])
