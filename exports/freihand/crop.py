"""The square of the photo that becomes FreiHAND's 224 x 224 picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from exports.base import UnsuitableRecord
from exports.freihand.layout import SIZE
from pipeline.geometry.camera import crop, project
from pipeline.types import F64, U8, Camera

MARGIN = 1.5  # side of the square by the longer side of the hand's box
NEAR = 1e-3  # metres


@dataclass(frozen=True)
class Square:
    """Whole pixels of the photo, which it may leave."""

    left: int
    top: int
    side: int

    def picture(self, image: U8) -> U8:
        """(224, 224, ...) of an (H, W, ...) image; black beyond the photo's border."""
        height, width = image.shape[:2]
        right, bottom = self.left + self.side, self.top + self.side
        inside = image[max(0, self.top) : max(0, bottom), max(0, self.left) : max(0, right)]
        above, below = max(0, -self.top), max(0, bottom - height)
        before, after = max(0, -self.left), max(0, right - width)
        whole = cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_CONSTANT)
        way = cv2.INTER_AREA if self.side > SIZE else cv2.INTER_LINEAR  # both put corner on corner
        return np.asarray(cv2.resize(whole, (SIZE, SIZE), interpolation=way), dtype=np.uint8)

    def camera(self, camera: Camera) -> Camera:
        """The camera of that picture."""
        return crop(camera, self.left, self.top, SIZE / self.side, SIZE, SIZE)


def square_about(verts: F64, camera: Camera) -> Square:
    """The square about a hand, (V, 3) metres; moved into the photo where that keeps the whole hand in it.

    Raises UnsuitableRecord when the hand is not in front of the camera or not in the photo.
    """
    if not (np.isfinite(verts).all() and verts[:, 2].min() > NEAR):
        raise UnsuitableRecord("part of the hand lies behind the camera or is not finite")
    pixels = project(verts, camera.K)
    low, high, size = pixels.min(0), pixels.max(0), np.array([camera.width, camera.height])
    if (high <= 0).any() or (low >= size).any():
        raise UnsuitableRecord("the hand is outside of the photo")
    side = math.ceil(MARGIN * float((high - low).max()))
    corner = (low + high - side) / 2
    fits = np.clip(corner, 0, np.maximum(size - side, 0))
    left, top = np.clip(fits, np.ceil(high - side), np.floor(low)).round().astype(int)
    return Square(int(left), int(top), side)
