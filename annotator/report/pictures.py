"""The pictures of one pair, as (h, w, 3) RGB arrays: what a person looks at to judge it.

    photo    as it is                                     overlay    both meshes over the photo
    masks    visible masks, the object's amodal outline   contacts   where one hides the other
    side     the pair seen from the side                  turntable  from all sides, one strip

The first four show a `Window` of the photo, the last two are rendered alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator.report.glb import bounds, hand_faces, object_vertices
from annotator.report.skin import skin_colors
from annotator.report.view import PairView
from pipeline.geometry.camera import crop, project
from pipeline.geometry.preview import Layer, orbit_camera, render
from pipeline.types import U8, Mask, Reconstruction

Color = tuple[int, int, int]

HAND: Color = (64, 156, 255)
OBJECT: Color = (255, 176, 32)
ARM: Color = (150, 150, 150)
AMODAL: Color = (255, 240, 160)
FRONT: Color = (255, 92, 138)  # the hand hides the object
BACK: Color = (72, 214, 190)  # the object hides the hand
PAPER: Color = (243, 242, 239)  # behind renderings
TURNTABLE_FRAMES = 12
SIDE_VIEW = (75.0, 12.0)  # degrees: azimuth to the viewer's right, elevation
TURNTABLE_ELEVATION = 18.0  # degrees
MESH_OPACITY = 0.72
MARGIN = 0.25  # around the pair, as a share of its longer side


@dataclass(frozen=True)
class Window:
    """The part of the photo that a picture shows, in pixels of the photo; x1 and y1 are one past the last."""

    x0: int
    y0: int
    x1: int
    y1: int

    def cut(self, image: U8, longest: int) -> U8:
        """A copy of that part, its longer side at most `longest` pixels."""
        return _fit(image[self.y0 : self.y1, self.x0 : self.x1], longest)

    def cut_mask(self, mask: Mask, size: tuple[int, ...]) -> Mask:
        part = mask[self.y0 : self.y1, self.x0 : self.x1].astype(np.float32)
        return cast(NDArray[np.float32], cv2.resize(part, (size[1], size[0]), interpolation=cv2.INTER_AREA)) >= 0.5


def whole(view: PairView) -> Window:
    """All of the photo."""
    height, width = view.photo.size
    return Window(0, 0, width, height)


def around_pair(view: PairView) -> Window:
    """The pair as segmented and as found, with a margin: a square where the photo has room for one."""
    pair, (height, width) = view.reconstruction, view.photo.size
    rows, columns = np.nonzero(pair.masks.hand | pair.completion.amodal_mask)
    found = project(np.concatenate([pair.hand_verts, object_vertices(pair)]), pair.camera.K)
    corners = np.concatenate([np.stack([columns, rows], 1), found[np.isfinite(found).all(1)]])
    low = np.clip(corners.min(0), 0, (width, height))
    high = np.clip(corners.max(0), 0, (width, height))
    side = float((high - low).max()) * (1 + 2 * MARGIN)
    x0, x1 = _span((low[0] + high[0]) / 2, side, width)
    y0, y1 = _span((low[1] + high[1]) / 2, side, height)
    return Window(x0, y0, x1, y1)


def _span(middle: float, side: float, limit: int) -> tuple[int, int]:
    """Where a stretch of `side` pixels around `middle` lies when it is pushed inside [0, limit]."""
    size = max(1, min(limit, round(side)))
    start = int(np.clip(round(middle - size / 2), 0, limit - size))
    return start, start + size


def photo_picture(view: PairView, window: Window, longest: int) -> U8:
    """The photo as it is."""
    return window.cut(view.photo.image, longest)


def overlay_picture(view: PairView, window: Window, longest: int) -> U8:
    """Hand (blue) and object (amber) as found, over the photo; where they disagree with it, they are wrong."""
    photo, pair = window.cut(view.photo.image, longest), view.reconstruction
    height, width = photo.shape[:2]
    camera = crop(pair.camera, window.x0, window.y0, width / (window.x1 - window.x0), width, height)
    layers = [
        Layer(pair.hand_verts, hand_faces(pair), color=_unit(HAND)),
        Layer(object_vertices(pair), pair.object.mesh.faces, color=_unit(OBJECT)),
    ]
    rendered = render(layers, camera.K, height, width)
    outlined = _over(rendered, photo, MESH_OPACITY)
    _outline(outlined, rendered[..., 3] > 127, (255, 255, 255))
    return outlined


def masks_picture(view: PairView, window: Window, longest: int) -> U8:
    """Visible hand and object filled, the object's amodal silhouette as a line."""
    pair = view.reconstruction
    picture = window.cut(view.photo.image, longest)
    size = picture.shape[:2]
    _fill(picture, window.cut_mask(pair.masks.arm, size), ARM, 0.35)
    for mask, color in ((pair.masks.hand, HAND), (pair.masks.object, OBJECT)):
        shown = window.cut_mask(mask, size)
        _fill(picture, shown, color, 0.45)
        _outline(picture, shown, color)
    _outline(picture, window.cut_mask(pair.completion.amodal_mask, size), AMODAL)
    return picture


def contacts_picture(view: PairView, window: Window, longest: int) -> U8:
    """M_front (the hand hides the object) and M_back (the object hides the hand) over a dimmed photo."""
    contacts = view.reconstruction.contacts
    picture = cast(U8, (window.cut(view.photo.image, longest) * 0.6).astype(np.uint8))
    for mask, color in ((contacts.front, FRONT), (contacts.back, BACK)):
        shown = window.cut_mask(mask, picture.shape[:2])
        _fill(picture, shown, color, 0.65)
        _outline(picture, shown, color)
    return picture


def side_picture(view: PairView, size: int) -> U8:
    """The pair from the side that the photo does not show, with contact heat on the hand; (size, size, 3)."""
    return _orbit(view.reconstruction, *SIDE_VIEW, size)


def turntable_strip(view: PairView, size: int, frames: int = TURNTABLE_FRAMES) -> U8:
    """(size, frames * size, 3): frames from left to right go once around, the first as the photo looks."""
    azimuths = np.arange(frames) * 360.0 / frames
    return np.concatenate([_orbit(view.reconstruction, a, TURNTABLE_ELEVATION, size) for a in azimuths], axis=1)


def _orbit(pair: Reconstruction, azimuth: float, elevation: float, size: int) -> U8:
    mesh = pair.object.mesh
    layers = [
        Layer(pair.hand_verts, hand_faces(pair), vertex_colors=skin_colors(pair.contacts.distance)),
        Layer(object_vertices(pair), mesh.faces, uv=mesh.uv, texture=mesh.texture),
    ]
    K, rotation, transl = orbit_camera(*bounds(pair), azimuth, elevation, size)
    paper = np.broadcast_to(np.array(PAPER, dtype=np.uint8), (size, size, 3))
    return _over(render(layers, K, size, size, rotation, transl), paper, 1.0)


def _fit(image: U8, longest: int) -> U8:
    """A copy whose longer side is at most `longest` pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale == 1.0:
        return image.copy()
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cast(U8, cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _over(rgba: U8, background: NDArray[np.uint8], opacity: float) -> U8:
    alpha = rgba[..., 3:].astype(np.float64) * (opacity / 255.0)
    return cast(U8, np.rint(alpha * rgba[..., :3] + (1 - alpha) * background).astype(np.uint8))


def _fill(picture: U8, mask: Mask, color: Color, opacity: float) -> None:
    picture[mask] = np.rint(picture[mask] * (1 - opacity) + np.array(color) * opacity).astype(np.uint8)


def _outline(picture: U8, mask: Mask, color: Color) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, color, max(1, round(max(picture.shape[:2]) / 320)), cv2.LINE_AA)


def _unit(color: Color) -> tuple[float, float, float]:
    return color[0] / 255, color[1] / 255, color[2] / 255
