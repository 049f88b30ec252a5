"""The photo on the mesh: a texture cut around the object, its colours carried outward, vertices projected into it."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from pipeline.geometry.camera import project
from pipeline.types import F64, U8, Camera, Mask

MAX_SIDE = 512  # pixels of the texture
MARGIN = 0.06  # of the box's longer side
RIM = 0.012  # of the longer side: outline pixels are mixed with the background and are replaced


def cut_texture(image: U8, mask: Mask, camera: Camera, points: F64) -> tuple[U8, F64]:
    """The (h, w, 3) texture around a mask and the (V, 2) uv of points (V, 3) in the camera frame.

    The hidden side takes the colours of the side in front of it, since both project to the same place.
    Points that project beyond the cut (an object cut by the photo's border) take the colour of its edge.
    """
    ys, xs = np.nonzero(mask)
    margin = round(MARGIN * max(np.ptp(xs), np.ptp(ys))) + 2
    x0, y0 = max(0, xs.min() - margin), max(0, ys.min() - margin)
    x1, y1 = min(mask.shape[1], xs.max() + margin + 1), min(mask.shape[0], ys.max() + margin + 1)
    texture = _bleed(image[y0:y1, x0:x1], mask[y0:y1, x0:x1])
    shrink = min(1.0, MAX_SIDE / max(texture.shape[:2]))
    if shrink < 1:
        size = max(1, round(texture.shape[1] * shrink)), max(1, round(texture.shape[0] * shrink))
        texture = np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    uv = (project(points, camera.K) - [x0, y0]) / [x1 - x0, y1 - y0]
    return texture, np.clip(uv, 0.0, 1.0)


def _bleed(image: U8, mask: Mask) -> U8:
    """Object colours everywhere: outside and along the rim, those of the nearest pixel well inside."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rim = min(max(1.5, RIM * max(mask.shape)), 0.5 * float(depth.max()))
    inside = depth > rim
    _, nearest = distance_transform_edt(~inside, return_indices=True)
    spread = image[nearest[0], nearest[1]]
    return np.where(inside[..., None], image, cv2.GaussianBlur(spread, (0, 0), 1.5)).astype(np.uint8)
