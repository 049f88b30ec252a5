"""The hand fit on synthetic detections: the open hand itself, posed, looked at, and disturbed."""

import numpy as np
import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.geometry.camera import from_focal, project, rays
from pipeline.geometry.raster import depth_layers
from pipeline.hand.anatomy import beyond_limits, joint_limits
from pipeline.hand.fit import LANDMARKS, LandmarkFitter, fit_keypoints
from pipeline.hand.least_squares import minimise
from pipeline.hand.registration import kabsch, place_in_depth, rotation_to
from pipeline.hand_model import load_hand
from pipeline.types import HandDetection, HandPose, Photo

torch.set_num_threads(1)
CAMERA = from_focal(1100.0, 960, 1280, "given")
ORIENTATIONS = {"right": (0.4, 1.8, -1.2), "left": (0.5, -1.5, 1.3)}


def grasping(side, seed):
    """A plausible grasp half a metre away, off the optical axis."""
    draw = np.random.default_rng(seed)
    model = load_hand(side)
    grasp = draw.normal(size=45) * model.component_std * 0.8
    pose = HandPose(
        side=side,
        global_orient=np.array(ORIENTATIONS[side]) + draw.normal(size=3) * 0.4,
        hand_pose=model.mean_pose + grasp @ model.components,
        betas=np.r_[0.3, 0.5, -0.4, np.zeros(7)],
        transl=np.array([0.08, -0.05, 0.55]),
    )
    return pose, *model.posed(pose)


def detected(joints, seed, noise_px=2.0, noise_m=0.003):
    """What the landmark network would say: a 3D shape of its own convention and orientation, and noise."""
    draw = np.random.default_rng(seed)
    landmarks = LANDMARKS.double().numpy() @ joints
    keypoints = project(joints, CAMERA.K) + draw.normal(size=(21, 2)) * noise_px
    looking = rotation_to(rays(keypoints.mean(0), CAMERA.K))
    world = (landmarks - landmarks.mean(0)) @ looking + draw.normal(size=(21, 3)) * noise_m
    return keypoints, world


def fitted_joints(estimate):
    return load_hand(estimate.pose.side).posed(estimate.pose)[1]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("seed", [1, 2])
def test_recovers_side_shape_and_depth(side, seed):
    _, _, joints = grasping(side, seed)
    keypoints, world = detected(joints, seed)
    estimate = fit_keypoints(keypoints, CAMERA, world=world)
    found = fitted_joints(estimate)
    rooted = np.linalg.norm((found - found.mean(0)) - (joints - joints.mean(0)), axis=1)
    assert estimate.pose.side == side
    assert rooted.mean() < 0.006
    assert abs(found[:, 2].mean() / joints[:, 2].mean() - 1) < 0.08  # metric, up to this hand's own size
    assert estimate.residual_px < 0.015 * np.ptp(keypoints, axis=0).max()
    assert estimate.residual_mm < 6
    assert estimate.model == "open-hand"
    assert 0.3 < estimate.score <= 1


def test_keypoints_alone_with_a_given_side():
    _, _, joints = grasping("right", 5)
    keypoints = project(joints, CAMERA.K)
    estimate = fit_keypoints(keypoints, CAMERA, side="right", placed_by_person=True)
    assert estimate.pose.side == "right"
    assert estimate.residual_px < 0.01 * np.ptp(keypoints, axis=0).max()
    assert 0.4 < fitted_joints(estimate)[:, 2].mean() < 0.75


def test_a_persons_side_overrules_the_detector():
    _, _, joints = grasping("right", 3)
    keypoints, world = detected(joints, 3)
    assert fit_keypoints(keypoints, CAMERA, world=world, side="left", right_score=1.0).pose.side == "left"


def test_the_detectors_side_decides_when_the_shape_is_flat():
    _, _, joints = grasping("left", 4)
    keypoints, world = detected(joints, 4)
    world[:, 2] *= 0.05
    assert fit_keypoints(keypoints, CAMERA, world=world, right_score=0.95).pose.side == "right"
    assert fit_keypoints(keypoints, CAMERA, world=world, right_score=0.05).pose.side == "left"


def test_same_evidence_same_bytes():
    keypoints, world = detected(grasping("right", 6)[2], 6)
    first, second = (fit_keypoints(keypoints, CAMERA, world=world) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(vars(first.pose).values(), vars(second.pose).values(), strict=True))


def silhouette(verts):
    faces = load_hand("right").faces
    return depth_layers(verts, faces, CAMERA.K, CAMERA.height, CAMERA.width, k=1).face[..., 0] >= 0


def test_mask_pulls_the_mesh_over_the_visible_hand():
    _, verts, joints = grasping("right", 7)
    keypoints, world = detected(joints, 7, noise_px=0.0, noise_m=0.0)
    keypoints[:, 0] += 30  # all keypoints off the hand: only the mask knows better
    photo = Photo("synthetic", "", np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8))
    detection = HandDetection(keypoints, world, 1.0, 1.0, "right")
    mask = silhouette(verts)

    def uncovered(hand_mask):
        pose = LandmarkFitter({}).fit(photo, detection, hand_mask, CAMERA).pose
        return (mask & ~silhouette(load_hand("right").posed(pose)[0])).sum() / mask.sum()

    assert uncovered(mask) < 0.95 * uncovered(np.zeros_like(mask))  # lightly: keypoints stay the main evidence


def test_broken_keypoints_are_refused_by_name():
    photo = Photo("cup.jpg", "", np.zeros((10, 10, 3), np.uint8))
    detection = HandDetection(np.full((21, 2), np.nan), np.zeros((21, 3)), 1.0, 0.5)
    with pytest.raises(PipelineError, match=r"cup\.jpg"):
        LandmarkFitter({}).fit(photo, detection, np.zeros((10, 10), bool), CAMERA)


@pytest.mark.parametrize("side", ["right", "left"])
def test_grasps_are_within_the_joint_limits(side):
    model = load_hand(side)
    draw = np.random.default_rng(0).normal(size=(200, 45)) * model.component_std
    poses = torch.as_tensor(model.mean_pose + draw @ model.components, dtype=torch.float32)
    excess = beyond_limits(poses, joint_limits(side))
    assert float((excess > 0.1).float().mean()) < 0.01
    backwards = -torch.as_tensor(model.mean_pose, dtype=torch.float32)
    assert float(beyond_limits(backwards, joint_limits(side)).max()) > 0.5


def test_least_squares_reaches_the_minimum():
    def rosenbrock(x):
        return torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])

    x, cost = minimise(rosenbrock, torch.tensor([-1.2, 1.0], dtype=torch.float64), steps=60)
    assert cost < 1e-8
    assert torch.allclose(x, torch.ones(2, dtype=torch.float64), atol=1e-3)


def test_placements_are_exact_without_noise():
    draw = np.random.default_rng(0)
    points, transl = draw.normal(size=(21, 3)) * 0.05, np.array([0.1, -0.2, 0.8])
    rotation = rotation_to(np.array([0.3, 0.2, 1.0]))
    assert np.allclose(rotation @ (0, 0, 1), np.array([0.3, 0.2, 1.0]) / np.linalg.norm([0.3, 0.2, 1.0]))
    assert np.allclose(kabsch(points, points @ rotation.T + 1.0), rotation)
    assert np.allclose(place_in_depth(points, project(points + transl, CAMERA.K), CAMERA.K), transl)
