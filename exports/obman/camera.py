"""From the photo's camera to ObMan's, which its loaders have hard-coded.

    exact   the camera turns about its own centre: picture by the homography K_o R K^-1, 3D by R; no residual
    refit   the picture is cropped to the pair, and the 3D moved rigidly to where it fits the crop best (PnP)

Both move hand and object by one rigid transform, so that contact stays what it was. No scale is needed: seen
through one camera it is the same as depth, and the hand is metric. `exact` keeps the view angle, so a small pair
stays small and one wider than ObMan's 29.86 degrees leaves the picture; `refit` fills the picture and bends
perspective a little, which the residual states.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from exports.base import UnsuitableRecord
from pipeline.geometry.camera import project, rays
from pipeline.types import F64, U8, Camera

SIZE = 256  # pixels, both sides
K_OBMAN: F64 = np.array([[480.0, 0, 128], [0, 480, 128], [0, 0, 1]])
TO_OPENGL: F64 = np.diag([1.0, -1.0, -1.0])  # OpenCV camera <-> ObMan's (x right, y up, -z forward)
FOV_DEG = 2 * math.degrees(math.atan(SIZE / 2 / K_OBMAN[0, 0]))  # 29.86
CROP_MARGINS = (1.15, 2.0)  # side of the crop over the extent of the pair: least, most
DECIMALS = 9  # kept of radians and metres
FITTED = 600  # vertices of each that the fit looks at, about
GAUSS_NEWTON_STEPS = 8  # at most; it ends before when a step is below
ENOUGH = 1e-9  # radians and metres; what is then missing is some hundredths of it

CameraMode = Literal["refit", "exact"]
MODES: tuple[CameraMode, ...] = get_args(CameraMode)


@dataclass(frozen=True)
class Placement:
    """How one pair and its picture come before ObMan's camera (in OpenCV axes)."""

    mode: CameraMode
    homography: F64  # (3, 3) photo pixels -> ObMan pixels
    rotation: F64  # (3, 3) and
    transl: F64  # (3,) metres: X_obman = rotation @ X_photo + transl
    residual_px: dict[str, float]  # ObMan pixels between picture and 3D: hand_median, hand_max, object_median, ...
    fov_deg: float  # what the pair subtends about its centre, the wider of both axes

    @property
    def wider_than_obman(self) -> bool:
        """Whether the pair does not fit into ObMan's field of view as it was photographed."""
        return self.fov_deg > FOV_DEG

    def points(self, points: NDArray[np.floating]) -> F64:
        """(N, 3) metres, photo camera -> ObMan's camera in OpenCV axes."""
        return np.asarray(points, dtype=np.float64) @ self.rotation.T + self.transl

    def picture(self, image: U8) -> U8:
        """The (H, W, C) or (H, W) photo as ObMan's camera sees it, (256, 256, ...); black beyond its border."""
        return self.pictures(image)[0]

    def pictures(self, *images: U8) -> list[U8]:
        """Several of one size."""
        resampling = _resampling(self.homography, *images[0].shape[:2])
        return [resampling(image) for image in images]


def put_before_camera(hand: F64, obj: F64, camera: Camera, mode: CameraMode) -> Placement:
    """Bring a pair before ObMan's camera. hand (N, 3) and obj (M, 3): vertices, metres, photo camera.

    Raises UnsuitableRecord when part of the pair is not in front of the photo's camera, or there is no object.
    """
    if not len(obj):
        raise UnsuitableRecord("the object's mesh is empty")
    both = np.concatenate([hand, obj])
    if not np.isfinite(both).all() or both[:, 2].min() <= 1e-3:
        raise UnsuitableRecord("part of the pair lies behind the camera or is not finite")
    turn, fov = _centre(both)
    turn = _rounded(turn)
    if mode == "exact":
        homography, rotation, transl = K_OBMAN @ turn @ np.linalg.inv(camera.K), turn, cast(F64, np.zeros(3))
    else:
        homography = _crop(project(both, camera.K), camera)
        rotation, at = _fit(hand, obj, camera, homography, turn)
        rotation = _rounded(rotation)
        transl = np.round(at - rotation @ both.mean(0), DECIMALS)
    residual: dict[str, float] = {}
    for name, points in (("hand", hand), ("object", obj)):
        target = _apply(homography, project(points, camera.K))
        error = np.linalg.norm(project(points @ rotation.T + transl, K_OBMAN) - target, axis=1)
        residual |= {f"{name}_median": round(float(np.median(error)), 4), f"{name}_max": round(float(error.max()), 4)}
    return Placement(mode, homography, rotation, transl, residual, round(fov, 4))


def _centre(points: F64) -> tuple[F64, float]:
    """The smallest rotation that brings the pair's view to the optical axis, and the angle it then subtends."""
    rotation: F64 = np.eye(3)
    for _ in range(4):  # the box moves a little as perspective turns; the second step is already below a pixel
        turned = points @ rotation.T
        plane = turned[:, :2] / turned[:, 2:]
        middle = (plane.min(0) + plane.max(0)) / 2
        rotation = _shortest_arc(np.append(middle, 1.0)) @ rotation
    turned = points @ rotation.T
    if turned[:, 2].min() <= 1e-3:
        raise UnsuitableRecord("the pair surrounds the camera")
    half = np.abs(turned[:, :2] / turned[:, 2:]).max()
    return rotation, 2 * math.degrees(math.atan(half))


def _shortest_arc(ray: F64) -> F64:
    """(3, 3) rotation that takes the ray to +z without rolling."""
    ray = ray / np.linalg.norm(ray)
    axis = np.cross(ray, [0.0, 0.0, 1.0])
    sine = float(np.linalg.norm(axis))
    angle = math.atan2(sine, ray[2])
    return np.asarray(Rotation.from_rotvec(axis * (angle / max(sine, 1e-300))).as_matrix())


def _rounded(rotation: F64) -> F64:
    """The rotation without its last digits, which differ with the linear algebra library and its threads."""
    rotvec = Rotation.from_matrix(rotation).as_rotvec()
    return np.asarray(Rotation.from_rotvec(np.round(rotvec, DECIMALS)).as_matrix())


def _crop(pixels: F64, camera: Camera) -> F64:
    """(3, 3) photo pixels -> ObMan pixels: a square about the pair, kept inside the photo where it fits.

    Its side is as near as the margins allow to the one that makes the crop's focal length ObMan's, because then
    perspective fits without bending.
    """
    low, high = pixels.min(0), pixels.max(0)
    extent = float((high - low).max())
    least, most = (margin * extent for margin in CROP_MARGINS)
    same_focal = SIZE * camera.focal / K_OBMAN[0, 0]
    side = max(least, min(same_focal, most, camera.width, camera.height))
    corner = (low + high - side) / 2
    room = np.array([camera.width, camera.height]) - side
    corner = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), corner)
    spare = (least - extent) / 2
    corner = np.clip(corner, high + spare - side, low - spare)  # but a pair that leaves the photo stays in the crop
    scale = SIZE / side
    return np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]], [0, 0, 1]])


def _fit(hand: F64, obj: F64, camera: Camera, homography: F64, turn: F64) -> tuple[F64, F64]:
    """PnP: the rotation, and where it takes the pair's mean, for which ObMan's K projects the pair closest to the crop.

    Gauss-Newton; hand and object weigh the same.
    """
    centre = np.concatenate([hand, obj]).mean(0)
    hand, obj = hand[:: 1 + len(hand) // FITTED], obj[:: 1 + len(obj) // FITTED]
    points = np.concatenate([hand, obj])
    target = _apply(homography, project(points, camera.K))
    weight = np.repeat([1 / math.sqrt(len(hand)), 1 / math.sqrt(len(obj))], [len(hand), len(obj)])
    gaze = rays(target.mean(0), K_OBMAN)  # where the crop shows the pair
    rotation = _shortest_arc(gaze).T @ turn
    at = gaze * float(np.linalg.norm(centre)) * K_OBMAN[0, 0] / (homography[0, 0] * camera.focal)
    for _ in range(GAUSS_NEWTON_STEPS):
        about = (points - centre) @ rotation.T
        moved = about + at
        if moved[:, 2].min() <= 1e-3:
            raise UnsuitableRecord("the pair is too close to the camera to be refitted under ObMan's")
        error = (project(moved, K_OBMAN) - target) * weight[:, None]
        jacobian = _jacobian(about, moved, weight)
        step = -np.linalg.solve(jacobian.T @ jacobian, jacobian.T @ error.T.ravel())
        rotation = Rotation.from_rotvec(step[:3]).as_matrix() @ rotation
        at = at + step[3:]
        if np.abs(step).max() < ENOUGH:
            break
    return rotation, at


def _jacobian(about: F64, moved: F64, weight: F64) -> F64:
    """(2 N, 6) derivative of the weighted pixels, all u before all v, by a turn about the centre (rad), a shift (m)."""
    x, y, z = moved.T
    ax, ay, az = about.T
    across = K_OBMAN[0, 0] * weight / z  # of u by x, of v by y
    along_u, along_v = -across * x / z, -across * y / z  # of u and v by z
    none = np.zeros_like(z)
    by_u = (along_u * ay, across * az - along_u * ax, -across * ay, across, none, along_u)
    by_v = (along_v * ay - across * az, -along_v * ax, across * ax, none, across, along_v)
    return np.concatenate([np.stack(by_u, 1), np.stack(by_v, 1)])


def _apply(homography: F64, pixels: F64) -> F64:
    mapped = np.concatenate([pixels, np.ones((len(pixels), 1))], 1) @ homography.T
    return np.asarray(mapped[:, :2] / mapped[:, 2:])


@dataclass(frozen=True)
class _Resampling:
    """Pictures of one size to ObMan's, without aliasing."""

    sigma: float  # pixels, of the blur before; 0: none
    part: tuple[slice, slice]  # of the picture, that is seen
    matrix: F64  # (3, 3) of cv2, from that part

    def __call__(self, image: U8) -> U8:
        if self.sigma:
            image = cast(U8, cv2.GaussianBlur(image[self.part], (0, 0), self.sigma))
        if np.array_equal(self.matrix[2], [0, 0, 1]):  # the same picture in half the time
            return np.asarray(cv2.warpAffine(image, self.matrix[:2], (SIZE, SIZE), flags=cv2.INTER_LINEAR), np.uint8)
        return np.asarray(cv2.warpPerspective(image, self.matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR), np.uint8)


def _resampling(homography: F64, height: int, width: int) -> _Resampling:
    """cv2 counts pixel centres from 0, we from 0.5."""
    centre = np.linalg.inv(homography) @ [SIZE / 2, SIZE / 2, 1]
    x, y = centre[:2] / centre[2]
    mapped = _apply(homography, np.array([[x, y], [x + 1, y], [x, y + 1]]))
    scale = math.sqrt(abs(np.linalg.det(mapped[1:] - mapped[0])))
    sigma, part = 0.0, (slice(0, height), slice(0, width))
    if scale < 1:
        sigma = 0.5 * math.sqrt(1 / scale**2 - 1) + 1e-3
        part = _seen(height, width, homography, margin=math.ceil(4 * sigma) + 2)
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    cut = np.array([[1, 0, part[1].start], [0, 1, part[0].start], [0, 0, 1]])
    return _Resampling(sigma, part, np.linalg.inv(shift) @ homography @ cut @ shift)


def _seen(height: int, width: int, homography: F64, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the picture that ObMan's camera sees, with a margin."""
    square = np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]], dtype=np.float64)
    back = np.concatenate([square, np.ones((4, 1))], 1) @ np.linalg.inv(homography).T
    if back[:, 2].min() <= 0:  # part of the square looks behind the photo's camera
        return slice(0, height), slice(0, width)
    corners = back[:, :2] / back[:, 2:]
    x0, y0 = np.clip(np.floor(corners.min(0)) - margin, 0, [width - 1, height - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(0)) + margin, [x0 + 1, y0 + 1], [width, height]).astype(int)
    return slice(int(y0), int(y1)), slice(int(x0), int(x1))
