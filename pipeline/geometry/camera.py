"""Pinhole cameras in the OpenCV frame; pixel (0.5, 0.5) is the centre of the first pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pipeline.types import Camera, Photo

if TYPE_CHECKING:
    import torch

FOV_PRIOR_DEG = 50.0  # of the longer side, when EXIF is silent: between a main lens (65) and a portrait lens (40)

Points = TypeVar("Points", np.ndarray, "torch.Tensor")


def from_focal(focal: float, width: int, height: int, source: str) -> Camera:
    """A camera with square pixels and the principal point in the image centre."""
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=np.float64)
    return Camera(K=K, width=width, height=height, source=source)


def of_photo(photo: Photo, fov_deg: float = FOV_PRIOR_DEG) -> Camera:
    """The photo's camera: EXIF focal when known, else a prior on the field of view of the longer side."""
    height, width = photo.size
    if photo.focal_px is not None:
        return from_focal(photo.focal_px, width, height, "exif")
    focal = max(width, height) / 2 / math.tan(math.radians(fov_deg) / 2)
    return from_focal(focal, width, height, "prior")


def project(points: Points, K: Points) -> Points:
    """(..., 3) metres in the camera frame -> (..., 2) pixels. Works on numpy arrays and torch tensors."""
    pixels: Points = points[..., :2] / points[..., 2:] * K.diagonal()[:2] + K[:2, 2]
    return pixels


def unprojected(slope: torch.Tensor, points: torch.Tensor, K: torch.Tensor) -> torch.Tensor:
    """A gradient at pixels (N, 2), as that at the points (N, 3) metres that `project` put there."""
    import torch  # here: exports project without it

    lateral = slope * K.diagonal()[:2] / points[:, 2:]
    inward = (lateral * points[:, :2]).sum(1, keepdim=True) / points[:, 2:]
    return torch.cat([lateral, -inward], 1)


def rays(pixels: np.ndarray, K: np.ndarray) -> np.ndarray:
    """(..., 2) pixels -> (..., 3) directions with z = 1 in the camera frame."""
    x = (pixels[..., 0] - K[0, 2]) / K[0, 0]
    y = (pixels[..., 1] - K[1, 2]) / K[1, 1]
    return np.stack([x, y, np.ones_like(x)], -1)


def crop(camera: Camera, x0: float, y0: float, scale: float, width: int, height: int) -> Camera:
    """The camera of the picture made by cutting at (x0, y0) and resizing by `scale` to width x height."""
    K = camera.K.copy()
    K[0, 2] -= x0
    K[1, 2] -= y0
    K[:2] *= scale
    return Camera(K=K, width=width, height=height, source=camera.source)
