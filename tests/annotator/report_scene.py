"""A synthetic pair for report tests: the open hand around a printed carton, placed as a photo would show it."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from annotator.report import PairView
from pipeline.geometry.camera import from_focal, project
from pipeline.geometry.preview import Layer, render
from pipeline.geometry.raster import coverage, depth_map
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand_model import load_hand
from pipeline.types import (
    F64,
    I64,
    PARTS,
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

WIDTH, HEIGHT = 480, 400
CARTON = np.array([0.060, 0.044, 0.120])  # metres
# A grasp of a carton, in standard deviations of the hand's first principal components, and where the carton is.
GRASP = np.array([1.08, 3.06, 1.56, -0.43, 0.31, -0.24, 0.39, 1.08, -0.48, -0.57, 0.59, 0.41, 0.24, -0.34])
CARTON_CENTER = np.array([-0.1157, -0.0413, 0.019])
CARTON_AXES = np.array([[0.876, 0.143, -0.461], [-0.144, 0.989, 0.032], [0.460, 0.038, 0.887]])
# The camera stands on the back of the hand, the thumb is up: rows are the camera's x, y, z in the hand's frame.
VIEW = np.array([[-0.7660, 0.6428, 0.0], [-0.1663, -0.1983, -0.9659], [-0.6209, -0.7399, 0.2588]])


@lru_cache(maxsize=4)
def pair_view(side: Side = "right", name: str = "carton.jpg", pair_id: str = "p1") -> PairView:
    """One pair with every field filled; the left hand is the right one's mirror image."""
    reconstruction, image = _reconstruction(side)
    return PairView(
        pair_id=pair_id,
        photo_name=name,
        photo=Photo(name=name, sha256="0" * 64, image=image),
        reconstruction=reconstruction,
        status="preannotated",
        revision=2,
        verdict=None,
        confidence=0.71 if side == "right" else 0.42,
        seconds={"segment": 2.7, "hand": 1.2, "refinement": 6.4},
        history=[
            {"revision": 1, "trigger": "preannotate", "verdict": "fix", "reviewer": "anna", "comment": "thumb <b>"}
        ],
    )


def carton_mesh() -> Mesh:
    """A cuboid of six printed panels, 24 vertices, side 1 along its longest edge."""
    vertices, faces, uv = [], [], []
    half = CARTON / CARTON.max() / 2
    for panel, (axis, sign) in enumerate((a, s) for a in range(3) for s in (1, -1)):
        normal = np.eye(3)[axis] * sign
        up = np.eye(3)[2] if axis != 2 else np.eye(3)[1]
        right = np.cross(up, normal)
        for b in (1, -1):
            for a in (-1, 1):
                vertices.append((normal + a * right + b * up) * half)
                uv.append([(panel + (a + 1) / 2) / 6, (1 - b) / 2])
        faces += [[4 * panel, 4 * panel + 2, 4 * panel + 1], [4 * panel + 1, 4 * panel + 2, 4 * panel + 3]]
    return Mesh(np.array(vertices), np.array(faces, dtype=np.int64), np.array(uv, dtype=float), _print())


def _print() -> np.ndarray:
    """Six panels beside each other, (128, 384, 3)."""
    texture = np.empty((128, 384, 3), dtype=np.uint8)
    for panel, base in enumerate(
        ((196, 64, 52), (214, 92, 60), (52, 110, 120), (60, 128, 140), (230, 222, 200), (90, 70, 60))
    ):
        tile = np.full((128, 64, 3), base, dtype=np.uint8)
        cv2.rectangle(tile, (4, 30), (59, 60), (242, 236, 220), -1)
        cv2.putText(tile, "OATS", (9, 51), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
        cv2.circle(tile, (32, 92), 17, (246, 190, 90), -1, cv2.LINE_AA)
        texture[:, 64 * panel : 64 * panel + 64] = tile
    return texture


def _reconstruction(side: Side) -> tuple[Reconstruction, np.ndarray]:
    model = load_hand(side)
    mirror = np.array([1.0, 1.0, 1.0] if side == "right" else [-1.0, 1.0, 1.0])
    right = load_hand("right")
    hand_pose = right.mean_pose + GRASP @ (right.components[:14] * right.component_std[:14, None])
    if side == "left":  # an axis-angle vector is a pseudovector: mirroring x flips y and z
        hand_pose = (hand_pose.reshape(15, 3) * [1, -1, -1]).reshape(45)
    rotation = np.diag(mirror) @ VIEW @ np.diag(mirror)
    middle = rotation @ (CARTON_CENTER * mirror)
    pose = HandPose(
        side=side,
        global_orient=cv2.Rodrigues(rotation)[0].reshape(3),
        hand_pose=hand_pose,
        betas=np.zeros(10),
        transl=np.array([0.0, 0.01, 0.42]) - middle,
    )
    verts, joints = model.posed(pose)
    mesh = carton_mesh()
    axes = rotation @ np.diag(mirror) @ CARTON_AXES @ np.diag(mirror)
    # The model's wrist stays where it is under global_orient, not the origin: measure where the hand ended up.
    wrist = model.posed(HandPose(side, np.zeros(3), hand_pose, np.zeros(10), np.zeros(3)))[1][0]
    center = rotation @ (CARTON_CENTER * mirror - wrist) + joints[0]
    placed = ObjectPose(rotation=axes, transl=center, scale=float(CARTON.max()))
    object_verts = placed.scale * mesh.vertices @ axes.T + center
    return _observed(pose, verts, joints, model.faces, mesh, placed, object_verts)


def _observed(
    pose: HandPose, verts: F64, joints: F64, faces: I64, mesh: Mesh, placed: ObjectPose, object_verts: F64
) -> tuple[Reconstruction, np.ndarray]:
    """Everything that follows from the two meshes: the photo, masks, contacts and figures."""
    camera = from_focal(500.0, WIDTH, HEIGHT, "prior")
    model = load_hand(pose.side)
    hand_z = depth_map(verts, faces, camera.K, HEIGHT, WIDTH)
    object_z = depth_map(object_verts, mesh.faces, camera.K, HEIGHT, WIDTH)
    amodal = coverage(project(object_verts, camera.K), mesh.faces, HEIGHT, WIDTH) >= 0.5
    hand = np.isfinite(hand_z) & (hand_z <= object_z)
    visible = np.isfinite(object_z) & (object_z < hand_z)
    distance = SignedDistance(object_verts, mesh.faces).query(verts)[0]
    layers = [
        Layer(verts, faces, color=(0.80, 0.58, 0.46)),
        Layer(object_verts, mesh.faces, uv=mesh.uv, texture=mesh.texture),
    ]
    image = _over_wall(render(layers, camera.K, HEIGHT, WIDTH))
    completed = _over_wall(render(layers[1:], camera.K, HEIGHT, WIDTH))
    reconstruction = Reconstruction(
        camera=camera,
        masks=Masks(hand=hand, object=visible, arm=np.zeros_like(hand), notes=("synthetic",)),
        completion=Completion(amodal_mask=amodal, image=completed),
        estimate=HandEstimate(pose, "open-hand", project(joints, camera.K), 1.5, 3.0, 0.9),
        hand=pose,
        hand_verts=verts,
        hand_joints=joints,
        object=ObjectMesh(mesh, ViewPrior(np.eye(3), np.array([0.0, 0.0, 5.0])), "cuboid", {"cuboid": 0.9}),
        object_pose=placed,
        contacts=Contacts(
            front=amodal & hand,
            back=np.isfinite(hand_z) & visible,
            distance=distance,
            touching=tuple(p for p in PARTS if distance[model.zone_vertices(p)].min() < 0.005),
        ),
        metrics={
            "hand_iou": 0.93,
            "object_iou": 0.97,
            "penetration_mm": 1.8,
            "intersection_cm3": 0.42,
            "displacement_cm": float("nan"),
            "contact_fraction": 0.31,
        },
        diagnostics={"warnings": ["the wrist leaves the picture"], "confidence": 0.71, "object_kind": "cuboid"},
    )
    return reconstruction, image


def _over_wall(rgba: np.ndarray) -> np.ndarray:
    """RGBA over a soft grey wall, (H, W, 3)."""
    y, x = np.mgrid[0 : rgba.shape[0], 0 : rgba.shape[1]]
    wall = np.stack([190 - 0.08 * y - 0.02 * x] * 3, -1)
    alpha = rgba[..., 3:] / 255.0
    return np.rint(alpha * rgba[..., :3] + (1 - alpha) * wall).astype(np.uint8)
