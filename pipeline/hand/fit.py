"""Fits the hand model to 21 keypoints, the detector's 3D shape and the hand mask, in the photo's camera.

    for each side, and for the 3D shape as seen and turned inside out:
        start: mean grasp, turned onto the 3D shape (Kabsch), placed in depth by the keypoints (linear)
        Levenberg-Marquardt: reprojection + 3D shape + grasp prior + joint limits + shape prior
    the cheapest explanation wins and is carried on; the last steps also ask the mesh to cover the hand mask

One picture cannot tell a right hand from a left one turned inside out in depth: their outlines are the same.
What decides is which of the two can bend like that, and which side the detector believed.
Depth is metric because hands differ little in size: betas are held near their mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pipeline.errors import PipelineError
from pipeline.geometry.camera import project, rays
from pipeline.hand.anatomy import beyond_limits, joint_limits
from pipeline.hand.consensus import extent
from pipeline.hand.least_squares import minimise
from pipeline.hand.registration import kabsch, orthographic_rotation, place_in_depth, rotation_to
from pipeline.hand_model import HandModel, load_hand
from pipeline.hand_model.mano_file import installed
from pipeline.hand_model.model import MANO, OPEN_HAND
from pipeline.types import F64, Camera, HandDetection, HandEstimate, HandPose, Mask, Photo, Side

SIDES: tuple[Side, ...] = ("right", "left")
# What one unit of cost is worth: the error each kind of evidence usually has.
SIGMA_2D = 0.010  # of the hand's extent in the picture
SIGMA_2D_PERSON = 0.006  # the same for keypoints a person placed
SIGMA_3D = (0.006, 0.006, 0.009)  # metres; the network knows depth less well
SIGMA_LIMIT = 0.08  # radians beyond a joint's range
SIGMA_SIZE = 0.25  # log of the 3D shape's scale against the model's
SIGMA_MASK = 0.03  # of the hand's extent
OUTLIER = 3.0  # sigmas from which an error counts linearly
WEIGHT_GRASP = 0.25  # of the squared whitened grasp coefficients
WEIGHT_BETAS = 4.0
WEIGHT_MASK = 1500.0
COST_INSIDE_OUT = 5.0  # of taking the 3D shape's depths the wrong way round
COST_DISBELIEF = 60.0  # per unit of log-probability against the detector's side
MASK_POINTS = 300
VERTEX_SPACING = 0.025  # of the hand's extent: a mask pixel this near to a projected vertex is covered
INSIDE_OUT = np.array([1.0, 1.0, -1.0])
# The unknowns, one vector: rotation, whitened coefficients of the model's grasp components, shape, metres, and
# the log of the 3D evidence's size against the model's.
ORIENT, GRASP, BETAS, TRANSL, LOG_SIZE = slice(0, 3), slice(3, 48), slice(48, 58), slice(58, 61), slice(61, 62)
UNKNOWNS = 62


def _landmarks() -> torch.Tensor:
    """(21, 21) where the landmarks of the detector's 3D shape lie among the model's joints.

    Its knuckles lie on the proximal phalanx, its wrist inside the palm and its fingertips before the tip; the
    shares are those that make bone lengths agree on 18 well-seen hands. (Its 2D keypoints are nearer the joints.)
    """
    mix = torch.eye(21)
    for landmark, towards, share in (
        (0, 9, 0.10),
        (4, 3, 0.20),
        (5, 6, 0.36),
        (6, 7, 0.10),
        (8, 7, 0.10),
        (9, 10, 0.32),
        (10, 11, 0.13),
        (12, 11, 0.10),
        (13, 14, 0.36),
        (14, 15, 0.15),
        (16, 15, 0.17),
        (17, 18, 0.33),
        (18, 19, 0.09),
        (20, 19, 0.26),
    ):
        mix[landmark, landmark] -= share
        mix[landmark, towards] += share
    return mix


LANDMARKS = _landmarks()


@dataclass(frozen=True)
class Evidence:
    """What one hand is fitted to."""

    keypoints: torch.Tensor  # (21, 2) pixels
    shape: torch.Tensor | None  # (21, 3) metres, camera orientation, centred; None: unknown
    K: torch.Tensor  # (3, 3)
    extent: float  # pixels
    sigma_px: float
    mask_points: torch.Tensor | None = None  # (M, 2) pixels of the visible hand


@dataclass(frozen=True)
class Solution:
    """One explanation of the evidence and what it costs."""

    model: HandModel
    evidence: Evidence
    unknowns: torch.Tensor  # (62,)
    penalty: float  # part of the cost that the unknowns do not change
    cost: float


class LandmarkFitter:
    """A MANO-layout hand by robust least squares: the open hand, or the user's MANO (setting `hand_model`)."""

    name = "landmark-fit"
    version = "1"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._hand_model = str(settings.get("hand_model", OPEN_HAND))

    @property
    def weights_digest(self) -> str:
        """Which MANO files they are, '' for the open hand."""
        return " ".join(hand.source_sha256 for hand in installed()) if self._hand_model == MANO else ""

    def fit(self, photo: Photo, detection: HandDetection, hand_mask: Mask, camera: Camera) -> HandEstimate:
        """The hand in the camera frame. Raises PipelineError if the keypoints make no hand."""
        if not np.isfinite(detection.keypoints).all() or extent(detection.keypoints) < 1:
            raise PipelineError(f"{photo.name}: the hand's keypoints are not 21 finite, distinct pixels")
        return fit_keypoints(
            detection.keypoints,
            camera,
            world=detection.world,
            side=detection.side,
            right_score=detection.right_score,
            hand_mask=hand_mask,
            presence=detection.presence,
            placed_by_person=detection.source == "keypoints",
            hand_model=self._hand_model,
        )


def fit_keypoints(
    keypoints: F64,
    camera: Camera,
    world: F64 | None = None,
    side: Side | None = None,
    right_score: float = 0.5,
    hand_mask: Mask | None = None,
    presence: float = 1.0,
    placed_by_person: bool = False,
    hand_model: str = OPEN_HAND,
) -> HandEstimate:
    """Fit a hand to (21, 2) keypoints in pixels, OpenPose order; all other evidence is optional.

    world: (21, 3) metres in the orientation of a camera that looks at the hand, up to translation (all zero:
    unknown). side: None tries both. The estimate is metric, in the camera frame.
    """
    evidence = _evidence(keypoints, camera, hand_mask, placed_by_person)
    shapes = _shapes(keypoints, camera, world)
    starts = [
        start
        for candidate in SIDES
        if side in (None, candidate)
        for start in _starts(
            load_hand(candidate, hand_model), evidence, shapes, _disbelief(candidate, side, right_score)
        )
    ]
    best = min((_carry_on(start, steps=10) for start in starts), key=lambda solution: solution.cost)
    best = _carry_on(best, steps=20)
    if evidence.mask_points is not None:
        best = _carry_on(best, steps=6, with_mask=True)
    return _estimate(best, keypoints, presence)


def _disbelief(candidate: Side, said: Side | None, right_score: float) -> float:
    """Cost of a side the detector did not believe in; nothing once a person has said it."""
    if said is not None:
        return 0.0
    belief = right_score if candidate == "right" else 1 - right_score
    return -COST_DISBELIEF * math.log(min(max(belief, 0.02), 0.98))


def _evidence(keypoints: F64, camera: Camera, hand_mask: Mask | None, placed_by_person: bool) -> Evidence:
    size = extent(keypoints)
    return Evidence(
        keypoints=_tensor(keypoints),
        shape=None,
        K=_tensor(camera.K),
        extent=size,
        sigma_px=size * (SIGMA_2D_PERSON if placed_by_person else SIGMA_2D),
        mask_points=None if hand_mask is None else _sample(hand_mask, keypoints),
    )


def _shapes(keypoints: F64, camera: Camera, world: F64 | None) -> list[F64]:
    """The 3D shape as seen and inside out, each (21, 3) metres in camera orientation, centred; [] if unknown."""
    if world is None or float(np.ptp(world, axis=0).max()) < 1e-3:
        return []
    to_camera = rotation_to(rays(keypoints.mean(0), camera.K))  # the network looked at the hand, not ahead
    centred = world - world.mean(0)
    return [centred @ to_camera.T, (centred * INSIDE_OUT) @ to_camera.T]


def _sample(mask: Mask, keypoints: F64) -> torch.Tensor | None:
    """(M, 2) pixels of the mask in and near the keypoints' box, evenly picked."""
    margin = 0.1 * extent(keypoints)
    low, high = keypoints.min(0) - margin, keypoints.max(0) + margin
    pixels = np.argwhere(mask)[:, ::-1] + 0.5
    pixels = pixels[((pixels > low) & (pixels < high)).all(1)]
    if len(pixels) < MASK_POINTS:
        return None
    return _tensor(pixels[np.linspace(0, len(pixels) - 1, MASK_POINTS).round().astype(int)])


def _carry_on(solution: Solution, steps: int, with_mask: bool = False) -> Solution:
    def residuals(unknowns: torch.Tensor) -> torch.Tensor:
        return _residuals(solution.model, solution.evidence, unknowns, with_mask)

    unknowns, cost = minimise(residuals, solution.unknowns, steps)
    return replace(solution, unknowns=unknowns, cost=cost + solution.penalty)


def _starts(model: HandModel, evidence: Evidence, shapes: list[F64], disbelief: float) -> list[Solution]:
    """Mean grasps turned like the 3D shape, as seen and inside out; like the keypoints where it is unknown."""
    zero = np.zeros(3)
    joints = model.posed(HandPose(model.side, zero, model.mean_pose, np.zeros(10), zero))[1]
    keypoints, K = evidence.keypoints.double().numpy(), evidence.K.double().numpy()
    targets = shapes
    if not shapes:
        seen = joints @ orthographic_rotation(joints, keypoints).T
        targets = [seen, seen * INSIDE_OUT]
    starts = []
    for i, target in enumerate(targets):
        rotation = kabsch(joints, target)
        unknowns = torch.zeros(UNKNOWNS)
        unknowns[ORIENT] = _tensor(Rotation.from_matrix(rotation).as_rotvec())
        unknowns[TRANSL] = _tensor(place_in_depth(joints @ rotation.T, keypoints, K))
        own = replace(evidence, shape=_tensor(target)) if shapes else evidence
        penalty = disbelief + (COST_INSIDE_OUT * i if shapes else 0.0)
        starts.append(Solution(model, own, unknowns, penalty, math.inf))
    return starts


def _tensor(values: F64) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)


def _hand_pose(model: HandModel, grasp: torch.Tensor) -> torch.Tensor:
    """(45,) absolute articulation of whitened grasp coefficients."""
    return _tensor(model.mean_pose) + (grasp * _tensor(model.component_std)) @ _tensor(model.components)


def _forward(model: HandModel, unknowns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices (778, 3) and joints (21, 3), metres, camera frame."""
    pose = _hand_pose(model, unknowns[GRASP])
    verts, joints = model(unknowns[None, ORIENT], pose[None], unknowns[None, BETAS], unknowns[None, TRANSL])
    return verts[0], joints[0]


def _robust(errors: torch.Tensor) -> torch.Tensor:
    """(N, D) errors in sigmas, shrunk so that their square is Huber's: linear beyond OUTLIER."""
    length = errors.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()
    return errors * torch.where(length > OUTLIER, (2 * OUTLIER * length - OUTLIER**2).sqrt() / length, 1.0)


def _shape_errors(evidence: Evidence, joints: torch.Tensor, unknowns: torch.Tensor) -> torch.Tensor:
    """(21, 3) metres between the model's landmarks and the 3D evidence, both centred."""
    landmarks = LANDMARKS @ joints
    return landmarks - landmarks.mean(0) - evidence.shape * unknowns[LOG_SIZE].exp()


def _residuals(model: HandModel, evidence: Evidence, unknowns: torch.Tensor, with_mask: bool) -> torch.Tensor:
    """Every error in units of what its kind of evidence is worth; the cost is the sum of their squares."""
    verts, joints = _forward(model, unknowns)
    excess = beyond_limits(_hand_pose(model, unknowns[GRASP]), joint_limits(model.side))
    terms = [
        _robust((project(joints, evidence.K) - evidence.keypoints) / evidence.sigma_px),
        excess / SIGMA_LIMIT,
        unknowns[GRASP] * math.sqrt(WEIGHT_GRASP),
        unknowns[BETAS] * math.sqrt(WEIGHT_BETAS),
        unknowns[LOG_SIZE] / SIGMA_SIZE,
    ]
    if evidence.shape is not None:
        terms.append(_robust(_shape_errors(evidence, joints, unknowns) / torch.tensor(SIGMA_3D)))
    if with_mask and evidence.mask_points is not None:
        pixels = project(verts, evidence.K)
        nearest = torch.cdist(evidence.mask_points, pixels.detach()).argmin(1)
        away = (pixels[nearest] - evidence.mask_points) / evidence.extent
        uncovered = away * (1 - VERTEX_SPACING / away.norm(dim=-1, keepdim=True).clamp_min(VERTEX_SPACING))
        terms.append(_robust(uncovered / SIGMA_MASK) * math.sqrt(WEIGHT_MASK / MASK_POINTS))
    return torch.cat([term.reshape(-1) for term in terms])


def _estimate(solution: Solution, keypoints: F64, presence: float) -> HandEstimate:
    """The solution with its residuals, as numpy."""
    model, evidence, unknowns = solution.model, solution.evidence, solution.unknowns
    joints = _forward(model, unknowns)[1]
    residual_px = float((project(joints, evidence.K) - evidence.keypoints).norm(dim=-1).median())
    residual_mm = 0.0
    if evidence.shape is not None:
        residual_mm = 1000 * float(_shape_errors(evidence, joints, unknowns).norm(dim=-1).median())
    pose = HandPose(
        side=model.side,
        global_orient=unknowns[ORIENT].double().numpy(),
        hand_pose=_hand_pose(model, unknowns[GRASP]).double().numpy(),
        betas=unknowns[BETAS].double().numpy(),
        transl=unknowns[TRANSL].double().numpy(),
    )
    score = presence * math.exp(-residual_px / evidence.extent / 0.04 - residual_mm / 30)
    return HandEstimate(pose, model.name, np.asarray(keypoints, np.float64), residual_px, residual_mm, score)
