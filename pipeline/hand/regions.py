"""Square, turned, mirrored cut-outs of a photo: what the hand networks look at.

A region may reach beyond the photo (the rest is black), which is how the photo is "zoomed out": the palm
detector misses hands that fill the frame or are cut by its border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.types import F64, U8


@dataclass(frozen=True)
class Region:
    """A square of the photo: centre and side in pixels; the photo's content is turned by -angle."""

    cx: float
    cy: float
    size: float
    angle: float = 0.0  # radians, clockwise in the picture
    mirrored: bool = False

    def axes(self) -> F64:
        """(2, 2) columns: the crop's x and y axes in the photo, unit length."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        x_sign = -1.0 if self.mirrored else 1.0
        return np.array([[x_sign * c, -s], [x_sign * s, c]])

    def to_photo(self, points: F64, side: float) -> F64:
        """(..., 2) pixels of a `side` x `side` crop -> (..., 2) pixels of the photo."""
        centred = (points - side / 2) * (self.size / side)
        return centred @ self.axes().T + (self.cx, self.cy)


class Pyramid:
    """A photo at full, half, quarter ... size, so that crops are made without aliasing."""

    def __init__(self, image: U8, smallest: int = 96) -> None:
        self.levels = [image]
        while min(self.levels[-1].shape[:2]) >= 2 * smallest:
            height, width = self.levels[-1].shape[:2]
            half = cv2.resize(self.levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            self.levels.append(np.asarray(half, np.uint8))
        self.height, self.width = image.shape[:2]

    def cut(self, region: Region, side: int) -> U8:
        """(side, side, 3) RGB of the region; black outside the photo."""
        ratio = region.size / side
        level = min(len(self.levels) - 1, max(0, int(math.log2(max(ratio, 1.0)))))
        image = self.levels[level]
        shrink = np.array([image.shape[1] / self.width, image.shape[0] / self.height])
        linear = shrink[:, None] * region.axes() * ratio
        # pixel centres lie at +0.5: crop pixel i is at i + 0.5, photo position p is at array index p - 0.5
        corner = shrink * region.to_photo(np.array([0.5, 0.5]), side) - 0.5
        matrix = np.column_stack([linear, corner])
        return np.asarray(
            cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), np.uint8
        )
