"""The 640 x 480 pictures that readers of HO-3D and DexYCB have hard-coded, out of photos of any size.

    photo --largest 4:3 window that fits, moved to the pair--> crop --resize--> 640 x 480

Only the picture and K change; the 3D stays as it is. A window that must be larger than the photo, so that the pair is
whole, shows black beyond its border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from exports.base import UnsuitableRecord
from pipeline.geometry.camera import project
from pipeline.types import F64, U8, Camera

WIDTH, HEIGHT = 640, 480
MARGIN = 1.05  # of the window over what the photo shows of the pair
NEAREST = 1e-3  # metres
DECIMALS = 6  # kept of pixels


@dataclass(frozen=True)
class View:
    """A 4:3 window of a photo, as a camera of 640 x 480 pixels."""

    x: int  # photo pixels of the window's upper left corner; negative: beyond the border
    y: int
    unit: int  # the window is 4 x 3 of these photo pixels
    K: F64  # (3, 3); pixel (0.5, 0.5) is the centre of the first one, as everywhere here

    @property
    def scale(self) -> float:
        """Pixels of the picture per pixel of the photo."""
        return WIDTH / (4 * self.unit)

    @property
    def cv_K(self) -> F64:
        """(3, 3) K as readers use it: OpenCV's pixel (0, 0) is the centre of the first one."""
        return shifted(self.K, -0.5)

    def picture(self, image: U8) -> U8:
        """(H, W, 3) photo -> (480, 640, 3)."""
        height, width = image.shape[:2]
        right, bottom = self.x + 4 * self.unit, self.y + 3 * self.unit
        cut = image[max(self.y, 0) : min(bottom, height), max(self.x, 0) : min(right, width)]
        border = (max(-self.y, 0), max(bottom - height, 0), max(-self.x, 0), max(right - width, 0))
        if any(border):
            cut = np.asarray(cv2.copyMakeBorder(cut, *border, cv2.BORDER_CONSTANT, value=(0, 0, 0)), dtype=np.uint8)
        if self.scale == 1:
            return np.ascontiguousarray(cut)
        how = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(cut, (WIDTH, HEIGHT), interpolation=how), dtype=np.uint8)


def look_at(points: F64, camera: Camera) -> View:
    """The window for a pair. points: (N, 3) all vertices, metres, photo camera. Raises UnsuitableRecord."""
    if not np.isfinite(points).all() or points[:, 2].min() <= NEAREST:
        raise UnsuitableRecord("part of the pair lies behind the camera or is not finite")
    pixels, size = project(points, camera.K), np.array([camera.width, camera.height])
    low, high = np.maximum(pixels.min(0), 0), np.minimum(pixels.max(0), size)
    if (high <= low).any():
        raise UnsuitableRecord("the pair is outside the photo")
    inside = min(camera.width // 4, camera.height // 3)
    around = max(math.ceil(camera.width / 4), math.ceil(camera.height / 3))
    needed = math.ceil(MARGIN * float(max((high - low) / [4, 3])))
    unit = min(max(inside, needed, 1), around)
    window = np.array([4, 3]) * unit
    corner = np.rint((low + high - window) / 2)
    room = size - window
    x, y = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), np.floor(room / 2)).astype(int).tolist()
    scale = WIDTH / (4 * unit)
    K = camera.K.copy()
    K[:2, 2] -= (x, y)
    K[:2] *= scale
    return View(x, y, unit, np.round(K, DECIMALS))


def shifted(K: F64, pixels: float) -> F64:
    """(3, 3) K with its principal point moved."""
    moved = K.copy()
    moved[:2, 2] += pixels
    return moved
