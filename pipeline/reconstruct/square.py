"""The picture a large reconstruction model is shown: the completed object alone, filling its share of a square.

The square is what a virtual camera sees that stands where the photo's does and looks straight at the object: away from
the photo's middle a plain cut would be skewed, and the model would build the skew into the object.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.errors import EmptyMask
from pipeline.geometry.camera import project, rays
from pipeline.hand.registration import rotation_to
from pipeline.types import F64, U8, Camera, Completion, Photo

FILL = 0.85  # of the square's side: what these models were trained on
SIZE = 1024  # pixels; each scales it down to its own
CENTRED = 1e-3  # of the object's extent: how well it is in the middle


@dataclass(frozen=True)
class Square:
    """The virtual camera of the picture a model saw; its principal point is the picture's middle."""

    to_camera: F64  # (3, 3) its axes in the photo's camera
    focal: float  # pixels of the picture
    size: int  # pixels of the picture

    @property
    def K(self) -> F64:
        """(3, 3) pixels of the picture."""
        return np.array([[self.focal, 0, self.size / 2], [0, self.focal, self.size / 2], [0, 0, 1.0]])

    def to_photo(self, pixels: F64, camera: Camera) -> F64:
        """(..., 2) pixels of the picture -> pixels of the photo."""
        return np.asarray(project(rays(pixels, self.K) @ self.to_camera.T, camera.K))


def square_of(photo: Photo, completion: Completion, camera: Camera, fill: float = FILL, size: int = SIZE) -> Square:
    """The square whose middle is the object's and of whose side its larger extent takes `fill`. Raises EmptyMask."""
    ys, xs = np.nonzero(completion.amodal_mask)
    if not len(ys):
        raise EmptyMask(f"{photo.name}: the object mask has no pixels; give one with --object-mask")
    corners = np.concatenate([np.stack([xs + dx, ys + dy], 1) for dx in (0.0, 1.0) for dy in (0.0, 1.0)])
    seen = rays(corners[cv2.convexHull(corners.astype(np.float32), returnPoints=False).ravel()], camera.K)
    looks_at = rays((corners.min(0) + corners.max(0)) / 2, camera.K)
    for _ in range(10):
        to_camera = rotation_to(looks_at)
        own = seen @ to_camera
        flat = own[:, :2] / own[:, 2:]
        middle, extent = (flat.min(0) + flat.max(0)) / 2, float(np.ptp(flat, axis=0).max())
        if np.abs(middle).max() < CENTRED * extent:
            break
        looks_at = to_camera @ np.append(middle, 1.0)
        looks_at = looks_at / looks_at[2]
    return Square(to_camera, fill * size / max(extent, 1e-6), size)


def shown(completion: Completion, square: Square, camera: Camera) -> U8:
    """(size, size, 4) RGBA: the picture in the square, alpha the amodal mask."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # OpenCV counts from the middle of the first pixel
    matrix = np.linalg.inv(half) @ camera.K @ square.to_camera @ np.linalg.inv(square.K) @ half
    image: np.ndarray = completion.image
    alpha: np.ndarray = completion.amodal_mask.astype(np.uint8) * 255
    shrink = camera.focal / square.focal
    if shrink > 1:  # no aliasing when the object is larger than the picture
        image, alpha = (cv2.GaussianBlur(part, (0, 0), 0.4 * shrink) for part in (image, alpha))
    flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (square.size, square.size)
    colours = cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.dstack([colours, cv2.warpPerspective(alpha, matrix, size, flags=flags)]).astype(np.uint8)
