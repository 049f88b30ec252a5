"""In which frame a large reconstruction model answers, and what that says of the photo's camera.

    frame (which way is up, where the viewer was) + azimuth + elevation -> rotation of the object in the viewer's camera
    square.to_camera  -> that camera is turned to where the photo shows the object
    the mask's box    -> translation: these models know no metres and no focal length, so the picture places the object

Of the views that a frame leaves open the one whose silhouette fits best is refined and leads; all go on as `starts`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

from pipeline.geometry.camera import project, rays
from pipeline.geometry.raster import coverage
from pipeline.types import F64, I64, Camera, Mask, ViewPrior

AXES = {"+x": (1, 0, 0), "-x": (-1, 0, 0), "+y": (0, 1, 0), "-y": (0, -1, 0), "+z": (0, 0, 1), "-z": (0, 0, -1)}
LOOK = 96  # pixels of the longer side of the picture in which views are compared
NEAR = 1.05  # radii of the mesh: the camera is never nearer
REFINED = 3  # views
STEPS = (6.0, 3.0, 1.5)  # degrees

View = tuple[float, float]  # azimuth and elevation, degrees


@dataclass(frozen=True)
class Frame:
    """A right-handed object frame."""

    up: str  # axis that points up in the picture, when the viewer's elevation is 0
    viewer: str  # axis on which the viewer was, at azimuth 0
    azimuths: tuple[float, ...] = (0.0,)  # degrees, counter-clockwise seen from above, that are possible
    elevations: tuple[float, ...] = (0.0,)  # degrees; positive: seen from above

    def views(self) -> list[View]:
        """All that are possible."""
        return [(azimuth, elevation) for elevation in self.elevations for azimuth in self.azimuths]

    def around(self, view: View, step: float) -> list[View]:
        """The neighbours of a view, in what is open."""
        azimuths = (-step, 0.0, step) if len(self.azimuths) > 1 else (0.0,)
        elevations = (-step, 0.0, step) if len(self.elevations) > 1 else (0.0,)
        return [(view[0] + a, view[1] + e) for a in azimuths for e in elevations if (a, e) != (0.0, 0.0)]

    def rotation(self, view: View) -> F64:
        """(3, 3) object -> OpenCV camera that looks at the object's origin."""
        up, front = np.array(AXES[self.up], float), np.array(AXES[self.viewer], float)
        a, e = np.deg2rad(view)
        level = np.cos(a) * front + np.sin(a) * np.cross(up, front)
        outward, above = np.cos(e) * level + np.sin(e) * up, -np.sin(e) * level + np.cos(e) * up
        return np.stack([np.cross(above, outward), -above, -outward])


def every(step: int) -> tuple[float, ...]:
    """Azimuths all around, `step` degrees apart."""
    return tuple(float(a) for a in range(0, 360, step))


def known_view(
    vertices: F64, rotation: F64, target: Mask, camera: Camera, to_camera: F64, depth_known: float
) -> ViewPrior:
    """The view prior of a mesh (V, 3) whose rotation (3, 3), into a camera that looks straight at it, is known.

    target: (H, W) the amodal mask. to_camera: (3, 3) that camera's axes in the photo's.
    """
    turned = to_camera @ rotation
    transl = place(_hull(vertices) @ turned.T, box_of(target), camera)
    return ViewPrior(turned, transl, np.zeros((0, 3, 3)), depth_known)


def best_view(
    vertices: F64, faces: I64, frame: Frame, target: Mask, camera: Camera, to_camera: F64, depth_known: float
) -> ViewPrior:
    """The view prior of a mesh (V, 3), (F, 3) in a frame; see `known_view`."""
    look, rim = _Look(target, camera), _hull(vertices)

    def fit(view: View) -> tuple[float, F64, F64]:
        rotation = to_camera @ frame.rotation(view)
        transl = place(rim @ rotation.T, look.box, camera)
        return look.overlap(vertices @ rotation.T + transl, faces), rotation, transl

    fits = {view: fit(view) for view in frame.views()}
    ranked = sorted(fits, key=lambda view: -fits[view][0])
    best = [(fits[view], view) for view in ranked[:REFINED]]
    for i, (found, view) in enumerate(best):
        for step in STEPS:
            for near in frame.around(view, step):
                tried = fit(near)
                if tried[0] > found[0]:
                    found, view = tried, near
        best[i] = (found, view)
    (_, rotation, transl), _ = max(best, key=lambda candidate: candidate[0][0])
    starts = np.stack([rotation, *(fits[view][1] for view in ranked)])
    return ViewPrior(rotation, transl, starts if len(ranked) > 1 else np.zeros((0, 3, 3)), depth_known)


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
        pixels = project(points + rays(at, camera.K) * depth - own, camera.K)
        low, high = pixels.min(0), pixels.max(0)
        off, grown = middle - (low + high) / 2, float(np.sqrt((high - low).prod() / extent.prod()))
        at, depth = at + off, max(depth * grown, NEAR * radius)
        if np.abs(off).max() < 0.01 and abs(grown - 1) < 1e-5:
            break
    return np.asarray(rays(at, camera.K) * depth - own)


def _hull(vertices: F64) -> F64:
    """(N, 3) the vertices that a box around a picture of the mesh depends on."""
    return np.asarray(vertices[ConvexHull(vertices, qhull_options="QJ").vertices])


class _Look:
    """A small picture around the mask, in which silhouettes are compared with it."""

    def __init__(self, target: Mask, camera: Camera) -> None:
        self.box = box_of(target)
        self._K = camera.K
        margin = 0.25 * float((self.box[2:] - self.box[:2]).max())
        self._low = np.maximum(np.floor(self.box[:2] - margin), 0).astype(int)
        high = np.minimum(np.ceil(self.box[2:] + margin), target.shape[::-1]).astype(int)
        self._step = max(1.0, float((high - self._low).max()) / LOOK)
        width, height = (int(n) for n in np.maximum(1, (high - self._low) // self._step))
        rows = (self._low[1] + (np.arange(height) + 0.5) * self._step).astype(int)
        columns = (self._low[0] + (np.arange(width) + 0.5) * self._step).astype(int)
        self._wanted = target[np.ix_(rows, columns)]

    def overlap(self, points: F64, faces: I64) -> float:
        """IoU of the mask and the silhouette of a mesh (V, 3) in the camera."""
        pixels = (project(points, self._K) - self._low) / self._step
        drawn = coverage(pixels, faces, *self._wanted.shape) > 0.5
        return float((drawn & self._wanted).sum() / max((drawn | self._wanted).sum(), 1))
