"""Stage B (paper 3.4): the hand's 6-DoF pose and the object's scale, articulation fixed.

(a) The visible part of the rendered hand must match the hand mask; (b) at given iterations the contacts place
hand and object in depth. Where the hand hides the object (M_front) its palmar skin meets the object's nearest
surface; where the object hides the hand (M_back) palmar skin meets the farthest surface. Both are found by
rays through the same pixels, so scaling the object about the camera centre moves its points along these rays
and changes no picture: the scale is solved from the depth ratios, then a trimmed ICP moves the hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix, matrix_to_axis_angle

from pipeline.geometry.camera import project
from pipeline.geometry.raster import Topology, depth_layers, silhouette
from pipeline.geometry.registration import translation_icp
from pipeline.hand_model import HandModel
from pipeline.optimise.losses import reprojection, soft_iou, visible_hand
from pipeline.optimise.view import View
from pipeline.types import F64, HandPose, Mask, ObjectMesh, ObjectPose

MAX_SHIFT = 0.03  # metres: one registration never moves the hand farther than this
MIN_PIXELS = 6  # a contact region below this many pixels of the view says nothing


@dataclass(frozen=True)
class Aligned:
    """The answer of the stage."""

    hand: HandPose
    object_pose: ObjectPose
    front: Mask  # (h, w) of the view: contact regions used last
    back: Mask
    figures: dict[str, float]


@dataclass(frozen=True)
class ContactHints:
    """A reviewer's contact masks in view pixels; None: derive them."""

    front: Mask | None = None
    back: Mask | None = None


class HandVariables:
    """global_orient and transl as well-scaled variables: a turn in the camera frame, a shift in view rays."""

    def __init__(self, model: HandModel, start: HandPose) -> None:
        self.model = model
        self.rotation0 = axis_angle_to_matrix(torch.as_tensor(start.global_orient, dtype=torch.float32))
        self.transl0 = torch.as_tensor(start.transl, dtype=torch.float32)
        self.betas = torch.as_tensor(start.betas, dtype=torch.float32)[None]
        self.hand_pose = torch.as_tensor(start.hand_pose, dtype=torch.float32).clone().requires_grad_()
        self.turn = torch.zeros(3, requires_grad=True)
        self.shift = torch.zeros(3, requires_grad=True)  # (x / depth, y / depth, log depth)

    def orient(self) -> torch.Tensor:
        return matrix_to_axis_angle(axis_angle_to_matrix(self.turn) @ self.rotation0)

    def transl(self) -> torch.Tensor:
        lateral = torch.cat([self.shift[:2] * self.transl0[2], self.shift.new_zeros(1)])
        return (self.transl0 + lateral) * torch.exp(self.shift[2])

    def move(self, offset: F64) -> None:
        """Move the hand by metres, in place: the optimiser keeps its tensors and its moments."""
        with torch.no_grad():
            wanted = self.transl() + torch.as_tensor(offset, dtype=torch.float32)
            self.shift[2] = torch.log(wanted[2] / self.transl0[2])
            self.shift[:2] = (wanted[:2] / torch.exp(self.shift[2]) - self.transl0[:2]) / self.transl0[2]

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Vertices (778, 3) and joints (21, 3), metres, camera frame."""
        verts, joints = self.model(self.orient()[None], self.hand_pose[None], self.betas, self.transl()[None])
        return verts[0], joints[0]

    def pose(self) -> HandPose:
        numbers = (self.orient(), self.hand_pose, self.betas[0], self.transl())
        orient, hand_pose, betas, transl = (x.detach().double().numpy().copy() for x in numbers)
        return HandPose(self.model.side, orient, hand_pose, betas, transl)


def contact_alignment(
    item: ObjectMesh,
    object_pose: ObjectPose,
    start: HandPose,
    model: HandModel,
    keypoints: F64,
    view: View,
    hints: ContactHints,
    settings: dict[str, Any],
) -> Aligned:
    """Align hand and object. `keypoints` (21, 2) photo pixels hold the hand where the estimator saw it."""
    hand = HandVariables(model, start)
    hand.hand_pose.requires_grad_(False)
    topology = Topology(torch.as_tensor(model.faces))
    targets = view.pixels(keypoints)
    hand_px = float((targets.max(0).values - targets.min(0).values).max())
    adam = torch.optim.Adam([hand.turn, hand.shift], lr=settings["lr_alignment"])
    registration_at = set(settings["registration_at"])
    visible_target = view.hand * (1 - view.cover)
    figures: dict[str, float] = {}
    front: Mask
    back: Mask
    scale, front, back = object_pose.scale, np.zeros(view.shape, bool), np.zeros(view.shape, bool)
    for step in range(settings["alignment_steps"] + 1):
        verts, joints = hand.forward()
        if step in registration_at or step == settings["alignment_steps"]:
            front, back = contact_regions(verts, topology, view, hints)
            moved = register(item, object_pose, verts, model, view, front, back, settings)
            scale = moved.scale
            hand.move(moved.translation)
            figures["registration_rms_mm"] = moved.rms * 1000
            verts, joints = hand.forward()
        mask = silhouette(project(verts, view.K), topology, *view.shape)
        overlap = 1 - soft_iou(visible_hand(mask, view.cover), visible_target)
        figures.setdefault("initial", overlap.item())
        figures["final"] = overlap.item()
        if step == settings["alignment_steps"]:
            break
        loss = overlap + settings["weight_keypoints"] * reprojection(project(joints, view.K), targets, hand_px)
        adam.zero_grad()
        loss.backward()
        adam.step()
    figures["front_px"], figures["back_px"] = float(front.sum()), float(back.sum())
    figures["scale"] = scale
    placed = ObjectPose(object_pose.rotation, object_pose.transl * scale, scale)
    return Aligned(hand.pose(), placed, front, back, figures)


def contact_regions(verts: torch.Tensor, topology: Topology, view: View, hints: ContactHints) -> tuple[Mask, Mask]:
    """M_front = amodal minus visible object where the hand is; M_back = full rendered hand minus visible hand."""
    with torch.no_grad():
        full = silhouette(project(verts, view.K), topology, *view.shape) >= 0.5
    visible, amodal, hand = view.object >= 0.5, view.amodal >= 0.5, view.hand >= 0.5
    front = (amodal & ~visible & hand).numpy() if hints.front is None else hints.front
    back = (full & ~hand & visible).numpy() if hints.back is None else hints.back
    return front, back


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
        return Registration(_scale_by_depth(object_pose, verts, model), np.zeros(3), 0.0)
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
    skin = verts.detach().double().numpy()
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


def _scale_by_depth(object_pose: ObjectPose, verts: torch.Tensor, model: HandModel) -> float:
    """No overlap to learn from: put the object's centre at the depth of the finger pads and palm."""
    zone = verts.detach().double().numpy()[model.zone > 0]
    return float(np.median(zone[:, 2]) / object_pose.transl[2])
