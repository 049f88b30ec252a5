"""A hand of one shape as a function of its pose, for loops that ask for it and its gradient hundreds of times.

On the CPU (`Skin`) one compiled pass does what smplx does in sixty tensor operations, and one more its adjoint; on any
other device (`Smplx`) it is smplx. Orientation is a turn about the wrist, in camera axes, of a start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
import torch
from numba import njit
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from pipeline.geometry.rotations import left_jacobian, rotation

Pull = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""Gradients at vertices and joints -> at turn, articulation and transl."""


class Posable(Protocol):
    """turn (3,), articulation (45,), transl (3,) -> vertices (778, 3) and joints (21, 3), metres."""

    def __call__(self, turn: Tensor, articulation: Tensor, transl: Tensor) -> tuple[Tensor, Tensor]: ...

    def with_pull(self, turn: Tensor, articulation: Tensor, transl: Tensor) -> tuple[Tensor, Tensor, Pull]:
        """The same without a graph, of tensors that need none."""


class Smplx:
    """`model`: a HandModel on the tensors' device; orient (3,) axis-angle, betas (10,)."""

    def __init__(self, model: Any, orient: Tensor, betas: Tensor) -> None:
        self.model, self.orient, self.betas = model, orient[None], betas[None]

    def __call__(self, turn: Tensor, articulation: Tensor, transl: Tensor) -> tuple[Tensor, Tensor]:
        verts, joints = self.model(self.orient, articulation[None], self.betas, torch.zeros_like(self.orient))
        wrist, turned = joints[0, 0], axis_angle_to_matrix(turn, fast=True).T
        offset = wrist + transl
        return (verts[0] - wrist) @ turned + offset, (joints[0] - wrist) @ turned + offset

    def with_pull(self, turn: Tensor, articulation: Tensor, transl: Tensor) -> tuple[Tensor, Tensor, Pull]:
        given = [tensor.detach().requires_grad_() for tensor in (turn, articulation, transl)]
        with torch.enable_grad():
            found = self(*given)

        def pull(on_verts: Tensor, on_joints: Tensor) -> tuple[Tensor, ...]:
            return cast("tuple[Tensor, ...]", torch.autograd.grad(found, given, (on_verts, on_joints)))

        return found[0].detach(), found[1].detach(), pull


class Skin:
    """The same on the CPU. Sums are float64 but for the blend shapes; values and gradients are float32.

    shaped: (V, 3) vertices of the flat hand, rest: (J, 3) its joints, after parents (J,); weights: (V, J) of the joints
    on the vertices; blend: (9 (J - 1), 3 V) float32 pose blend shapes; order: (J + T,) the joints and the vertices tips
    (T,), as they are answered; orient: (3, 3).
    """

    def __init__(
        self,
        shaped: np.ndarray,
        rest: np.ndarray,
        parents: np.ndarray,
        weights: np.ndarray,
        blend: np.ndarray,
        tips: np.ndarray,
        order: np.ndarray,
        orient: np.ndarray,
    ) -> None:
        bones = np.argsort(-weights, axis=1, kind="stable")[:, : int((weights > 0).sum(1).max())].copy()
        self.hand = (shaped, rest, parents, bones, np.take_along_axis(weights, bones, 1), blend, tips, order)
        self.orient = orient

    def __call__(self, turn: Tensor, articulation: Tensor, transl: Tensor) -> tuple[Tensor, Tensor]:
        return cast("tuple[Tensor, Tensor]", _Skinning.apply(turn, articulation, transl, self))

    def with_pull(self, turn: Tensor, articulation: Tensor, transl: Tensor) -> tuple[Tensor, Tensor, Pull]:
        turns = torch.cat([turn, articulation]).numpy().astype(np.float64).reshape(-1, 3)
        verts, joints, kept = _hand(turns, transl.numpy(), self.orient, self.hand)

        def pull(on_verts: Tensor, on_joints: Tensor) -> tuple[Tensor, ...]:
            gradient = _pulled_hand(on_verts.numpy(), on_joints.numpy(), turns, kept, self.hand)
            on_turn, on_articulation, on_transl = torch.from_numpy(gradient).split([3, turns.size - 3, 3])
            return on_turn, on_articulation, on_transl

        return torch.from_numpy(verts), torch.from_numpy(joints), pull


class _Skinning(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, turn: Tensor, articulation: Tensor, transl: Tensor, skin: Skin) -> tuple[Tensor, Tensor]:
        verts, joints, ctx.pull = skin.with_pull(turn, articulation, transl)
        return verts, joints

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *ctx.pull(*grads), None


@njit(cache=True)
def _hand(turns, place, orient, hand):  # type: ignore[no-untyped-def]
    """Vertices (V, 3) and joints (J + T, 3), float32, and what the adjoint needs of the way there."""
    shaped, rest, parents, bones, weights, blend, tips, order = hand
    local, turned, shift, bend = _bones(turns, orient, rest, parents)
    posed = shaped + np.dot(bend, blend).reshape(-1, 3)
    verts, joints = np.zeros(posed.shape, dtype=np.float32), np.empty((len(order), 3), dtype=np.float32)
    for v in range(len(posed)):
        for i in range(3):
            at = float(place[i])
            for slot in range(bones.shape[1]):
                w, j = weights[v, slot], bones[v, slot]
                if w > 0.0:
                    at += w * (shift[j, i] + _row(turned, j, i, posed, v))
            verts[v, i] = at
    for k in range(len(order)):
        for i in range(3):
            j = order[k]
            if j < len(rest):
                joints[k, i] = place[i] + shift[j, i] + _row(turned, j, i, rest, j)
            else:
                joints[k, i] = verts[tips[j - len(rest)], i]
    return verts, joints, (local, turned, posed)


@njit(cache=True)
def _row(matrices, j, i, points, v):  # type: ignore[no-untyped-def]
    return matrices[j, i, 0] * points[v, 0] + matrices[j, i, 1] * points[v, 1] + matrices[j, i, 2] * points[v, 2]


@njit(cache=True)
def _pulled_hand(on_verts, on_answered, turns, kept, hand):  # type: ignore[no-untyped-def]
    """The adjoint of `_hand`: the gradient at the turns and the place, (3 J + 3,) float32."""
    local, turned, posed = kept
    _, rest, parents, bones, weights, blend, tips, order = hand
    on_skin, on_joints = on_verts.astype(np.float64), np.zeros((len(rest), 3))
    for k in range(len(order)):
        if order[k] < len(rest):
            on_joints[order[k]] += on_answered[k]
        else:
            on_skin[tips[order[k] - len(rest)]] += on_answered[k]
    out = np.empty(turns.size + 3, dtype=np.float32)
    out[turns.size :] = on_skin.sum(0) + on_joints.sum(0)
    on_posed, on_turned, on_shift = _pulled(on_skin, posed, bones, weights, turned)
    on_bend = np.dot(blend, on_posed.ravel())
    on_turns = _pulled_bones(on_turned, on_shift, on_joints, on_bend, turns, local, turned, rest, parents)
    out[: turns.size] = on_turns.ravel()
    return out


@njit(cache=True)
def _bones(angles, orient, rest, parents):  # type: ignore[no-untyped-def]
    """Each joint's own rotation (J, 3, 3), what it does to space (J, 3, 3) and (J, 3), and what bends the skin
    (9 (J - 1),) float32."""
    count = len(rest)
    local, turned, shift = np.empty((count, 3, 3)), np.empty((count, 3, 3)), np.empty((count, 3))
    bend = np.empty(9 * (count - 1), dtype=np.float32)
    place = np.empty((count, 3))
    for j in range(count):
        local[j] = rotation(angles[j])
        if j == 0:
            local[0] = _product(local[0], orient)
            turned[0] = local[0]
            place[0] = rest[0]
        else:
            k = parents[j]
            turned[j] = _product(turned[k], local[j])
            for i in range(3):
                place[j, i] = place[k, i]
                for c in range(3):
                    place[j, i] += turned[k, i, c] * (rest[j, c] - rest[k, c])
                    bend[9 * (j - 1) + 3 * i + c] = local[j, i, c] - (1.0 if i == c else 0.0)
        for i in range(3):
            shift[j, i] = place[j, i]
            for c in range(3):
                shift[j, i] -= turned[j, i, c] * rest[j, c]
    return local, turned, shift, bend


@njit(cache=True)
def _product(a, b):  # type: ignore[no-untyped-def]
    out = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            for k in range(3):
                out[i, j] += a[i, k] * b[k, j]
    return out


@njit(cache=True)
def _pulled(on_verts, posed, bones, weights, turned):  # type: ignore[no-untyped-def]
    """The adjoint of skinning: gradients at posed (float32), turned and shift."""
    on_posed = np.zeros((len(posed), 3), dtype=np.float32)
    on_turned, on_shift = np.zeros((len(turned), 3, 3)), np.zeros((len(turned), 3))
    for v in range(len(posed)):
        for slot in range(bones.shape[1]):
            w, j = weights[v, slot], bones[v, slot]
            if w > 0.0:
                for i in range(3):
                    pull = w * on_verts[v, i]
                    on_shift[j, i] += pull
                    for c in range(3):
                        on_turned[j, i, c] += pull * posed[v, c]
                        on_posed[v, c] += pull * turned[j, i, c]
    return on_posed, on_turned, on_shift


@njit(cache=True)
def _pulled_bones(on_turned, on_shift, on_place, on_bend, angles, local, turned, rest, parents):  # type: ignore[no-untyped-def]
    """The adjoint of `_bones` and of the joints' places: the gradient at the angles (J, 3)."""
    out = np.empty((len(rest), 3))
    for j in range(len(rest) - 1, -1, -1):
        for i in range(3):
            on_place[j, i] += on_shift[j, i]
            for c in range(3):
                on_turned[j, i, c] -= on_shift[j, i] * rest[j, c]
        if j == 0:
            on_local = on_turned[0]
        else:
            k = parents[j]
            on_local = _product(turned[k].T, on_turned[j])
            on_turned[k] += _product(on_turned[j], local[j].T)
            for i in range(3):
                on_place[k, i] += on_place[j, i]
                for c in range(3):
                    on_turned[k, i, c] += on_place[j, i] * (rest[j, c] - rest[k, c])
                    on_local[i, c] += on_bend[9 * (j - 1) + 3 * i + c]
        moment = _product(on_local, local[j].T)
        torque = (moment[2, 1] - moment[1, 2], moment[0, 2] - moment[2, 0], moment[1, 0] - moment[0, 1])
        jacobian = left_jacobian(angles[j])
        for i in range(3):
            out[j, i] = jacobian[0, i] * torque[0] + jacobian[1, i] * torque[1] + jacobian[2, i] * torque[2]
    return out
