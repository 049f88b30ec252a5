"""A hand holding a ball, made from the open hand alone: exact pose, masks and contact, no files needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import trimesh
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import from_focal, project
from pipeline.geometry.raster import depth_map
from pipeline.hand_model import HandModel, load_hand
from pipeline.types import F64, Camera, HandPose, Mask, Mesh, ObjectMesh, Side, ViewPrior

SIZE = 256
RADIUS = 0.042
VIEW = {
    "right": Rotation.from_euler("xyz", [0, -30, 0], degrees=True),
    "left": Rotation.from_euler("xyz", [0, 30, 0], degrees=True),
}


@dataclass(frozen=True)
class Scene:
    """The truth. The ball's mesh has radius 1 and the view prior shows it at the true place, at an unknown scale."""

    model: HandModel
    camera: Camera
    pose: HandPose
    verts: F64
    joints: F64
    keypoints: F64
    ball: ObjectMesh
    radius: float  # metres: the true scale
    center: F64
    hand: Mask
    object: Mask
    amodal: Mask


@lru_cache(maxsize=4)
def grasp(side: Side = "right") -> Scene:
    model = load_hand(side)
    flat = HandPose(side, np.zeros(3), 0.5 * model.mean_pose, np.zeros(10), np.zeros(3))
    rest, _ = model.posed(flat)
    pads = rest[(model.zone > 0) & (model.zone < 5)]  # thumb, index, middle and ring close on the ball

    def gaps(center: F64) -> F64:
        inside = np.maximum(0, RADIUS - np.linalg.norm(rest - center, axis=1))
        return np.concatenate([np.linalg.norm(pads - center, axis=1) - RADIUS, 6 * inside])

    center = least_squares(gaps, rest[model.zone > 0].mean(0) + np.array([0, -0.02, 0])).x
    # Seen from the thumb's side: the thumb hides the ball and the ball hides the fingers.
    turn = VIEW[side]
    pose = HandPose(side, turn.as_rotvec(), flat.hand_pose, flat.betas, np.zeros(3))
    offset = np.array([0, 0, 0.55]) - turn.apply(center)
    pose = replace(pose, transl=offset)
    verts, joints = model.posed(pose)
    center = np.array([0, 0, 0.55]) + (verts.mean(0) - turn.apply(rest.mean(0)) - offset)
    radius = RADIUS
    sphere = trimesh.creation.icosphere(subdivisions=3)
    mesh = Mesh(
        np.asarray(sphere.vertices, dtype=np.float64),
        np.asarray(sphere.faces, dtype=np.int64),
        np.zeros((len(sphere.vertices), 2)),
        np.full((4, 4, 3), 200, np.uint8),
    )
    camera = from_focal(600.0, SIZE, SIZE, "given")
    hand_z = depth_map(verts, model.faces, camera.K, SIZE, SIZE)
    ball_z = depth_map(mesh.vertices * radius + center, mesh.faces, camera.K, SIZE, SIZE)
    ball = ObjectMesh(mesh, ViewPrior(np.eye(3), center / radius), "ball")
    return Scene(
        model=model,
        camera=camera,
        pose=pose,
        verts=verts,
        joints=joints,
        keypoints=project(joints, camera.K),
        ball=ball,
        radius=radius,
        center=center,
        hand=np.isfinite(hand_z) & (hand_z < ball_z),
        object=np.isfinite(ball_z) & (ball_z < hand_z),
        amodal=np.isfinite(ball_z),
    )
