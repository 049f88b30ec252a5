"""In which frame a large reconstruction model answers, and what that says of the photo's camera.

    frame (which way is up, where the viewer was) + azimuth + elevation -> rotation of the object in the viewer's camera
    ray through the square's middle -> that camera turned to where the photo shows the object
    the mask's box -> translation: these models know no metres and no focal length, so the picture places the object

Of several views that a frame leaves open, the one whose silhouette fits best leads and all go on as `starts`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.camera import project, rays
from pipeline.geometry.raster import coverage
from pipeline.hand.registration import rotation_to
from pipeline.types import F64, I64, Camera, Mask, ViewPrior

AXES = {"+x": (1, 0, 0), "-x": (-1, 0, 0), "+y": (0, 1, 0), "-y": (0, -1, 0), "+z": (0, 0, 1), "-z": (0, 0, -1)}
LOOK = 96  # pixels of the longer side of the picture in which views are compared
NEAR = 1.05  # radii of the mesh: the camera is never nearer


@dataclass(frozen=True)
class Frame:
    """A right-handed object frame."""

    up: str  # axis that points up in the picture, when the viewer's elevation is 0
    viewer: str  # axis on which the viewer was, at azimuth 0
    azimuths: tuple[float, ...] = (0.0,)  # degrees, counter-clockwise seen from above, that are possible
    elevations: tuple[float, ...] = (0.0,)  # degrees; positive: seen from above

    def rotations(self) -> F64:
        """(S, 3, 3) object -> OpenCV camera that looks at the object's origin, for every view left open."""
        return np.stack([self.rotation(a, e) for e in self.elevations for a in self.azimuths])

    def rotation(self, azimuth: float, elevation: float) -> F64:
        """(3, 3) the same for one view. Raises KeyError for an axis that is none."""
        up, front = np.array(AXES[self.up], float), np.array(AXES[self.viewer], float)
        side = np.cross(up, front)
        a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
        outward = np.cos(e) * (np.cos(a) * front + np.sin(a) * side) + np.sin(e) * up
        above = -np.sin(e) * (np.cos(a) * front + np.sin(a) * side) + np.cos(e) * up
        return np.stack([np.cross(above, outward), -above, -outward])


def every(step: int) -> tuple[float, ...]:
    """Azimuths all around, `step` degrees apart."""
    return tuple(float(a) for a in range(0, 360, step))


def prior(
    vertices: F64, faces: I64, rotations: Iterable[F64], target: Mask, camera: Camera, middle: F64, depth_known: float
) -> ViewPrior:
    """The view prior of a mesh (V, 3), (F, 3) of which `rotations` are possible, in a camera that looks at it.

    target: (H, W) the amodal mask. middle: (2,) pixels of the photo the model's camera looked at.
    """
    turn = rotation_to(rays(middle, camera.K))
    box = box_of(target)
    found = [turn @ rotation for rotation in rotations]
    placed = [(rotation, place(vertices @ rotation.T, box, camera)) for rotation in found]
    if len(placed) > 1:
        fits = [_overlap(vertices @ r.T + t, faces, target, box, camera) for r, t in placed]
        order = sorted(range(len(placed)), key=lambda i: -fits[i])
        placed = [placed[i] for i in order]
    starts = np.stack([rotation for rotation, _ in placed]) if len(placed) > 1 else np.zeros((0, 3, 3))
    return ViewPrior(placed[0][0], placed[0][1], starts, depth_known)


def box_of(mask: Mask) -> F64:
    """(4,) x0, y0, x1, y1 of a mask's pixels, which it has."""
    ys, xs = np.nonzero(mask)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], dtype=np.float64)


def place(points: F64, box: F64, camera: Camera) -> F64:
    """(3,) the translation under which points (V, 3) fill a box of the picture: its middle, and its size on average."""
    middle, extent = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    own = (points.min(0) + points.max(0)) / 2
    radius = float(np.linalg.norm(points - own, axis=1).max())
    size = np.sqrt(np.prod(np.ptp(points[:, :2], axis=0)) + 1e-12)
    depth = max(camera.focal * size / np.sqrt(extent.prod()), NEAR * radius)
    at = middle
    for _ in range(20):
        transl = rays(at, camera.K) * depth - own
        pixels = project(points + transl, camera.K)
        low, high = pixels.min(0), pixels.max(0)
        at = at + middle - (low + high) / 2
        grown = float(np.sqrt((high - low).prod() / extent.prod()))
        depth = max(depth * grown, NEAR * radius)
    return np.asarray(rays(at, camera.K) * depth - own)


def _overlap(points: F64, faces: I64, target: Mask, box: F64, camera: Camera) -> float:
    """IoU of the silhouette with the mask, in a small picture around its box."""
    margin = 0.25 * float((box[2:] - box[:2]).max())
    low = np.maximum(np.floor(box[:2] - margin), 0).astype(int)
    high = np.minimum(np.ceil(box[2:] + margin), target.shape[::-1]).astype(int)
    step = max(1.0, float((high - low).max()) / LOOK)
    width, height = (int(n) for n in np.maximum(1, (high - low) // step))
    rows = (low[1] + (np.arange(height) + 0.5) * step).astype(int)
    columns = (low[0] + (np.arange(width) + 0.5) * step).astype(int)
    wanted = target[np.ix_(rows, columns)]
    drawn = coverage((project(points, camera.K) - low) / step, faces, height, width) > 0.5
    return float((drawn & wanted).sum() / max((drawn | wanted).sum(), 1))
