"""The same hand in another hand model: parameters, betas above all, never transfer by number.

    joints -> mean grasp turned onto them (Kabsch) -> Levenberg-Marquardt on the joints
           -> again on joints and skin: every given vertex pulls the nearest vertex's tangent plane

The two models' vertices do not correspond, so skin is compared as surface. Their joints are near each other and not
the same (regressors and fingertips differ by some millimetres), so joints lead and skin decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pipeline.errors import PipelineError
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand.least_squares import minimise
from pipeline.hand.registration import kabsch
from pipeline.hand_model.model import HandModel
from pipeline.types import F64, HandPose, Side

# What one unit of cost is worth.
SIGMA_JOINT_FIRST = 0.001  # metres, while there are only joints
SIGMA_JOINT = 0.004  # metres, between two models' definitions of a joint
SIGMA_SKIN = 0.0005  # metres
SIGMA_POSE = 1.0  # radians from the mean grasp
SIGMA_BETAS = 3.0
OUTLIER = 6.0  # skin sigmas from which an error counts linearly: the two hands need not be cut at the same wrist
STEPS_JOINTS, STEPS_SKIN = 25, 30
# The unknowns, one vector; the translation is that of the hand with the given wrist at the origin.
ORIENT, POSE, BETAS, TRANSL = slice(0, 3), slice(3, 48), slice(48, 58), slice(58, 61)
UNKNOWNS = 61


def refit(verts: F64, joints: F64, side: Side, model: HandModel) -> tuple[HandPose, dict[str, float]]:
    """The pose of `model` whose skin is nearest to another model's: (V, 3) vertices, (21, 3) OpenPose joints, metres.

    Also how near: 'median_mm' and 'max_mm' of the given vertices' distances to the new skin, 'joints_mm', the median
    over the joints. Deterministic. Raises PipelineError when the sides differ or the hand is not finite.
    """
    if model.side != side:
        raise PipelineError(f"a {side} hand cannot be refitted to a {model.side} hand model")
    if not (np.isfinite(verts).all() and np.isfinite(joints).all()):
        raise PipelineError("a hand that is not finite cannot be refitted")
    origin = joints[0]
    with _one_thread():
        unknowns = _start(model, joints - origin)
        unknowns, _ = minimise(_joint_errors(model, _tensor(joints - origin)), unknowns, STEPS_JOINTS)
        errors = _skin_errors(model, _tensor(verts - origin), _tensor(joints - origin))
        unknowns, _ = minimise(errors, unknowns, STEPS_SKIN)
        found = unknowns.double().numpy()
        pose = HandPose(side, _shortest(found[ORIENT]), _shortest(found[POSE]), found[BETAS], found[TRANSL] + origin)
        return pose, _residuals(verts, joints, model, pose)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, whatever the number of threads of the process that asks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _tensor(values: F64) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)


def _shortest(turns: F64) -> F64:
    """(3n,) axis-angle, each of n the same rotation by at most half a turn."""
    return np.asarray(Rotation.from_rotvec(turns.reshape(-1, 3)).as_rotvec().ravel())


def _start(model: HandModel, joints: F64) -> torch.Tensor:
    zero = np.zeros(3)
    rest = model.posed(HandPose(model.side, zero, model.mean_pose, np.zeros(10), zero))[1]
    rotation = kabsch(rest, joints)
    unknowns = torch.zeros(UNKNOWNS)
    unknowns[ORIENT] = _tensor(Rotation.from_matrix(rotation).as_rotvec())
    unknowns[POSE] = _tensor(model.mean_pose)
    unknowns[TRANSL] = _tensor(-rest[0])
    return unknowns


def _forward(model: HandModel, unknowns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    verts, joints = model(*(unknowns[None, part] for part in (ORIENT, POSE, BETAS, TRANSL)))
    return verts[0], joints[0]


def _priors(model: HandModel, unknowns: torch.Tensor) -> list[torch.Tensor]:
    return [(unknowns[POSE] - _tensor(model.mean_pose)) / SIGMA_POSE, unknowns[BETAS] / SIGMA_BETAS]


def _joint_errors(model: HandModel, target: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    def errors(unknowns: torch.Tensor) -> torch.Tensor:
        joints = _forward(model, unknowns)[1]
        return torch.cat([((joints - target) / SIGMA_JOINT_FIRST).ravel(), *_priors(model, unknowns)])

    return errors


def _skin_errors(
    model: HandModel, target_verts: torch.Tensor, target_joints: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    faces = torch.as_tensor(model.faces)

    def errors(unknowns: torch.Tensor) -> torch.Tensor:
        verts, joints = _forward(model, unknowns)
        still = verts.detach()
        nearest = torch.cdist(target_verts, still).argmin(1)
        away = ((verts[nearest] - target_verts) * _normals(still, faces)[nearest]).sum(1) / SIGMA_SKIN
        return torch.cat([_robust(away), ((joints - target_joints) / SIGMA_JOINT).ravel(), *_priors(model, unknowns)])

    return errors


def _normals(verts: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """(V, 3) unit vertex normals, weighted by area."""
    corners = verts[faces]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = torch.zeros_like(verts).index_add(0, faces.T.ravel(), areas.repeat(3, 1))
    return sums / sums.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _robust(errors: torch.Tensor) -> torch.Tensor:
    """(N,) errors in sigmas, shrunk so that their square is Huber's: linear beyond OUTLIER."""
    size = errors.abs().clamp_min(1e-6)
    return errors * torch.where(size > OUTLIER, (2 * OUTLIER * size - OUTLIER**2).sqrt() / size, 1.0)


def _residuals(verts: F64, joints: F64, model: HandModel, pose: HandPose) -> dict[str, float]:
    new_verts, new_joints = model.posed(pose)
    away = np.abs(SignedDistance(new_verts, model.faces).query(verts)[0]) * 1000
    moved = np.linalg.norm(new_joints - joints, axis=1) * 1000
    figures = {"median_mm": np.median(away), "max_mm": away.max(), "joints_mm": np.median(moved)}
    return {name: round(float(value), 3) for name, value in figures.items()}
