"""The part of the photo a generative model works on: the object, what hides it, and some surroundings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.segment.scene import dilate
from pipeline.types import U8, Mask, Masks

AROUND = 0.35  # of the object's longer side: surroundings on every side
SEAM = 0.012  # of the object's longer side: hand masks are this far from exact
GRID = 16  # pixels: what the models' latents are multiples of
OVERLAP = 0.25  # of a tile


@dataclass(frozen=True)
class Window:
    """A rectangle of the photo, and its hole."""

    rows: slice
    columns: slice
    limbs: Mask  # (h, w) hand and forearm as segmented
    asked: Mask  # (h, w) what a model is to paint: the limbs a little larger, for their rims show skin
    hole: Mask  # (h, w) what of its answer is used: never a pixel of the visible object
    seam: float  # pixels by which the limbs were grown

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """The window's part of a photo-sized array."""
        return picture[self.rows, self.columns]


def window_around(masks: Masks) -> Window:
    """Around an object whose mask is not empty, and all of the hand; the forearm goes on outside."""
    ys, xs = np.nonzero(masks.object)
    extent = max(np.ptp(ys), np.ptp(xs)) + 1
    seam = max(1.0, SEAM * float(extent))
    margins = ((masks.object, AROUND * float(extent)), (masks.hand, 2 * seam))
    rows, columns = _span(margins, across=1), _span(margins, across=0)
    limbs = (masks.hand | masks.arm)[rows, columns]
    asked = dilate(limbs, seam)
    return Window(rows, columns, limbs, asked, asked & ~masks.object[rows, columns], seam)


def _span(things: Sequence[tuple[Mask, float]], across: int) -> slice:
    """The rows (across = 1) or columns (0) that hold each of some masks (H, W) and so many pixels around it."""
    low, high, end = np.inf, 0.0, things[0][0].shape[1 - across]
    for mask, margin in things:
        there = np.flatnonzero(mask.any(across))
        if len(there):
            low, high = min(low, there[0] - margin), max(high, there[-1] + margin + 1)
    return slice(max(0, round(low)), min(end, round(high)))


def enlarged(image: U8, least: int) -> U8:
    """The picture (h, w, 3) with a longer side of at least `least` pixels and sides that are multiples of GRID."""
    height, width = image.shape[:2]
    scale = max(1.0, least / max(height, width))
    size = (max(GRID, round(width * scale / GRID) * GRID), max(GRID, round(height * scale / GRID) * GRID))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def tiles(hole: Mask, side: int) -> Iterator[tuple[slice, slice]]:
    """Squares of `side` pixels, overlapping, that together cover the hole (H, W); sides on the GRID stay on it.

    One tile is the whole picture where that is not larger.
    """
    for rows in _steps(hole.shape[0], side):
        for columns in _steps(hole.shape[1], side):
            if hole[rows, columns].any():
                yield rows, columns


def _steps(length: int, side: int) -> list[slice]:
    if length <= side:
        return [slice(0, length)]
    number = int(np.ceil((length - side) / (side * (1 - OVERLAP)))) + 1
    return [slice(int(start), int(start) + side) for start in np.linspace(0, length - side, number)]
