"""Hands as HaMeR and WiLoR answer them, made by drawing the open hand in their documented camera, and brought back.

The fixture is a hand in the photo's own camera. The network would see it in a crop: orientation relative to the ray
through the crop's centre, left hands mirrored, and the weak-perspective camera that draws its joints nearest to where
the photo shows them (that is what it is trained for). That camera is found here by a general optimiser.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from pipeline.errors import PipelineError
from pipeline.geometry.camera import from_focal, project, rays
from pipeline.hand.given import GivenHand
from pipeline.hand.predicted import estimate
from pipeline.hand.saved import read_hands
from pipeline.hand.weak_perspective import FOCAL, CropHand, as_seen, crop_pose, full_translation, to_photo
from pipeline.hand_model import load_hand
from pipeline.types import F64, Camera, HandDetection, HandPose, Photo, Side

PLACES = {  # focal length, width, height, pixel of the hand, metres
    "middle": (1100, 1280, 960, (640, 480), 0.5),
    "corner": (1100, 1280, 960, (120, 850), 0.45),
    "cut by the border": (900, 1280, 960, (1250, 60), 0.35),
    "upright photo, far": (1300, 960, 1280, (300, 900), 0.9),
    "telephoto": (8000, 1280, 960, (1000, 300), 5.0),
}
NOTHING = np.zeros((0, 0), bool)


def photographed(side: Side, place: str, seed: int = 0, betas: bool = True) -> tuple[HandPose, Camera]:
    focal, width, height, pixel, depth = PLACES[place]
    rng = np.random.default_rng(seed)
    model, camera = load_hand(side), from_focal(focal, width, height, "given")
    orient = Rotation.random(random_state=seed).as_rotvec()
    articulation = model.mean_pose + 0.15 * rng.standard_normal(45)
    pose = HandPose(side, orient, articulation, 0.5 * rng.standard_normal(10) * betas, np.zeros(3))
    knuckle = model.posed(pose)[1][9]
    return replace(pose, transl=rays(np.array(pixel, float), camera.K) * depth - knuckle), camera


def predicted(pose: HandPose, camera: Camera, with_skin: bool = True) -> CropHand:
    """What the network answers of a hand."""
    model = load_hand(pose.side)
    pixels = project(model.posed(pose)[1], camera.K)
    centre = (pixels.min(0) + pixels.max(0)) / 2
    size = 2.0 * float(np.ptp(pixels, axis=0).max())
    x, y, z = rays(centre, camera.K) / np.linalg.norm(rays(centre, camera.K))
    about = np.array([-y, x, 0.0])
    about *= np.arccos(z) / max(np.linalg.norm(about), 1e-12)
    seen = Rotation.from_rotvec(about).inv() * Rotation.from_rotvec(pose.global_orient)
    flip = np.ones(3) if pose.side == "right" else np.array([1.0, -1.0, -1.0])
    as_right = HandPose(
        "right", seen.as_rotvec() * flip, (pose.hand_pose.reshape(15, 3) * flip).ravel(), pose.betas, np.zeros(3)
    )
    verts, joints = load_hand("right").posed(as_right)
    mirrored = joints if pose.side == "right" else joints * [-1, 1, 1]
    longer = max(camera.width, camera.height)

    def away(cam: F64) -> F64:
        scale, tx, ty = cam[0], cam[1], cam[2]
        span = size * scale
        shift = np.array(
            [2 * (centre[0] - camera.width / 2) / span + tx, 2 * (centre[1] - camera.height / 2) / span + ty]
        )
        depth = 2 * FOCAL * longer / span
        drawn = FOCAL * longer * (mirrored[:, :2] + shift) / (mirrored[:, 2:] + depth)
        return np.asarray(drawn + np.array([camera.width, camera.height]) / 2 - pixels).ravel()

    found = least_squares(away, [3.0, 0.0, 0.0], xtol=1e-14, ftol=1e-14, gtol=1e-14).x
    found[1] *= 1 if pose.side == "right" else -1
    skin = (verts, joints) if with_skin else (None, None)
    return CropHand(pose.side, as_right.global_orient, as_right.hand_pose, pose.betas, found, centre, size, *skin)


def detection_of(pose: HandPose, camera: Camera, side: Side | None = None, right_score: float = 0.5) -> HandDetection:
    keypoints = project(load_hand(pose.side).posed(pose)[1], camera.K)
    return HandDetection(keypoints, np.zeros((21, 3)), 0.9, right_score, side)


def test_the_camera_is_the_documented_one() -> None:
    """METHOD 1.2: f = 5000/256 max(W, H), bs = box s, t = (2(cx-W/2)/bs + tx, 2(cy-H/2)/bs + ty, 2f/bs)."""
    hand = CropHand(
        "right", np.zeros(3), np.zeros(45), np.zeros(10), np.array([0.8, 0.1, -0.2]), np.array([300.0, 200.0]), 250.0
    )
    focal, span = 5000 / 256 * 1280, 250.0 * 0.8
    expected = [2 * (300 - 640) / span + 0.1, 2 * (200 - 480) / span - 0.2, 2 * focal / span]
    np.testing.assert_allclose(full_translation(hand, 1280, 960), expected, rtol=1e-9)
    point = np.array([[0.03, -0.02, 0.05]])
    drawn = focal * (point + expected)[:, :2] / (point + expected)[:, 2:] + [640, 480]
    np.testing.assert_allclose(as_seen(hand, point, 1280, 960), drawn, atol=1e-6)
    np.testing.assert_allclose(as_seen(replace(hand, side="left"), point, 1280, 960)[:, 1], drawn[:, 1], atol=1e-6)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("place", PLACES)
def test_a_hand_comes_back_within_a_millimetre_and_half_a_pixel(side: Side, place: str) -> None:
    for seed in (1, 2):
        pose, camera = photographed(side, place, seed)
        back = to_photo(predicted(pose, camera), load_hand(side), camera)
        model = load_hand(side)
        (verts, joints), (given_verts, given_joints) = model.posed(back), model.posed(pose)
        shape = np.linalg.norm((verts - joints[0]) - (given_verts - given_joints[0]), axis=1)
        assert shape.max() < 0.001
        assert np.linalg.norm(joints[0] - given_joints[0]) < 0.001 * np.linalg.norm(given_joints[0]) / 0.5
        assert np.linalg.norm(project(verts, camera.K) - project(given_verts, camera.K), axis=1).max() < 0.5


def test_what_remains_is_perspective_which_shrinks_with_the_focal_length() -> None:
    gaps = {}
    for place in ("middle", "telephoto"):
        pose, camera = photographed("right", place, 1)
        hand = predicted(pose, camera)
        joints = load_hand("right").posed(crop_pose(hand))[1]
        drawn = as_seen(hand, joints, camera.width, camera.height)
        seen = project(load_hand("right").posed(to_photo(hand, load_hand("right"), camera))[1], camera.K)
        gaps[place] = np.median(np.linalg.norm(drawn - seen, axis=1))
    assert gaps["telephoto"] < 1 < gaps["middle"] < 15


@pytest.mark.parametrize("side", ["right", "left"])
def test_another_models_skin_is_refitted_to_our_hand(side: Side) -> None:
    pose, camera = photographed(side, "corner", 3)
    hand = predicted(pose, camera)
    strange = replace(hand, betas=hand.betas + 2.0)  # numbers of another model's shape space
    found = estimate(strange, detection_of(pose, camera, side), camera)
    given = load_hand(side).posed(pose)[0]
    verts = load_hand(side).posed(found.pose)[0]
    assert np.median(np.linalg.norm(verts - given, axis=1)) < 0.001
    assert np.linalg.norm(project(verts, camera.K) - project(given, camera.K), axis=1).mean() < 1.0
    assert found.residual_mm < 1.0
    assert 0.88 < found.score <= 0.9
    assert found.residual_px < 1.0


def test_a_prediction_that_is_no_hand_is_refused() -> None:
    pose, camera = photographed("right", "middle", 1)
    hand = predicted(pose, camera)
    for broken in (replace(hand, pred_cam=np.array([-1.0, 0, 0])), replace(hand, betas=np.full(10, np.nan))):
        with pytest.raises(PipelineError, match="not finite, or lies behind the camera"):
            to_photo(broken, load_hand("right"), camera)


# Saved outputs.


def photo_of(camera: Camera, name: str = "cup.jpg") -> Photo:
    return Photo(name, "", np.zeros((camera.height, camera.width, 3), np.uint8))


def easyhoi(hands: list[CropHand], camera: Camera) -> dict[str, object]:
    """The dict that EasyHOI's HaMeR demo saves."""
    matrices = [
        Rotation.from_rotvec(np.concatenate([h.global_orient, h.hand_pose]).reshape(16, 3)).as_matrix() for h in hands
    ]
    return {
        "mano_params": {
            "global_orient": np.stack([m[:1] for m in matrices]).astype(np.float32),
            "hand_pose": np.stack([m[1:] for m in matrices]).astype(np.float32),
            "betas": np.stack([h.betas for h in hands]).astype(np.float32),
        },
        "cam_transl": np.stack([full_translation(h, camera.width, camera.height) for h in hands]).astype(np.float32),
        "is_right": np.array([float(h.side == "right") for h in hands], np.float32),
        "boxes": [[np.float32(1.0)] * 4 for _ in hands],
        "batch_size": len(hands),
    }


@pytest.mark.parametrize("suffix", [".pt", ".json", ".npz"])
def test_easyhois_files_give_the_hand_on_the_detection(tmp_path: Path, suffix: str) -> None:
    one, camera = photographed("left", "middle", 1, betas=False)
    other = replace(photographed("right", "middle", 2, betas=False)[0], transl=one.transl + np.array([0.2, 0, 0]))
    saved = easyhoi([predicted(pose, camera) for pose in (other, one)], camera)
    path = tmp_path / f"cup{suffix}"
    if suffix == ".pt":
        torch.save(saved, path)
    elif suffix == ".json":
        path.write_text(json.dumps(saved, default=lambda value: np.asarray(value).tolist()))
    else:
        np.savez(path, cam_transl=saved["cam_transl"], is_right=saved["is_right"], **saved["mano_params"])
    found = GivenHand({"path": str(tmp_path)}).fit(photo_of(camera), detection_of(one, camera), NOTHING, camera)
    assert found.pose.side == "left"
    given, verts = (load_hand("left").posed(pose)[0] for pose in (one, found.pose))
    assert np.linalg.norm(project(verts, camera.K) - project(given, camera.K), axis=1).max() < 2.0
    assert np.linalg.norm(verts - given, axis=1).max() < 0.005  # the crop's centre is not in the file


def test_a_pt_file_is_read_as_data_and_never_run(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "ran"),)

    torch.save({"mano_params": Attack()}, tmp_path / "cup.pt")
    camera = photographed("left", "middle")[1]
    with pytest.raises(PipelineError, match=r"cup\.pt: cannot be read as data"):
        read_hands(tmp_path, photo_of(camera))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("side", ["right", "left"])
def test_wilor_minis_answers_which_are_mirrored_back_already(tmp_path: Path, side: Side) -> None:
    pose, camera = photographed(side, "corner", 4)
    hand = predicted(pose, camera)
    flip, turn = ([1, 1, 1], [1, 1, 1]) if side == "right" else ([-1, 1, 1], [1, -1, -1])
    answer = {
        "global_orient": hand.global_orient.reshape(1, 1, 3) * turn,
        "hand_pose": hand.hand_pose.reshape(1, 15, 3) * turn,
        "betas": hand.betas[None],
        "pred_cam_t_full": full_translation(hand, camera.width, camera.height)[None],
        "pred_vertices": hand.verts[None] * flip,
        "pred_keypoints_3d": hand.joints[None] * flip,
    }
    entry = {"is_right": float(side == "right"), "wilor_preds": {k: np.asarray(v).tolist() for k, v in answer.items()}}
    (tmp_path / "cup.json").write_text(json.dumps([entry]))
    found = GivenHand({"path": str(tmp_path / "cup.json")}).fit(
        photo_of(camera), detection_of(pose, camera), NOTHING, camera
    )
    given, verts = (load_hand(side).posed(p)[0] for p in (pose, found.pose))
    assert found.pose.side == side
    assert np.linalg.norm(project(verts, camera.K) - project(given, camera.K), axis=1).mean() < 1.0


def test_our_own_parameters_come_back_as_they_are(tmp_path: Path) -> None:
    poses = [photographed("right", "middle", 5)[0], photographed("left", "corner", 6)[0]]
    camera = photographed("left", "corner", 6)[1]
    fields = {
        name: np.stack([getattr(p, name) for p in poses]) for name in ("global_orient", "hand_pose", "betas", "transl")
    }
    np.savez(tmp_path / "cup.npz", side=np.array([p.side for p in poses]), **fields)
    given = GivenHand({"path": str(tmp_path)})
    found = given.fit(photo_of(camera), detection_of(poses[1], camera), NOTHING, camera)
    assert found.pose.side == "left"
    np.testing.assert_array_equal(found.pose.transl, poses[1].transl)
    before = given.weights_digest
    np.savez(tmp_path / "cup.npz", side=np.array("right"), **{name: value[0] for name, value in fields.items()})
    assert given.weights_digest != before
    with pytest.raises(PipelineError, match=r"no hand of .* lies on the detected one"):
        given.fit(photo_of(camera), detection_of(poses[1], camera), NOTHING, camera)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"cam_transl": [[0, 0, 9]], "is_right": [1]}, "has no 'mano_params'"),
        ([{"is_right": 1}], "has no 'wilor_preds'"),
        ("[", "Expecting value"),
    ],
)
def test_files_of_another_kind_are_one_line(tmp_path: Path, content: object, reason: str) -> None:
    (tmp_path / "cup.json").write_text(content if isinstance(content, str) else json.dumps(content))
    camera = photographed("left", "middle")[1]
    with pytest.raises(PipelineError, match=rf"cup\.json: is not what HaMeR or WiLoR saves: .*{reason}"):
        read_hands(tmp_path, photo_of(camera))
    with pytest.raises(PipelineError, match=r"mug\.jpg: no saved hand in"):
        read_hands(tmp_path, photo_of(camera, "mug.jpg"))
