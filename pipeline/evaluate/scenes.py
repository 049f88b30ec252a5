"""Benchmark scenes: a recorded grasp, a drawn camera, and everything about the picture known exactly.

Every draw of a scene comes from (seed, number of the grasp): which hand (half of them mirrored into left ones), the
camera's azimuth, elevation, roll, field of view and distance, and later the light and the noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.evaluate.grasps import Grasp, closed, fit_hand, load_mesh
from pipeline.geometry.camera import from_focal, project
from pipeline.geometry.raster import depth_map
from pipeline.hand_model import HandModel, load_hand
from pipeline.types import F64, I64, Camera, HandEstimate, HandPose, Mask, Masks, Mesh, ObjectPose

WIDTH, HEIGHT = 640, 480
FOV_DEG = (40.0, 65.0)  # of the longer side: a phone's portrait and main lens
FILL = (0.65, 0.95)  # of the picture's height, by the sphere around hand and object
ELEVATION_DEG = (-80.0, 80.0)
ROLL_DEG = 10.0  # standard deviation
SEEN_HAND, SEEN_OBJECT = 0.35, 0.25  # least visible share of each silhouette; a view that shows less is drawn again
VIEWS = 40
MIRROR = np.array([-1.0, 1.0, 1.0])  # of positions; rotation vectors turn the other way: -MIRROR
# What single-image hand estimators get wrong, as root mean squares: per joint, wrist, metres along the ray, pixels.
NOISE_ARTICULATION_DEG, NOISE_WRIST_DEG, NOISE_DEPTH, NOISE_PX = 8.0, 10.0, 0.05, 10.0


@dataclass(frozen=True)
class Scene:
    """A hand holding an object as one camera sees it; camera frame, metres, pixels of the picture."""

    name: str
    grasp: Grasp
    seed: int  # of the light, the skin's tone and the room
    noise: int  # of the estimator's errors, the unknown pose and the picture's grain: as the seed, unless drawn anew
    camera: Camera
    hand: HandPose
    hand_verts: F64  # (778, 3)
    hand_joints: F64  # (21, 3) OpenPose order
    residual_mm: float  # what the open hand could not explain of the recorded joints
    mesh: Mesh  # textured object in its own frame, metres
    solid: tuple[F64, I64]  # the same watertight: (V, 3), (F, 3)
    object_pose: ObjectPose  # scale 1
    masks: Masks  # exact visible masks
    amodal: Mask  # (H, W) complete object silhouette
    depth: F64  # (H, W) metres of what is seen, inf in the background
    down: F64  # (3,) unit vector of gravity
    elevation_deg: float  # of the camera above the horizon

    @property
    def model(self) -> HandModel:
        return load_hand(self.hand.side)


def make_scene(grasp: Grasp, seed: int) -> Scene:
    """The scene of one grasp. Raises BadMesh, or PipelineError when no view shows hand and object."""
    rng = np.random.default_rng([seed, grasp.number])
    right, residual = fit_hand(grasp.joints)
    mesh, down, hand = load_mesh(grasp.mesh_file), grasp.down, right
    if rng.random() < 0.5:
        mesh, down, hand = mirrored_mesh(mesh), down * MIRROR, mirrored_hand(right)
    solid = closed(mesh, grasp.mesh_file)
    views: list[_View] = []
    while len(views) < VIEWS and not (views and views[-1].share >= 1):
        views.append(_view(rng, hand, solid, down))
    best = max(views, key=lambda view: view.share)
    verts, joints = load_hand(hand.side).posed(best.hand)
    drawn = int(rng.integers(2**31))
    return Scene(
        name=f"{grasp.object_id} #{grasp.number} {hand.side}",
        grasp=grasp,
        seed=drawn,
        noise=drawn,
        camera=best.camera,
        hand=best.hand,
        hand_verts=verts,
        hand_joints=joints,
        residual_mm=residual,
        mesh=mesh,
        solid=solid,
        object_pose=best.object_pose,
        masks=best.masks,
        amodal=best.amodal,
        depth=best.depth,
        down=best.object_pose.rotation @ down,
        elevation_deg=best.elevation_deg,
    )


@dataclass(frozen=True)
class _View:
    camera: Camera
    hand: HandPose
    object_pose: ObjectPose
    masks: Masks
    amodal: Mask
    depth: F64
    elevation_deg: float
    share: float  # of what must be visible, the scarcer of hand and object


def _view(rng: np.random.Generator, hand: HandPose, solid: tuple[F64, I64], down: F64) -> _View:
    model = load_hand(hand.side)
    verts = model.posed(hand)[0]
    cloud = np.concatenate([verts, solid[0]])
    centre = (cloud.min(0) + cloud.max(0)) / 2
    radius = float(np.linalg.norm(np.concatenate([verts, _near(solid[0], verts)]) - centre, axis=1).max())
    elevation = rng.uniform(*ELEVATION_DEG)
    rotation = _look(down, rng.uniform(0, 360), elevation, ROLL_DEG * rng.standard_normal())
    focal = WIDTH / 2 / math.tan(math.radians(rng.uniform(*FOV_DEG)) / 2)
    distance = radius * 2 * focal / (rng.uniform(*FILL) * HEIGHT)
    off = rng.uniform(-0.08, 0.08, 2) * HEIGHT / focal * distance
    transl = np.array([*off, distance]) - rotation @ centre
    camera = from_focal(focal, WIDTH, HEIGHT, "given")
    placed = ObjectPose(rotation, transl, 1.0)
    seen = moved_hand(hand, rotation, transl)
    hand_z = depth_map(model.posed(seen)[0], model.faces, camera.K, HEIGHT, WIDTH)
    object_z = depth_map(placed.place(solid[0]), solid[1], camera.K, HEIGHT, WIDTH)
    masks = Masks(
        hand=np.isfinite(hand_z) & (hand_z <= object_z),
        object=np.isfinite(object_z) & (object_z < hand_z),
        arm=np.zeros((HEIGHT, WIDTH), bool),
    )
    whole_hand, amodal = np.isfinite(hand_z), np.isfinite(object_z)
    share = min(
        masks.hand.sum() / max(whole_hand.sum(), 1) / SEEN_HAND,
        masks.object.sum() / max(amodal.sum(), 1) / SEEN_OBJECT,
    )
    return _View(camera, seen, placed, masks, amodal, np.minimum(hand_z, object_z), elevation, float(share))


def _near(points: F64, hand: F64) -> F64:
    """Object points no farther from the hand's centre than twice its size: a long tool may leave the picture."""
    centre = hand.mean(0)
    reach = 2 * np.linalg.norm(hand - centre, axis=1).max()
    return np.asarray(points[np.linalg.norm(points - centre, axis=1) < reach])


def _look(down: F64, azimuth_deg: float, elevation_deg: float, roll_deg: float) -> F64:
    """(3, 3) object -> camera rotation of a camera that looks from an elevation above the horizon."""
    side = np.cross(down, np.eye(3)[np.argmin(np.abs(down))])
    side /= np.linalg.norm(side)
    side = Rotation.from_rotvec(math.radians(azimuth_deg) * down).apply(side)
    forward = np.cross(side, down)  # level; x right, y down, z forward is right-handed
    level = np.stack([side, down, forward])
    return np.asarray(Rotation.from_euler("xz", [elevation_deg, roll_deg], degrees=True).as_matrix() @ level)


def moved_hand(hand: HandPose, rotation: F64, transl: F64) -> HandPose:
    """The hand after X -> rotation @ X + transl of all its points."""
    orient = (Rotation.from_matrix(rotation) * Rotation.from_rotvec(hand.global_orient)).as_rotvec()
    root = load_hand(hand.side).posed(hand)[1][0]
    return _rooted(replace(hand, global_orient=orient), rotation @ root + transl)


def _rooted(hand: HandPose, wrist: F64) -> HandPose:
    """The hand with its wrist joint at a point."""
    at_origin = replace(hand, transl=np.zeros(3))
    return replace(hand, transl=wrist - load_hand(hand.side).posed(at_origin)[1][0])


def mirrored_hand(hand: HandPose) -> HandPose:
    """The other hand, mirrored across the plane x = 0."""
    turn = np.array([1.0, -1.0, -1.0])
    return HandPose(
        side="left" if hand.side == "right" else "right",
        global_orient=hand.global_orient * turn,
        hand_pose=(hand.hand_pose.reshape(15, 3) * turn).reshape(45),
        betas=hand.betas,
        transl=hand.transl * MIRROR,
    )


def mirrored_mesh(mesh: Mesh) -> Mesh:
    """The mesh mirrored across x = 0, faces turned so that they still look outward."""
    return replace(mesh, vertices=mesh.vertices * MIRROR, faces=mesh.faces[:, ::-1].copy())


def estimate_of(scene: Scene) -> HandEstimate:
    """What an estimator would say of the scene's hand: the truth with its usual errors, and nothing truer beside it.

    Its keypoints are its own projected joints, so no stage can look the truth up in them.
    """
    rng = np.random.default_rng([scene.noise, 1])
    per_axis = math.radians(1) / math.sqrt(3)
    hand = scene.hand
    wrist_turn = Rotation.from_rotvec(rng.standard_normal(3) * NOISE_WRIST_DEG * per_axis)
    noisy = replace(
        hand,
        hand_pose=hand.hand_pose + rng.standard_normal(45) * NOISE_ARTICULATION_DEG * per_axis,
        global_orient=(wrist_turn * Rotation.from_rotvec(hand.global_orient)).as_rotvec(),
    )
    wrist = scene.hand_joints[0]
    depth = wrist[2] + NOISE_DEPTH * rng.standard_normal()
    shift = rng.standard_normal(2) * NOISE_PX / math.sqrt(2) / scene.camera.focal
    noisy = _rooted(noisy, np.array([*(wrist[:2] / wrist[2] + shift), 1.0]) * depth)
    joints = scene.model.posed(noisy)[1]
    return HandEstimate(noisy, scene.model.name, project(joints, scene.camera.K), NOISE_PX, 0.0, 1.0)
