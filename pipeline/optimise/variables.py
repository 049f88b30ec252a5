"""What the optimisation of one pair may change, as well-scaled variables around a start.

turn       rotation of the hand in the camera frame, radians
shift      of the wrist: x / depth, y / depth, log depth
grasp      articulation: whitened steps around the most probable one (`Articulation`)
log_scale  of the object about the camera centre; its picture stays the same
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix, matrix_to_axis_angle

from pipeline.hand_model import HandModel
from pipeline.hand_model.skinning import Pull
from pipeline.types import F64, HandPose, ObjectPose

LEAST_STD = 0.02  # radians: components the grasp prior calls fixed may still move this much


@dataclass(frozen=True)
class Articulation:
    """The articulations an estimate makes probable: a Gaussian, `theta = centre + step @ z` with z ~ N(0, 1).

    The estimator errs by `sigma` radians an axis; the model's grasp space says how hands bend. Their product has a
    narrower spread than either, and its centre is a better guess than the estimate.
    """

    centre: torch.Tensor  # (45,)
    step: torch.Tensor  # (45, 45), symmetric

    @classmethod
    def around(
        cls, theta: F64, model: HandModel, sigma_deg: float, prior: float, device: torch.device | str = "cpu"
    ) -> Articulation:
        """`prior`: how much the grasp space counts; 0 leaves the estimate as it is."""
        noise = 1 / np.deg2rad(sigma_deg) ** 2
        whiten = model.components / np.maximum(model.component_std, LEAST_STD)[:, None]  # rows: components
        grasp = prior * whiten.T @ whiten
        precision = noise * np.eye(45) + grasp
        centre = np.linalg.solve(precision, noise * theta + grasp @ model.mean_pose)
        values, vectors = np.linalg.eigh(precision)
        step = (vectors / np.sqrt(values)) @ vectors.T
        return cls(*(torch.as_tensor(a, dtype=torch.float32, device=device) for a in (centre, step)))


class PairVariables:
    """A hand and the scale of the object it holds, as tensors an optimiser can hold on to."""

    def __init__(self, model: HandModel, start: HandPose, articulation: Articulation, scale: float = 1.0) -> None:
        self.articulation, self.scale0 = articulation, scale
        centre = articulation.centre
        self.side = model.side
        self.orient0 = centre.new_tensor(start.global_orient)
        self.transl0 = centre.new_tensor(start.transl)
        self.lateral = self.transl0[2] * centre.new_tensor([1.0, 1.0, 0.0])
        self.betas = centre.new_tensor(start.betas)
        self.posable = model.posable(self.orient0, self.betas)
        theta = centre.new_tensor(start.hand_pose)
        grasp = torch.linalg.solve(articulation.step, theta - articulation.centre)
        self.grasp = grasp.requires_grad_()
        self.turn = centre.new_zeros(3).requires_grad_()
        self.shift = centre.new_zeros(3).requires_grad_()
        self.log_scale = centre.new_zeros(1).requires_grad_()
        self.all = (self.turn, self.shift, self.grasp, self.log_scale)

    def transl(self) -> torch.Tensor:
        return (self.transl0 + self.shift * self.lateral) * torch.exp(self.shift[2])

    def hand_pose(self) -> torch.Tensor:
        return self.articulation.centre + self.articulation.step @ self.grasp

    def scale(self) -> torch.Tensor:
        """(1,) metres per mesh unit of the object."""
        return self.scale0 * torch.exp(self.log_scale)

    def move(self, offset: F64) -> None:
        """Move the hand by metres, in place: the optimiser keeps its tensors and its moments."""
        with torch.no_grad():
            wanted = self.transl() + self.transl0.new_tensor(offset)
            self.shift[2] = torch.log(wanted[2] / self.transl0[2])
            self.shift[:2] = (wanted[:2] / torch.exp(self.shift[2]) - self.transl0[:2]) / self.transl0[2]

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Vertices (778, 3) and joints (21, 3), metres, camera frame."""
        return self.posable(self.turn, self.hand_pose(), self.transl())

    def with_pull(self) -> tuple[torch.Tensor, torch.Tensor, Pull]:
        """`forward` without a graph, and what takes gradients at vertices and joints to turn, shift and grasp."""
        transl, growth = self.transl().detach(), torch.exp(self.shift.detach()[2])
        verts, joints, pull = self.posable.with_pull(self.turn.detach(), self.hand_pose().detach(), transl)

        def pull_on(on_verts: torch.Tensor, on_joints: torch.Tensor) -> tuple[torch.Tensor, ...]:
            on_turn, on_articulation, on_transl = pull(on_verts, on_joints)
            on_shift = on_transl * self.lateral * growth
            on_shift[2] = on_transl @ transl
            return on_turn, on_shift, on_articulation @ self.articulation.step

        return verts, joints, pull_on

    def pose(self) -> HandPose:
        orient = matrix_to_axis_angle(axis_angle_to_matrix(self.turn, fast=True) @ axis_angle_to_matrix(self.orient0))
        numbers = (orient, self.hand_pose(), self.betas, self.transl())
        orient, hand_pose, betas, transl = (x.detach().cpu().double().numpy().copy() for x in numbers)
        return HandPose(self.side, orient, hand_pose, betas, transl)


def scaled(pose: ObjectPose, scale: float) -> ObjectPose:
    """The pose at another scale about the camera centre: the same picture, nearer or farther."""
    return replace(pose, transl=pose.transl * (scale / pose.scale), scale=scale)


def scale_by_depth(object_pose: ObjectPose, verts: torch.Tensor, model: HandModel) -> float:
    """The scale that puts the object's centre at the depth of the finger pads and palm."""
    zone = verts.detach().cpu().double().numpy()[model.zone > 0]
    return float(np.median(zone[:, 2]) / object_pose.transl[2])
