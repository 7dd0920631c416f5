"""Bytes -> an RGB picture, or the reason why not.  Nothing a picture file holds may stop a run."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image

from tmmsrec.extract.base import Absent

# Pillow's own threshold: a file of a few kilobytes can claim any size, and decoding would fill the memory.
MOST_PIXELS = 89_478_485
# Raster formats only: some of Pillow's other readers start outside programs (EPS).
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "AVIF", "PPM")
_SEE_THROUGH = ("RGBA", "LA", "PA", "La", "RGBa")
_ORIENTATION = 0x0112
_T = Image.Transpose
_TURNS = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}


def decode(data: bytes, at_least: int) -> Image.Image | Absent:
    """A picture as RGB: first frame, turned as its EXIF says, laid on white where transparent.

    Args:
        data: the file's bytes.
        at_least: JPEGs may be decoded smaller than they are (quicker), but not below this many pixels a side.

    Returns:
        The picture, or Absent with the reason: empty, no picture, truncated, too large.
    """
    if not data:
        return Absent("the picture file is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data), formats=_readable())
    except Image.DecompressionBombError:
        return Absent(_too_large())
    except Exception:  # a reader of hostile bytes may raise anything
        return Absent("not a picture that can be read")
    if image.width * image.height > MOST_PIXELS:
        return Absent(_too_large())
    try:
        image.draft(None, (at_least, at_least))
        image.load()
        return _upright(_rgb(image), image)
    except Exception as problem:
        return Absent(f"the picture is damaged ({str(problem) or type(problem).__name__})")


def _too_large() -> str:
    return f"the picture claims more than {MOST_PIXELS // 1_000_000} million pixels"


@cache
def _readable() -> tuple[str, ...]:
    Image.init()
    return tuple(f for f in _FORMATS if f in Image.OPEN)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        # Sixteen bits a pixel: Pillow's own conversion would cut at 255 instead of scaling.
        deep = np.nan_to_num(np.asarray(image, dtype=np.float64))
        return Image.fromarray(np.clip(deep / 257 if deep.max() > 255 else deep, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in _SEE_THROUGH or "transparency" in image.info:
        clear = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return image.convert("RGB")


def _upright(rgb: Image.Image, original: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(original.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels
        return rgb
    return rgb if turn is None else rgb.transpose(turn)
