"""Synthetic hand-object pairs with a photo drawn from them, so that every exported number has a known truth."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from exports.base import Record
from pipeline.geometry.camera import from_focal
from pipeline.geometry.raster import depth_map
from pipeline.hand_model import load_hand
from pipeline.types import (
    Completion,
    Contacts,
    HandEstimate,
    HandPose,
    Masks,
    Mesh,
    ObjectMesh,
    ObjectPose,
    Photo,
    Reconstruction,
    Side,
    ViewPrior,
)

WIDTH, HEIGHT = 640, 480
HAND_RGB, OBJECT_RGB, GROUND_RGB = (210, 150, 120), (40, 90, 200), (90, 100, 90)


def box_mesh() -> Mesh:
    """A box of 4 x 6 x 8 mesh units with its own uv square on every face (24 vertices, 8 places)."""
    vertices, faces = [], []
    for axis in range(3):
        for sign in (-1, 1):
            u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
            corners = [sign * np.eye(3)[axis] + a * u + b * v for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            base = len(vertices)
            vertices += corners
            order = [(0, 1, 2), (0, 2, 3)] if sign > 0 else [(0, 2, 1), (0, 3, 2)]
            faces += [tuple(base + i for i in face) for face in order]
    uv = np.tile([[0, 0], [1, 0], [1, 1], [0, 1]], (6, 1)).astype(float)
    texture = np.random.default_rng(5).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    return Mesh(np.array(vertices) * [2, 3, 4] + [10, 0, 1], np.array(faces), uv, texture)


def cylinder_mesh(sides: int = 24) -> Mesh:
    """A closed cylinder along y, radius 1 and height 3 mesh units, with a uv seam."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], 1).round(12)
    ring[-1] = ring[0]
    up = np.array([0, 1.5, 0])
    top, bottom = ring + up, ring - up
    vertices = np.concatenate([top, bottom, [[0, 1.5, 0], [0, -1.5, 0]]])
    n = sides + 1
    faces = []
    for i in range(sides):
        faces += [(i, i + 1, n + i), (i + 1, n + i + 1, n + i), (2 * n, i + 1, i), (2 * n + 1, n + i, n + i + 1)]
    share = angle / (2 * np.pi)
    uv = np.concatenate([np.stack([share, 0 * share], 1), np.stack([share, 0 * share + 1], 1), [[0.5, 0], [0.5, 1]]])
    return Mesh(vertices, np.array(faces), uv, np.full((8, 8, 3), 200, dtype=np.uint8))


def make_record(
    number: int = 0,
    side: Side = "right",
    *,
    mesh: Mesh | None = None,
    centre: tuple[float, float, float] = (0.06, -0.03, 0.5),
    focal: float = 700.0,
    provenance: dict[str, Any] | None = None,
    photo_name: str = "photo.jpg",
    pair_id: str | None = None,
) -> Record:
    """One pair: a posed open hand with an object at its palm, both near `centre` (metres, camera frame)."""
    rng = np.random.default_rng(number)
    model = load_hand(side)
    hand_pose = (rng.normal(size=45) * 0.5 * model.component_std) @ model.components
    orient = Rotation.from_euler("xyz", rng.uniform(-1, 1, 3)).as_rotvec()
    at_origin = HandPose(side, orient, hand_pose, rng.normal(size=10) * 0.3, np.zeros(3))
    verts, _ = model.posed(at_origin)
    pose = HandPose(side, orient, hand_pose, at_origin.betas, np.asarray(centre) - verts.mean(0))
    verts, joints = model.posed(pose)

    mesh = mesh or (box_mesh() if number % 2 else cylinder_mesh())
    scale = 0.09 / np.linalg.norm(np.ptp(mesh.vertices, 0))
    rotation = Rotation.from_euler("xyz", rng.uniform(-1, 1, 3)).as_matrix()
    spot = verts[model.zone == 6].mean(0) + np.array([0.01, 0.0, 0.01])
    transl = spot - scale * rotation @ ((mesh.vertices.min(0) + mesh.vertices.max(0)) / 2)
    object_pose = ObjectPose(rotation, transl, scale)
    object_verts = scale * mesh.vertices @ rotation.T + transl

    camera = from_focal(focal, WIDTH, HEIGHT, "given")
    hand_z = depth_map(verts, model.faces, camera.K, HEIGHT, WIDTH)
    object_z = depth_map(object_verts, mesh.faces, camera.K, HEIGHT, WIDTH)
    hand_mask, object_mask = np.isfinite(hand_z) & (hand_z < object_z), np.isfinite(object_z) & (object_z <= hand_z)
    image = np.broadcast_to(np.array(GROUND_RGB, np.uint8), (HEIGHT, WIDTH, 3)).copy()
    completed = image.copy()
    image[hand_mask], image[object_mask], completed[np.isfinite(object_z)] = HAND_RGB, OBJECT_RGB, OBJECT_RGB
    keypoints = joints[:, :2] / joints[:, 2:] * focal + [WIDTH / 2, HEIGHT / 2]
    empty = np.zeros((HEIGHT, WIDTH), bool)
    reconstruction = Reconstruction(
        camera=camera,
        masks=Masks(hand_mask, object_mask, empty),
        completion=Completion(np.isfinite(object_z), completed),
        estimate=HandEstimate(pose, model.name, keypoints, 0.0, 0.0, 1.0),
        hand=pose,
        hand_verts=verts,
        hand_joints=joints,
        object=ObjectMesh(mesh, ViewPrior(np.eye(3), np.zeros(3)), "cuboid"),
        object_pose=object_pose,
        contacts=Contacts(empty, empty, np.zeros(778), ("palm",)),
        metrics={"hand_iou": 0.9},
        diagnostics={},
    )
    photo = Photo(photo_name, hashlib.sha256(image.tobytes() + bytes([number % 256])).hexdigest(), image)
    return Record(
        pair_id=pair_id or f"pair-{number}",
        revision=2,
        photo=photo,
        reconstruction=reconstruction,
        provenance={"licence": "CC0-1.0", "source": "test", "verdict": "accept", **(provenance or {})},
    )
