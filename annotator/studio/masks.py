"""Masks on their way to Label Studio and back, bit by bit the same.

bool (H, W) -> data URL of a PNG, opaque inside                      what BitmaskLabels holds
data URL, or run lengths (BrushLabels) -> bool (H, W)                opaque is inside
bool (H, W) -> PNG, white inside                                     what a review keeps

What comes back was sent by a browser. It is decoded only when its header says the size we expect, so a small text
can never become a large picture.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from pipeline.errors import BadEdit
from pipeline.types import U8, Mask

PREFIX = "data:image/png;base64,"
MAX_PIXELS = 16_000_000  # of a mask; photos are worked on at 1280 pixels or so
BYTES_PER_PIXEL = 8  # of a coded mask: more than the browser's own encoders need for noise
OPAQUE = 128  # of 255


def to_data_url(mask: Mask) -> str:
    """Black on transparent, one bit per pixel."""
    picture = Image.fromarray(mask.astype(np.uint8), "P")
    picture.putpalette(bytes(6))
    out = io.BytesIO()
    picture.save(out, "PNG", bits=1, transparency=0, optimize=True)
    return PREFIX + base64.b64encode(out.getvalue()).decode("ascii")


def to_png(mask: Mask) -> bytes:
    """White inside, black outside; equal masks give equal bytes."""
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG", optimize=True)
    return out.getvalue()


def from_data_url(text: Any, size: tuple[int, int]) -> Mask:
    """What `to_data_url` or Label Studio's brush made of a picture of `size` (H, W). Raises BadEdit."""
    if not isinstance(text, str) or not text.startswith(PREFIX):
        raise BadEdit("it is not a PNG in a data URL")
    _check_size(size, len(text))
    try:
        data = base64.b64decode(text[len(PREFIX) :], validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            _check_drawn_on((picture.height, picture.width), size)
            if not picture.has_transparency_data:
                raise BadEdit("it has no transparency: opaque is inside, transparent outside")
            alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadEdit("it is not a PNG that can be read") from error
    return np.asarray(alpha >= OPAQUE)


def from_rle(value: Any, size: tuple[int, int]) -> Mask:
    """Run lengths of BrushLabels, over the RGBA bytes of a picture of `size` (H, W). Raises BadEdit."""
    if not isinstance(value, list):
        raise BadEdit("its run lengths are not a list")
    _check_size(size, len(value))
    try:
        data = bytes(value)
    except (TypeError, ValueError) as error:
        raise BadEdit("its run lengths are not bytes") from error
    rgba = _unpacked(data, size)
    return np.asarray(rgba.reshape(*size, 4)[..., 3] >= OPAQUE)


def _unpacked(data: bytes, size: tuple[int, int]) -> U8:
    """The RGBA bytes that run lengths stand for (the format of thi.ng/rle-pack).

    Header: 32 bits how many words, 5 bits the length of a word - 1, four times 4 bits the length of a count - 1.
    Then, until all words are there: one bit (1: one word repeated, 0: words as they are), two bits which of the four
    lengths the count has, the count - 1, the word or words.
    """
    at = 0

    def take(length: int) -> bytes:
        """The bytes that hold the next `length` bits."""
        nonlocal at
        at += length
        if at > 8 * len(data):
            raise BadEdit("its run lengths end too early")
        return data[(at - length) // 8 : (at + 7) // 8]

    def number(length: int) -> int:
        covering = int.from_bytes(take(length), "big")
        return covering >> (-at % 8) & ((1 << length) - 1)

    total, word = number(32), number(5) + 1
    if word != 8 or total != 4 * size[0] * size[1]:
        raise BadEdit(f"its run lengths are not those of a picture of {size[1]}x{size[0]} pixels")
    lengths = [number(4) + 1 for _ in range(4)]
    out = np.empty(total, dtype=np.uint8)
    done = 0
    while done < total:
        repeated = number(1)
        count = min(number(lengths[number(2)]) + 1, total - done)
        if repeated:
            out[done : done + count] = number(8)
        else:
            first = at % 8
            covering = np.unpackbits(np.frombuffer(take(8 * count), dtype=np.uint8))
            out[done : done + count] = np.packbits(covering[first : first + 8 * count])
        done += count
    return out


def _check_size(size: tuple[int, int], length: int) -> None:
    pixels = size[0] * size[1]
    if min(size) < 1 or pixels > MAX_PIXELS:
        raise BadEdit(f"it cannot have {size[1]}x{size[0]} pixels")
    if length > BYTES_PER_PIXEL * pixels + 4096:
        raise BadEdit(f"it takes {length} bytes for {size[1]}x{size[0]} pixels")


def _check_drawn_on(given: tuple[int, int], size: tuple[int, int]) -> None:
    if given != size:
        raise BadEdit(f"it is {given[1]}x{given[0]} pixels, the picture {size[1]}x{size[0]}")
