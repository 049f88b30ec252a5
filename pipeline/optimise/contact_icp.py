"""Contact registration as the paper does it (3.4): contact regions meet along their common rays, then by ICP.

Where the hand hides the object (M_front) its palmar skin meets the object's nearest surface; where the object hides
the hand (M_back) palmar skin meets the farthest surface. Both are found by rays through the same pixels, so the
object's scale about the camera centre is the ratio of their depths; a trimmed ICP then moves the hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.geometry.raster import depth_layers
from pipeline.geometry.registration import translation_icp
from pipeline.hand_model import HandModel
from pipeline.optimise.variables import scale_by_depth
from pipeline.optimise.view import View
from pipeline.types import F64, Mask, ObjectMesh, ObjectPose

MAX_SHIFT = 0.03  # metres: one registration never moves the hand farther than this
MIN_PIXELS = 6  # a contact region below this many pixels of the view says nothing


@dataclass(frozen=True)
class Registration:
    """Object scale about the camera centre and hand translation (3,) metres; rms of the contact points, metres."""

    scale: float
    translation: F64
    rms: float


def register(
    item: ObjectMesh,
    object_pose: ObjectPose,
    verts: torch.Tensor,
    model: HandModel,
    view: View,
    front: Mask,
    back: Mask,
    settings: dict[str, Any],
) -> Registration:
    """Contact registration (paper 3.4): scale from the depth ratios along common rays, then trimmed ICP.

    Skin in front of the object cannot lie behind its surface, so the contact is where the ratio hand / object is
    largest; behind the object, where it is smallest. `contact_quantile` says how far towards that end to go
    (0.5: the median of all pixels, as if everything that overlaps touched).
    """
    pairs = _contact_points(item, object_pose, verts, model, view, front, back)
    if not pairs:
        return Registration(scale_by_depth(object_pose, verts, model), np.zeros(3), 0.0)
    # Regions vote by their pixels: a rim of M_back that comes from a hand a little off must not outvote M_front.
    quantile = settings["contact_quantile"]
    bounds = [np.quantile(h[:, 2] / o[:, 2], quantile if at_front else 1 - quantile) for at_front, o, h in pairs]
    scale = float(np.average(bounds, weights=[len(o) for _, o, _ in pairs]))
    object_points = np.concatenate([o for _, o, _ in pairs])
    hand_points = np.concatenate([h for _, _, h in pairs])
    shift, rms = translation_icp(hand_points, object_points * scale, trim=settings["icp_trim"])
    return Registration(scale, shift * min(1.0, MAX_SHIFT / max(float(np.linalg.norm(shift)), 1e-9)), rms)


def _contact_points(
    item: ObjectMesh,
    object_pose: ObjectPose,
    verts: torch.Tensor,
    model: HandModel,
    view: View,
    front: Mask,
    back: Mask,
) -> list[tuple[bool, F64, F64]]:
    """Per contact region that is large enough: whether the hand is in front, and points (N, 3) on the object at
    scale 1 and on palmar skin, paired by ray: the object's nearest surface and nearest palmar skin in front, the
    farthest of both at the back.
    """
    placed = object_pose.place(item.mesh.vertices)  # the camera setup leaves the scale at 1
    height, width = view.shape
    object_depth, _, _ = depth_layers(placed, item.mesh.faces, view.camera.K, height, width, k=4)
    skin = verts.detach().cpu().double().numpy()
    hand_depth, hand_face, _ = depth_layers(skin, model.faces, view.camera.K, height, width, k=4)
    palmar_face = (model.skin_side[model.faces] == 1).sum(1) >= 2
    palmar = np.where((hand_face >= 0) & palmar_face[hand_face], hand_depth, np.inf)
    pairs = []
    for at_front, region, pick in ((True, front, np.min), (False, back, _farthest)):
        object_z, hand_z = pick(object_depth, -1), pick(palmar, -1)
        ok = region & np.isfinite(object_z) & np.isfinite(hand_z)
        if ok.sum() >= MIN_PIXELS:
            pairs.append((at_front, _lift(ok, object_z, view), _lift(ok, hand_z, view)))
    return pairs


def _farthest(layers: F64, axis: int) -> F64:
    """The last finite layer; inf where there is none."""
    last = np.where(np.isfinite(layers), layers, -np.inf).max(axis)
    return np.where(np.isfinite(last), last, np.inf)


def _lift(where: Mask, depth: F64, view: View) -> F64:
    """Pixels of a mask with their depth -> points (N, 3), metres, camera frame."""
    ys, xs = np.nonzero(where)
    z = depth[ys, xs]
    K = view.camera.K
    return np.stack([(xs + 0.5 - K[0, 2]) / K[0, 0] * z, (ys + 0.5 - K[1, 2]) / K[1, 1] * z, z], 1)
