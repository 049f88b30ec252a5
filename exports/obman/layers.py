"""ObMan's two rendered pictures: body-part segmentation and depth, each with three channels (cv2's BGR order).

B  hand and object together, the nearer in front     G  the hand alone     R  the object alone
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from exports.base import UnsuitableRecord
from exports.obman.camera import K_OBMAN, SIZE
from pipeline.geometry.layers import depth_layers
from pipeline.hand_model.hand import Hand
from pipeline.types import F64, I64, U8

OBJECT_ID = 100
HAND_ID = {"left": 21, "right": 22}
FINGERS_ID = {"left": 23, "right": 24}
CHANNELS = ("", "hand_", "obj_")  # prefixes of the meta's depth keys, in channel order B, G, R


@dataclass(frozen=True)
class Layers:
    """What ObMan's camera sees of one pair."""

    segm: U8  # (256, 256, 3) BGR
    depth: F64  # (256, 256, 3) metres along z, BGR; inf on the background
    visible_ratio: float  # of the object's pixels, the share that the hand does not hide


def render(hand: F64, model: Hand, obj: F64, obj_faces: NDArray[np.integer]) -> Layers:
    """Render a pair. hand (778, 3) and obj (V, 3): metres, ObMan's camera in OpenCV axes.

    Raises UnsuitableRecord when hand or object cannot be seen: the loaders need both.
    """
    hand_hit = depth_layers(hand, model.faces, K_OBMAN, SIZE, SIZE, k=1)
    obj_hit = depth_layers(obj, obj_faces, K_OBMAN, SIZE, SIZE, k=1)
    hand_z, obj_z = hand_hit.depth[..., 0], obj_hit.depth[..., 0]
    depth = cv2.merge([np.minimum(hand_z, obj_z), hand_z, obj_z])
    for name, z in (("hand", hand_z), ("object", obj_z)):
        if not np.isfinite(z).any():
            raise UnsuitableRecord(f"the {name} is outside ObMan's picture")

    fingers = _finger_faces(model)[hand_hit.face[..., 0]]
    hand_part = np.where(fingers, np.uint8(FINGERS_ID[model.side]), np.uint8(HAND_ID[model.side]))
    hand_part = np.where(np.isfinite(hand_z), hand_part, np.uint8(0))
    obj_part = np.where(np.isfinite(obj_z), np.uint8(OBJECT_ID), np.uint8(0))
    in_front = hand_z < obj_z
    segm = cv2.merge([np.where(in_front, hand_part, obj_part), hand_part, obj_part])
    visible = (segm[..., 0] == OBJECT_ID).sum() / (obj_part > 0).sum()
    return Layers(np.asarray(segm, np.uint8), np.asarray(depth), float(visible))


def encode_depth(depth: F64) -> tuple[U8, dict[str, float]]:
    """(256, 256, 3) metres -> ObMan's depth PNG and the meta keys `<channel>depth_min` / `_max` that decode it.

    In ObMan's data the names are swapped: `_min` is the FAR plane and `_max` the NEAR one. A channel runs from 1
    (near) to 255 (far), 0 is background.
    """
    encoded: list[U8] = []
    planes: dict[str, float] = {}
    for channel, prefix in enumerate(CHANNELS):
        z = depth[..., channel]
        seen = np.isfinite(z)
        surface = z[seen]
        near, far = float(surface.min()), float(surface.max())
        step = (far - near) / 254
        steps = np.zeros(z.shape, dtype=np.uint8)
        steps[seen] = np.rint((surface - near) / step + 1) if step else 255
        encoded.append(steps)
        planes |= {f"{prefix}depth_min": far, f"{prefix}depth_max": near}
    return np.asarray(cv2.merge(encoded), dtype=np.uint8), planes


def decode_depth(encoded: U8, far: float, near: float) -> F64:
    """One channel of a depth PNG -> metres, inf on the background."""
    z = (encoded.astype(np.float64) - 1) / 254 * (far - near) + near
    return np.where(encoded == 0, np.inf, z)


def _finger_faces(model: Hand) -> NDArray[np.bool_]:
    """(F,) faces with most corners beyond the palm (joint 0 of MANO's order)."""
    faces: I64 = model.faces
    return np.asarray((model.part[faces] > 0).sum(1) >= 2)
