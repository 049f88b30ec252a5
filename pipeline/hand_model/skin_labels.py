"""What the skin of a hand in the MANO layout is: which bone, which side of it, which contact zone.

Derived from the rest pose (flat hand; right: fingers -x, dorsal +y, thumb +z), the skinning weights and the
fingertips, so it holds for any hand in that layout: of the open hand it gives the labels the open hand comes with.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.types import F64, I64

DISTAL = (15, 3, 6, 12, 9)  # the last joint of thumb .. little
_BASES = (1, 4, 7, 10)  # the first joint of index, middle, little, ring
_THUMB_BASE = 13
PALM = 6  # zones 1 .. 5 are the pads of thumb .. little
_FACING = 0.25  # cosine against the palmar direction from which skin is palmar, or dorsal
_PALM_FACING = 0.3
_PAD_FACING, _PAD_START = 0.05, 0.15  # cosine; share of the last bone
_CAP_ALONG, _CAP_FACING = 0.6, -0.35  # cosines: the round end of a finger counts as pad
_BASE_END, _THENAR_END = 0.30, 0.75  # shares of a finger's and of the thumb's first bone that belong to the palm
_WRIST_MARGIN = 0.12  # of the palm's length


class SkinLabels(NamedTuple):
    """One value per vertex."""

    part: NDArray[np.int8]  # joint it moves with most, MANO order
    side: NDArray[np.int8]  # 1 palmar, -1 dorsal, 0 lateral
    zone: NDArray[np.int8]  # 0 none, 1-5 finger pads thumb .. little, 6 palm


def label_skin(verts: F64, faces: I64, weights: F64, joints: F64, tip_ids: I64) -> SkinLabels:
    """Labels of a RIGHT hand at rest (mirror a left one: x negated, faces turned).

    verts (V, 3) metres, faces (F, 3), weights (V, 16), joints (16, 3) metres, tip_ids (5,) thumb .. little.
    """
    part = weights.argmax(1)
    along, length, palmar = _bones(verts, joints, tip_ids)
    normals = _normals(verts, faces)
    facing = (normals * palmar[part]).sum(1)
    outward = (normals * along[part]).sum(1)
    share = ((verts - joints[part]) * along[part]).sum(1) / length[part]

    zone = np.zeros(len(verts), dtype=np.int8)
    for finger, joint in enumerate(DISTAL, 1):
        skin = (facing > _PAD_FACING) | ((outward > _CAP_ALONG) & (facing > _CAP_FACING))
        zone[(part == joint) & (share > _PAD_START) & skin] = finger
    wrist, knuckles = joints[0, 0], joints[list(_BASES), 0].max()
    off_wrist = (facing > _PALM_FACING) & (verts[:, 0] < wrist - _WRIST_MARGIN * (wrist - knuckles))
    zone[(part == 0) & off_wrist] = PALM
    zone[np.isin(part, _BASES) & (share < _BASE_END) & (facing > _PALM_FACING)] = PALM
    zone[(part == _THUMB_BASE) & (share < _THENAR_END) & off_wrist] = PALM
    side = np.where(facing > _FACING, 1, np.where(facing < -_FACING, -1, 0))
    return SkinLabels(part.astype(np.int8), side.astype(np.int8), zone)


def _bones(verts: F64, joints: F64, tip_ids: I64) -> tuple[F64, F64, F64]:
    """Of the bone at each joint: its direction (16, 3), its length (16,), the way its palmar skin faces (16, 3)."""
    along, length = np.tile([-1.0, 0.0, 0.0], (16, 1)), np.ones(16)
    palmar = np.tile([0.0, -1.0, 0.0], (16, 1))
    for distal, tip in zip(DISTAL, tip_ids, strict=True):
        bones = np.diff([*joints[distal - 2 : distal + 1], verts[tip]], axis=0)
        length[distal - 2 : distal + 1] = np.linalg.norm(bones, axis=1)
        along[distal - 2 : distal + 1] = bones / np.linalg.norm(bones, axis=1, keepdims=True)
    # The thumb's pad looks at the finger bases, seen from a little below them; its base also looks down.
    target = joints[[1, 4, 10]].mean(0) - joints[14] + np.array([0, -0.02, 0])
    for joint in (13, 14, 15):
        palmar[joint] = _unit(target - along[joint] * (target @ along[joint]))
    palmar[_THUMB_BASE] = _unit(0.35 * palmar[_THUMB_BASE] + [0, -0.65, 0])
    return along, length, palmar


def _unit(vector: F64) -> F64:
    return np.asarray(vector / np.linalg.norm(vector))


def _normals(verts: F64, faces: I64) -> F64:
    """(V, 3) unit vertex normals, weighted by area."""
    corners = verts[faces]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(verts)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], areas)
    return np.asarray(normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12))
