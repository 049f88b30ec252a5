"""Stage A (paper 4.1): the object's rotation and translation whose silhouette matches the amodal mask.

The similarity `X_cam = s * (R X + t)` shows the same picture for every s, so the stage works at s = 1 and leaves the
scale to the contact alignment.

    starts         rotations the view prior leaves open, each placed by matching area and centre of its silhouette
    culling        all starts in a small picture, the better ones a few steps, the best ones to the end
    view prior     the analytic camera alone, when it leaves nothing open
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nn

from pipeline.geometry.camera import project, unprojected
from pipeline.geometry.raster import Topology, drawn
from pipeline.geometry.rotations import left_jacobian, rotation
from pipeline.geometry.transport import Sinkhorn
from pipeline.optimise.adam import Adam
from pipeline.optimise.losses import mask_miss
from pipeline.optimise.view import View
from pipeline.types import F64, ObjectMesh, ObjectPose

# Optimal transport only helps while the silhouettes are far apart; below this loss the IoU term leads.
TRANSPORT_ABOVE = 0.3
COARSE = 64  # pixels of the picture in which starts are compared
NEAREST, FARTHEST = 1.2, 1e3  # depths a placement may take, in radii of the mesh


@dataclass(frozen=True)
class CameraFit:
    """The object's pose at scale 1, the analytic one it started from, and figures (1 - IoU before, after; steps)."""

    pose: ObjectPose
    start: ObjectPose
    figures: dict[str, float]


@dataclass
class Attempt:
    """One start of the search."""

    rotation: F64  # (3, 3) object -> camera
    transl: F64  # (3,) at s = 1
    loss: float = float("inf")
    steps: int = 0


def camera_setup(item: ObjectMesh, view: View, settings: dict[str, Any]) -> CameraFit:
    """Search from the view prior, then from the rotations it leaves open."""
    fine = _Search(item, view.K, view.amodal, settings)
    prior = item.prior
    start = Attempt(prior.rotation, prior.transl)
    if len(prior.starts):
        coarse = _coarse(item, view, settings)
        start = coarse.place(start.rotation)
        found = [coarse.place(rotation) for rotation in prior.starts]
        kept, finalists = settings["camera_kept"], settings["camera_finalists"]
        probes = [coarse.run(a, settings["camera_probe_steps"]) for a in sorted(found, key=lambda a: a.loss)[:kept]]
        finals = sorted(probes, key=lambda a: a.loss)[:finalists]
        best = min((fine.run(a, settings["camera_steps"]) for a in finals), key=lambda a: a.loss)
    else:
        best = fine.run(start, settings["camera_steps"])
    initial = fine.run(start, steps=0).loss
    pose = ObjectPose(rotation=_orthonormal(best.rotation), transl=best.transl, scale=1.0)
    figures = {"initial": initial, "final": best.loss, "steps": float(best.steps)}
    return CameraFit(pose, ObjectPose(start.rotation, start.transl, 1.0), figures)


def _coarse(item: ObjectMesh, view: View, settings: dict[str, Any]) -> _Search:
    height, width = view.shape
    scale = COARSE / max(height, width)
    size = max(8, round(height * scale)), max(8, round(width * scale))
    target = nn.interpolate(view.amodal[None, None], size, mode="area")[0, 0]
    K = view.K * view.K.new_tensor([[size[1] / width], [size[0] / height], [1.0]])
    return _Search(item, K, target, settings)


class _Search:
    """Silhouettes of one mesh against one target picture."""

    def __init__(self, item: ObjectMesh, K: torch.Tensor, target: torch.Tensor, settings: dict[str, Any]) -> None:
        self.on = {"dtype": torch.float32, "device": target.device}
        self.vertices = torch.as_tensor(item.mesh.vertices, **self.on)
        self.topology = Topology(torch.as_tensor(item.mesh.faces, device=target.device), self.vertices)
        self.K, self.target = K, target
        self.lr, self.stop = settings["lr_camera"], settings["stop_loss"]
        self.patience, self.decay = settings["patience"], settings["camera_decay"]
        self.of_transport, self.of_turn = settings["weight_transport"], settings["weight_turn"]
        self.transport = Sinkhorn(target)

    def place(self, rotation: F64) -> Attempt:
        """A rotation with the translation under which area and centre of the silhouette match the target's."""
        turned = self.vertices @ torch.as_tensor(rotation, **self.on).T
        radius = float(turned.norm(dim=1).max())
        area, centre = _moments(self.target)
        depth, focal = 4 * radius, float(self.K[0, 0])
        at = centre
        for _ in range(4):
            offset = (at - self.K[:2, 2]) / focal * depth
            transl = torch.cat([offset, offset.new_tensor([depth])])
            mask, _ = drawn(project(turned + transl, self.K), self.topology, *self.target.shape)
            own_area, own_centre = _moments(mask)
            at = at + centre - own_centre
            grown = (own_area / area).clamp_min(1e-6).sqrt()
            depth = float(np.clip(depth * float(grown), NEAREST * radius, FARTHEST * radius))
        return self.run(Attempt(rotation, transl.cpu().double().numpy()), steps=0)

    def run(self, start: Attempt, steps: int) -> Attempt:
        """Adam from one start; keeps the best step, stops at the target loss or on a plateau."""
        turned = self.vertices @ torch.as_tensor(start.rotation, **self.on).T
        adam: Adam[F64] = Adam(self.lr, steps, self.decay)
        at: F64 = np.zeros(6)  # turn about the object's origin in camera axes; x / depth, y / depth, log depth
        best = Attempt(start.rotation, start.transl, float("inf"), start.steps)
        lowest, far, since = float("inf"), True, 0  # of the loss that leads: with or without the transport term
        for step in range(steps + 1):
            turn = rotation(at[:3])
            transl = (start.transl + np.append(at[3:5] * start.transl[2], 0.0)) * np.exp(at[5])
            spokes = turned @ torch.as_tensor(turn, **self.on).T
            points = spokes + torch.as_tensor(transl, **self.on)
            mask, pull = drawn(project(points, self.K), self.topology, *self.target.shape)
            overlap, slope = mask_miss(mask, self.target)
            miss = led = overlap.item()
            if miss > TRANSPORT_ABOVE and self.of_transport:
                cost, toward = self.transport.with_gradient(mask)
                led, slope = led + self.of_transport * cost.item(), slope + self.of_transport * toward
            led += self.of_turn * float(at[:3] @ at[:3])
            if far != (miss > TRANSPORT_ABOVE):
                far, lowest = not far, float("inf")
            since += 1
            if led < lowest - 1e-4:
                lowest, since = led, 0
            if miss < best.loss:
                best = Attempt(turn @ start.rotation, transl, miss, start.steps + step)
            if best.loss < self.stop or since > self.patience or step == steps:
                break
            push, torque = _force(pull(slope), spokes, points, self.K)
            downhill = np.concatenate([left_jacobian(at[:3]).T @ torque + 2 * self.of_turn * at[:3], push])
            downhill[3:5] *= start.transl[2] * np.exp(at[5])
            downhill[5] = push @ transl
            at = at - adam(downhill)
        return best


def _force(grad: torch.Tensor, spokes: torch.Tensor, points: torch.Tensor, K: torch.Tensor) -> tuple[F64, F64]:
    """A gradient at the pixels (V, 2), as that of a rigid body's translation and of a small turn about its origin, from
    which `spokes` (V, 3) lead to the points (V, 3)."""
    force = unprojected(grad, points, K)
    (_, xy, xz), (yx, _, yz), (zx, zy, _) = (spokes.T @ force).tolist()
    return force.sum(0).cpu().double().numpy(), np.array([yz - zy, zx - xz, xy - yx])


def _moments(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Area in pixels and centre (2,) of a soft mask; the picture's centre when it is empty."""
    height, width = mask.shape
    area = mask.sum()
    if float(area) < 1e-6:
        return area, mask.new_tensor([width / 2, height / 2])
    x = (mask.sum(0) * (torch.arange(width, device=mask.device) + 0.5)).sum() / area
    y = (mask.sum(1) * (torch.arange(height, device=mask.device) + 0.5)).sum() / area
    return area, torch.stack([x, y])


def _orthonormal(rotation: F64) -> F64:
    """The nearest rotation matrix: float32 products drift by 1e-7."""
    u, _, vt = np.linalg.svd(rotation)
    return np.asarray(u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt)
