"""The object seen squarely: a small virtual camera looks at its middle, so that no shape code meets a skewed view."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from pipeline.errors import EmptyMask
from pipeline.geometry.camera import rays
from pipeline.geometry.raster import coverage
from pipeline.types import F64, I64, U8, Camera, Completion, Mask, Photo

SIZE = 192  # pixels; the side of the square view: contour detail below 1/160 of an object is mask noise
MARGIN = 0.08  # of the side, on each side of the silhouette
OVERSAMPLE = 3  # warp finer, then average: no aliasing when the photo is larger than the view
GUESSED = 0.3  # weight of an outline that was completed behind the hand
NEAR = 2.0  # pixels: outlines this close agree
MIN_PIXELS = 40  # a silhouette smaller than this in the photo has no shape to speak of


@dataclass(frozen=True)
class View:
    """A square virtual picture of the object. The virtual camera sits in the photo's camera centre.

    Shape code works at unit depth (the object's middle is at z = 1): one view does not know the scale.
    """

    mask: Mask  # (S, S) amodal silhouette, one connected piece
    fine_mask: Mask  # (S * OVERSAMPLE, S * OVERSAMPLE) the same, for thin parts
    known: Mask  # (S, S) inside the photo; beyond its border nothing is known
    original: Mask  # (S, S) the object's own pixels, neither inpainted nor beyond the border
    image: U8  # (S, S, 3)
    focal: float  # pixels; the principal point is (S/2, S/2)
    to_camera: F64  # (3, 3) virtual camera -> photo camera
    share: float = 1.0  # of the amodal mask that lies in its largest piece, the one seen here

    @cached_property
    def K(self) -> F64:
        return np.array([[self.focal, 0, SIZE / 2], [0, self.focal, SIZE / 2], [0, 0, 1.0]])

    @cached_property
    def signed_distance(self) -> F64:
        """(S, S) pixels to the silhouette's outline, positive inside."""
        return signed_distance(self.mask)

    @cached_property
    def contour(self) -> F64:
        """(N, 2) pixels, 160 points evenly along the outline (corners rounded by less than a pixel)."""
        outline = outline_of(self.mask)
        step = np.linalg.norm(np.diff(outline, axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(step)])
        at = np.linspace(0, along[-1], 160, endpoint=False)
        return np.stack([np.interp(at, along, outline[:, k]) for k in (0, 1)], 1)

    @cached_property
    def true_edge(self) -> Mask:
        """(N,) which contour points are the object's own outline and not the photo's border."""
        near_border = ~cv2.erode(np.pad(self.known, 4).astype(np.uint8), np.ones((7, 7))).astype(bool)[4:-4, 4:-4]
        near_border &= ~self.known.all()
        return ~sample(near_border.astype(float), self.contour).astype(bool)

    @cached_property
    def edge_weight(self) -> F64:
        """(N,) of contour points: 1 on the visible object's own outline, less where completed, 0 at the border."""
        near_seen = cv2.dilate(self.original.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.float64)
        guessed = sample(near_seen, self.contour) < 0.5
        return np.where(guessed, GUESSED, 1.0) * self.true_edge

    @cached_property
    def weight_near(self) -> F64:
        """(S, S) the weight of the nearest contour point."""
        y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
        nearest = cKDTree(self.contour).query(np.stack([x, y], -1).reshape(-1, 2))[1].reshape(SIZE, SIZE)
        return np.asarray(np.where(self.true_edge, self.edge_weight, 1.0)[nearest])

    @cached_property
    def outline_pull(self) -> F64:
        """(S, S) signed distance to the outline times its weight there; 0 beyond the photo, where anything may be."""
        return np.where(self.known, self.signed_distance * self.weight_near, 0.0)

    @cached_property
    def inner(self) -> Mask:
        """(S, S) the object's own pixels clear of the outline, whose contrast is not the object's."""
        return np.asarray(cv2.erode((self.original & self.mask).astype(np.uint8), np.ones((7, 7))) > 0)

    @cached_property
    def grey(self) -> F64:
        """(S, S) luminance 0..1, slightly smoothed."""
        grey = cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY).astype(np.float64) / 255
        return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0), dtype=np.float64)

    def project(self, points: F64) -> F64:
        """(..., 3) virtual camera frame -> (..., 2) pixels."""
        flat = points[..., :2] / np.maximum(points[..., 2:], 1e-6)
        return np.asarray(flat * self.focal + SIZE / 2, dtype=np.float64)

    def iou(self, drawn: Mask) -> float:
        """Overlap of a drawn silhouette with the mask, where the photo can tell."""
        drawn, mask = drawn & self.known, self.mask & self.known
        return float((drawn & mask).sum() / max((drawn | mask).sum(), 1))

    def explained(self, drawn: Mask) -> float:
        """0..1: how much of both outlines lies on the other one, within about 2 pixels; sharper than IoU."""
        outline = outline_of(drawn)
        outline = outline[sample(self.known.astype(np.float64), outline) > 0.99]
        there, back = sample(signed_distance(drawn), self.contour), sample(self.signed_distance, outline)
        parts = (there, self.edge_weight), (back, sample(self.weight_near, outline))
        agree = [
            np.exp(-np.square(gap / NEAR)) @ weight / weight.sum() if weight.any() else 0.0 for gap, weight in parts
        ]
        return float(sum(agree) / 2)

    def draw(self, vertices: F64, faces: I64) -> Mask:
        """(S, S) silhouette of a mesh in the virtual camera frame."""
        return coverage(self.project(vertices), faces, SIZE, SIZE) > 0.5


def look_at(photo: Photo, completion: Completion, visible: Mask, camera: Camera) -> View:
    """The view of the largest piece of the amodal mask. Raises EmptyMask."""
    piece = _largest_piece(completion.amodal_mask)
    if piece.sum() < MIN_PIXELS:
        raise EmptyMask(f"{photo.name}: the object's mask has {int(piece.sum())} pixels; draw or fix the object mask")
    ys, xs = np.nonzero(piece)
    outline = np.stack([xs, ys], 1).astype(np.float64) + 0.5
    middle = (outline.min(0) + outline.max(0)) / 2
    to_camera = _rotation_to(rays(middle, camera.K))
    seen = rays(outline, camera.K) @ to_camera
    reach = float(np.abs(seen[:, :2] / seen[:, 2:]).max())
    focal = SIZE * (0.5 - MARGIN) / reach

    fine = SIZE * OVERSAMPLE
    K_fine = np.array([[focal * OVERSAMPLE, 0, fine / 2], [0, focal * OVERSAMPLE, fine / 2], [0, 0, 1.0]])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # OpenCV counts from the first pixel's centre
    view_to_photo = np.linalg.inv(half) @ camera.K @ to_camera @ np.linalg.inv(K_fine) @ half

    def warp(picture: np.ndarray) -> np.ndarray:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpPerspective(picture, view_to_photo, (fine, fine), flags=flags))

    def cut(picture: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.resize(warp(picture), (SIZE, SIZE), interpolation=cv2.INTER_AREA))

    def cut_mask(mask: Mask) -> Mask:
        return np.asarray(cut(mask.astype(np.uint8) * 255) > 127, dtype=np.bool_)

    return View(
        mask=_largest_piece(cut_mask(piece)),
        fine_mask=np.asarray(warp(piece.astype(np.uint8) * 255) > 127, dtype=np.bool_),
        known=cut_mask(np.ones_like(piece)),
        original=cut_mask(visible & piece),
        image=cut(completion.image),
        focal=focal,
        to_camera=to_camera,
        share=float(piece.sum() / completion.amodal_mask.sum()),
    )


def sample(field: F64, points: F64) -> F64:
    """Bilinear values of a (S, S) field at (..., 2) pixels; the nearest value outside."""
    rows, columns = points[..., 1] - 0.5, points[..., 0] - 0.5
    return np.asarray(map_coordinates(field, [rows, columns], order=1, mode="nearest"))


def outline_of(mask: Mask) -> F64:
    """(N, 2) pixels along the longest outline of a mask."""
    outlines: list[F64] = find_contours(np.pad(mask, 1).astype(float), 0.5)  # type: ignore[no-untyped-call]
    return max(outlines, key=len)[:, ::-1] - 0.5 if outlines else np.zeros((0, 2))


def signed_distance(mask: Mask) -> F64:
    """(H, W) pixels to a mask's outline, positive inside; minus the size everywhere when the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, -float(max(mask.shape)))
    inside, outside = (distance_transform_edt(part) for part in (mask, ~mask))  # OpenCV's exact one varies in last bits
    return np.asarray(np.where(mask, inside - 0.5, 0.5 - outside), dtype=np.float64)


def _largest_piece(mask: Mask) -> Mask:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count == 1:
        return np.zeros_like(mask)
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def _rotation_to(ray: F64) -> F64:
    """(3, 3) the smallest rotation that takes the z axis to a ray."""
    z = ray / np.linalg.norm(ray)
    axis = np.array([-z[1], z[0], 0.0])
    sine = float(np.linalg.norm(axis))
    if sine < 1e-12:
        return np.eye(3)
    return np.asarray(cv2.Rodrigues(axis / sine * np.arctan2(sine, z[2]))[0], dtype=np.float64)
