"""Signed distances to a hand and an object at points about them, as AlignSDF's PreprocessMesh leaves them.

Both surfaces are brought into the unit ball, X_norm = (X + offset) * scale, X in metres. Of the points about a surface
47 in 50 are points of the surface plus noise, half with variance 0.005 and half with 0.0005; the others are uniform in
the cube [-1, 1]^3. What differs from the original: distances are exact, to the triangles and not to a cloud of rendered
points, so no point is thrown away for a doubtful sign; and the seed is the pair's own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exports.base import UnsuitableRecord
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand_model.hand import Hand
from pipeline.types import F64, I64

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

MAX_POINTS = 20_000  # about one surface; the readers' lmdb has room for so many and fails on more
MIN_POINTS = 100
NEAR = 47 / 50  # share of the points that are near the surface
VARIANCES = (0.005, 0.0005)  # of their noise, normalised units
BUFFER = 1.03  # the unit ball over the pair
CELLS = 32  # per axis: points are asked for in the order of these, which is a third faster
FINGER_OF_PART = np.array(
    [0, 2, 2, 2, 3, 3, 3, 5, 5, 5, 4, 4, 4, 1, 1, 1]
)  # MANO's joints -> 0 palm, 1 thumb .. 5 little


@dataclass(frozen=True)
class Surface:
    """A closed mesh in metres, OpenCV camera, with four labels per face."""

    vertices: F64  # (V, 3)
    faces: I64  # (F, 3)
    labels: I32  # (F, 4)


@dataclass(frozen=True)
class Normalisation:
    """X_norm = (X + offset) * scale; distances are multiplied by scale."""

    scale: F32  # (1,) per metre
    offset: F32  # (3,) metres

    @classmethod
    def of(cls, points: F64) -> Normalisation:
        """The one that brings all points (N, 3), metres, into the unit ball about the middle of their box."""
        middle = ((points.min(0) + points.max(0)) / 2).astype(np.float32)
        radius = np.linalg.norm(points - middle, axis=1).max() * BUFFER
        return cls(np.array([1 / radius], dtype=np.float32), -middle)

    def __call__(self, points: F64) -> F64:
        """(N, 3) metres -> normalised."""
        return np.asarray((points + self.offset.astype(np.float64)) * float(self.scale[0]))


def hand_surface(vertices: F64, model: Hand) -> Surface:
    """The hand closed at the wrist. Labels: finger (0 palm, 1 thumb .. 5 little), joint in MANO's order (0 .. 15),
    contact zone (0 none, 1 - 5 pads thumb .. little, 6 palm), 1 on the cap of the wrist."""

    def majority(per_vertex: NDArray[np.int8]) -> NDArray[np.int8]:
        return np.asarray(np.sort(per_vertex[model.faces], axis=1)[:, 1])

    part = majority(model.part)
    cap = np.arange(len(model.faces)) >= len(model.faces_open)
    labels = np.stack([FINGER_OF_PART[part], part, majority(model.zone), cap], 1)
    return Surface(vertices, model.faces, labels.astype(np.int32))


def object_surface(vertices: F64, faces: I64) -> Surface:
    """An object; it has no parts, so that all labels are 0."""
    return Surface(vertices, faces, np.zeros((len(faces), 4), dtype=np.int32))


def signed_distances(
    hand: Surface, obj: Surface, norm: Normalisation, count: int, pair_id: str
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """The arrays of sdf_hand and of sdf_obj, `count` points in each.

    `pos` (P, 4) and `neg` (N, 4) float32: a normalised point and its distance to the surface, > 0 outside and <= 0
    inside; `*_other` (., 1) float32 the signed distance to the other surface; `lab_*` and `lab_*_other` (., 4) int32
    the labels of the closest face of either. Raises UnsuitableRecord when no point falls on one side.
    """
    surfaces = {name: Surface(norm(s.vertices), s.faces, s.labels) for name, s in (("hand", hand), ("object", obj))}
    fields = {name: SignedDistance(surface.vertices, surface.faces) for name, surface in surfaces.items()}
    arrays = []
    for name, other in (("hand", "object"), ("object", "hand")):
        surface = surfaces[name]
        rng = np.random.default_rng(_seed(pair_id, name, surface))
        points = _points(surface, count, rng)
        distance, labels = _query(fields[name], surface, points)
        to_other, other_labels = _query(fields[other], surfaces[other], points)
        made: dict[str, NDArray] = {}
        for key, side in (("pos", distance > 0), ("neg", distance <= 0)):
            if not side.any():
                where = "outside" if key == "pos" else "inside"
                raise UnsuitableRecord(f"none of {count} points is {where} the {name}: it is too thin for distances")
            made[key] = np.concatenate([points[side], distance[side, None]], 1)
            made[f"{key}_other"] = to_other[side, None]
            made[f"lab_{key}"] = labels[side]
            made[f"lab_{key}_other"] = other_labels[side]
        arrays.append(made)
    return arrays[0], arrays[1]


def _points(surface: Surface, count: int, rng: np.random.Generator) -> F32:
    """(count, 3) normalised points about a surface, in no order."""
    each = int(NEAR * count) // 2
    corners = surface.vertices[surface.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    picked = corners[np.searchsorted(np.cumsum(area) / area.sum(), rng.random(each))]
    u, v = rng.random((2, each, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    on_surface = picked[:, 0] + u * (picked[:, 1] - picked[:, 0]) + v * (picked[:, 2] - picked[:, 0])
    near = [on_surface + rng.normal(size=(each, 3)) * np.sqrt(variance) for variance in VARIANCES]
    points = np.concatenate([*near, rng.uniform(-1, 1, (count - 2 * each, 3))])
    return np.asarray(points[rng.permutation(count)], dtype=np.float32)


def _query(field: SignedDistance, surface: Surface, points: F32) -> tuple[F32, I32]:
    """Signed distances (N,) and the labels (N, 4) of the closest faces."""
    cell = np.clip((points + 1) * (CELLS / 2), 0, CELLS - 1).astype(np.int64)
    order = np.argsort((cell[:, 0] * CELLS + cell[:, 1]) * CELLS + cell[:, 2], kind="stable")
    distance, face = np.empty(len(points), dtype=np.float32), np.empty(len(points), dtype=np.int64)
    distance[order], face[order], _ = field.closest(points[order].astype(np.float64))
    return distance, surface.labels[face]


def _seed(pair_id: str, name: str, surface: Surface) -> int:
    digest = hashlib.sha256(f"{name}\n{pair_id}".encode("utf-8", "surrogatepass"))
    digest.update(np.ascontiguousarray(surface.vertices, dtype=np.float64).tobytes())
    return int.from_bytes(digest.digest()[:8], "big")
