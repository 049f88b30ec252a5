"""The picture a large reconstruction model is shown: the completed object alone, filling its share of a square."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.errors import EmptyMask
from pipeline.types import F64, U8, Completion, Photo

FILL = 0.85  # of the square's side: what these models were trained on
SIZE = 1024  # pixels; each scales it down to its own


@dataclass(frozen=True)
class Square:
    """Which square of the photo a model saw. Photo pixel = corner + square pixel * side / size."""

    corner: F64  # (2,) x, y of its upper left corner in the photo, pixels; may lie outside
    side: float  # pixels of the photo
    size: int  # pixels of the picture
    box: F64  # (4,) x0, y0, x1, y1 of the object in the photo, pixels

    @property
    def centre(self) -> F64:
        """(2,) x, y in the photo, pixels."""
        return self.corner + self.side / 2

    def to_photo(self, pixels: F64) -> F64:
        """(..., 2) pixels of the picture -> pixels of the photo."""
        return np.asarray(self.corner + pixels * (self.side / self.size))


def cut_square(photo: Photo, completion: Completion, fill: float = FILL, size: int = SIZE) -> tuple[U8, Square]:
    """(size, size, 4) RGBA, alpha the amodal mask, and which square it is. Raises EmptyMask.

    The larger side of the object's box takes `fill` of the square, its middle is the square's.
    """
    ys, xs = np.nonzero(completion.amodal_mask)
    if not len(ys):
        raise EmptyMask(f"{photo.name}: the object mask has no pixels; give one with --object-mask")
    low, high = np.array([xs.min(), ys.min()], float), np.array([xs.max() + 1, ys.max() + 1], float)
    side = max(float((high - low).max()) / fill, 1.0)
    square = Square((low + high) / 2 - side / 2, side, size, np.concatenate([low, high]))
    scale = size / side
    # OpenCV counts from the middle of the first pixel, we from its corner
    shift = -square.corner * scale + 0.5 * scale - 0.5
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    image, alpha = completion.image, completion.amodal_mask.astype(np.uint8) * 255
    if scale < 1:  # no aliasing when the object is larger than the picture
        image, alpha = (cv2.GaussianBlur(part, (0, 0), 0.4 / scale) for part in (image, alpha))
    colours = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(alpha, matrix, (size, size), flags=cv2.INTER_LINEAR)
    return np.dstack([colours, alpha]).astype(np.uint8), square
