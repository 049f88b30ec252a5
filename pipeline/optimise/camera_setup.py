"""Stage A (paper 4.1): the object's rotation and translation whose silhouette matches the amodal mask.

The similarity `X_cam = s * (R X + t)` shows the same picture for every s, so the stage works at s = 1 and
leaves the scale to the contact alignment. It starts from the analytic camera of the view prior and tries the
prior's further rotations only when that start does not reach the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from pipeline.geometry.camera import project
from pipeline.geometry.raster import Topology, silhouette
from pipeline.geometry.transport import Sinkhorn
from pipeline.optimise.losses import soft_iou
from pipeline.optimise.view import View
from pipeline.types import F64, ObjectMesh, ObjectPose

# Optimal transport only helps while the silhouettes are far apart; below this loss the IoU term leads.
TRANSPORT_ABOVE = 0.3
PROBE_STEPS = 20


@dataclass(frozen=True)
class CameraFit:
    """The object's pose at scale 1, and the stage's figures (initial and final 1 - IoU, steps)."""

    pose: ObjectPose
    figures: dict[str, float]


@dataclass
class Attempt:
    """One start of the search."""

    rotation: F64  # (3, 3) object -> camera
    transl: F64  # (3,) at s = 1
    loss: float
    steps: int


def camera_setup(item: ObjectMesh, view: View, settings: dict[str, Any]) -> CameraFit:
    """Search from the view prior, then from its further rotations."""
    search = _Search(item, view, lr=settings["lr_camera"], stop=settings["stop_loss"])
    start = Attempt(item.prior.rotation, item.prior.transl, float("inf"), 0)
    initial = search.run(start, steps=0).loss
    best = search.run(start, settings["camera_steps"])
    if best.loss > max(0.1, settings["stop_loss"]) and len(item.prior.starts):
        probes = [search.run(Attempt(r, item.prior.transl, float("inf"), 0), PROBE_STEPS) for r in item.prior.starts]
        leader = min(probes, key=lambda a: a.loss)
        best = min(best, search.run(leader, settings["camera_steps"]), key=lambda a: a.loss)
    pose = ObjectPose(rotation=_orthonormal(best.rotation), transl=best.transl, scale=1.0)
    return CameraFit(pose, {"initial": initial, "final": best.loss, "steps": float(best.steps)})


class _Search:
    def __init__(self, item: ObjectMesh, view: View, lr: float, stop: float) -> None:
        self.vertices = torch.as_tensor(item.mesh.vertices, dtype=torch.float32)
        self.topology = Topology(torch.as_tensor(item.mesh.faces), self.vertices)
        self.view, self.lr, self.stop = view, lr, stop
        self.transport = Sinkhorn(view.amodal)

    def run(self, start: Attempt, steps: int) -> Attempt:
        """Adam from one start; keeps the best step, stops at the target loss or on a plateau."""
        rotation0 = torch.as_tensor(start.rotation, dtype=torch.float32)
        transl0 = torch.as_tensor(start.transl, dtype=torch.float32)
        turn = torch.zeros(3, requires_grad=True)  # about the object's origin, camera axes
        shift = torch.zeros(3, requires_grad=True)  # (x / depth, y / depth, log depth)
        adam = torch.optim.Adam([turn, shift], lr=self.lr)
        best = Attempt(start.rotation, start.transl, float("inf"), start.steps)
        lowest, far, since = float("inf"), True, 0  # of the loss that leads: with or without the transport term
        for step in range(steps + 1):
            rotation = axis_angle_to_matrix(turn) @ rotation0
            lateral = torch.cat([shift[:2] * transl0[2], shift.new_zeros(1)])
            transl = (transl0 + lateral) * torch.exp(shift[2])
            points = project(self.vertices @ rotation.T + transl, self.view.K)
            mask = silhouette(points, self.topology, *self.view.shape)
            overlap = 1 - soft_iou(mask, self.view.amodal)
            loss = overlap + self.transport(mask) if overlap.item() > TRANSPORT_ABOVE else overlap
            if far != (overlap.item() > TRANSPORT_ABOVE):
                far, lowest = not far, float("inf")
            since += 1
            if loss.item() < lowest - 1e-4:
                lowest, since = loss.item(), 0
            if overlap.item() < best.loss:
                numbers = rotation.detach().double().numpy(), transl.detach().double().numpy()
                best = Attempt(*numbers, overlap.item(), start.steps + step)
            if best.loss < self.stop or since > 15 or step == steps:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
        return best


def _orthonormal(rotation: F64) -> F64:
    """The nearest rotation matrix: float32 products drift by 1e-7."""
    u, _, vt = np.linalg.svd(rotation)
    return np.asarray(u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt)
