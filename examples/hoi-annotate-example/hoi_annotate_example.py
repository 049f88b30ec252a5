"""An inpainter of one's own: what the hand hides of the object is what the object's convex hull says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from pipeline.errors import EmptyMask
from pipeline.types import Completion, Masks, Photo


class HullInpainter:
    """Setting `radius`: how far cv2 looks for colours, in pixels."""

    name = "hull"
    version = "1"  # part of the cache key: raise it when the answers change
    weights_digest = ""  # with weights: their sha256
    licence, commercial = "Apache-2.0", True  # for `models licences`

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._radius = float(settings.get("radius", 5.0))

    def needs(self) -> list[str]:
        """A line for each thing that is missing on this machine, and the command that gets it."""
        return []

    def complete(self, photo: Photo, masks: Masks) -> Completion:
        """Original pixels stay; only what the hand hides is filled."""
        if not masks.object.any():
            raise EmptyMask(f"{photo.name}: there is no object to complete")
        points = np.argwhere(masks.object)[:, ::-1].astype(np.int32)
        hull = np.zeros(photo.size, np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
        hidden = (hull > 0) & masks.hand
        image = cv2.inpaint(photo.image, hidden.astype(np.uint8), self._radius, cv2.INPAINT_TELEA)
        return Completion(masks.object | hidden, np.asarray(image, np.uint8), notes=("completed by its convex hull",))
