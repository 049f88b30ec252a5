"""One known scene, written as every data set's own tools expect to read it: layout, keys, dtypes, units and frames.

Nothing here uses the readers or our exports. The open hand stands for MANO (a test installs it as such), so that pose
parameters can be given in every data set's convention: PCA about a mean (DexYCB), absolute (HO-3D), about a mean in the
world (ARCTIC).
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
import yaml
from scipy.spatial.transform import Rotation

from pipeline.hand_model import load_hand
from pipeline.hand_model.model import MANO_TO_OPENPOSE
from pipeline.types import F64, HandPose, Side

OPENGL = np.diag([1.0, -1.0, -1.0])
TO_MANO_ORDER = np.argsort(MANO_TO_OPENPOSE)
LID_RADIANS = 0.4
SHAPENET = "ShapeNetCore.v2"


@dataclass(frozen=True)
class Truth:
    """What every fake says: OpenCV camera, metres."""

    side: Side
    pose: HandPose
    verts: F64
    joints: F64
    mesh: trimesh.Trimesh  # of the object, in its own frame, not centred, no two axes alike
    rotation: F64
    transl: F64

    @property
    def placed(self) -> F64:
        return np.asarray(self.mesh.vertices @ self.rotation.T + self.transl)


@lru_cache(maxsize=2)
def truth(side: Side = "right") -> Truth:
    model = load_hand(side)
    rng = np.random.default_rng(3)
    pose = HandPose(
        side,
        np.array([0.3, 0.5, -0.2]),
        0.6 * model.mean_pose + 0.05 * rng.standard_normal(45),
        0.5 * rng.standard_normal(10),
        np.array([0.02, -0.03, 0.6]),
    )
    verts, joints = model.posed(pose)
    box = trimesh.creation.box([0.05, 0.07, 0.12])
    box = box.subdivide().subdivide()
    box.vertices = box.vertices * (1 + 0.2 * (box.vertices[:, :1] > 0)) + [0.01, 0.02, -0.03]
    transl = verts[model.zone > 0].mean(0) + np.array([0.0, 0.0, 0.03])
    return Truth(side, pose, verts, joints, box, Rotation.from_rotvec([0.4, -0.7, 0.2]).as_matrix(), transl)


def wrist_at_rest(t: Truth) -> F64:
    """(3,) the point that a hand's global orientation turns it about, without its translation."""
    rest = HandPose(t.side, np.zeros(3), np.zeros(45), t.pose.betas, np.zeros(3))
    return load_hand(t.side).posed(rest)[1][0]


def write_photo(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3)).astype(np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(noise, (width, height)))


def write_mesh(path: Path, mesh: trimesh.Trimesh, scale: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = mesh.copy()
    mesh.apply_scale(scale)
    path.write_text(trimesh.exchange.obj.export_obj(mesh, digits=10))


def write_pickle(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))


def write_yaml(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(value))


def dexycb(root: Path, frames: int = 2) -> str:
    """Sequence of one camera; frame 0 shows no hand. The name of the frame that does."""
    t, serial, sequence = truth(), "836212060125", root / "20200709-weiy" / "20200709_141754"
    model = load_hand(t.side)
    write_yaml(
        sequence / "meta.yml",
        {
            "serials": [serial],
            "num_frames": frames,
            "extrinsics": "20200702_151821",
            "ycb_ids": [5, 9],
            "ycb_grasp_ind": 1,
            "mano_sides": [t.side],
            "mano_calib": ["20200514_142106_weiy_right"],
        },
    )
    camera = {"fx": 613.0, "fy": 612.5, "ppx": 318.2, "ppy": 240.1}
    write_yaml(root / f"calibration/intrinsics/{serial}_640x480.yml", {"color": camera, "depth": camera})
    write_yaml(
        root / "calibration/mano_20200514_142106_weiy_right/mano.yml", {"betas": [float(b) for b in t.pose.betas]}
    )
    write_mesh(root / "models/010_potted_meat_can/textured_simple.obj", t.mesh)
    for frame in range(frames):
        write_photo(sequence / serial / f"color_{frame:06d}.jpg", 640, 480)
        shown = frame > 0
        pca = np.linalg.solve(model.components.T, t.pose.hand_pose - model.mean_pose)
        pose_m = np.concatenate([t.pose.global_orient, pca, t.pose.transl])[None].astype(np.float32)
        other = np.concatenate([np.eye(3), [[0.0], [0.0], [1.0]]], 1)
        seg = np.zeros((480, 640), np.uint8)
        seg[100:200, 100:200], seg[200:250, 100:200], seg[300:320, :50] = 255, 9, 5
        np.savez_compressed(
            sequence / serial / f"labels_{frame:06d}.npz",
            seg=seg,
            pose_y=np.stack([other, np.concatenate([t.rotation, t.transl[:, None]], 1)]).astype(np.float32),
            pose_m=pose_m if shown else np.zeros_like(pose_m),
            joint_3d=t.joints[None].astype(np.float32) if shown else np.full((1, 21, 3), -1, np.float32),
            joint_2d=np.zeros((1, 21, 2), np.float32),
        )
    return f"20200709-weiy/20200709_141754/{serial}/000001"


def ho3d(root: Path, version: str = "v3") -> str:
    """Training frames 0000 (not annotated) and 0001, evaluation frame 0002 whose joints are in evaluation_xyz.json."""
    t = truth()
    K = np.array([[614.6, 0, 320.3], [0, 614.1, 241.9], [0, 0, 1]])
    gl = (Rotation.from_matrix(OPENGL) * Rotation.from_rotvec(t.pose.global_orient)).as_rotvec()
    wrist = wrist_at_rest(t)
    joints = (t.joints @ OPENGL)[TO_MANO_ORDER]
    rotation = Rotation.from_matrix(OPENGL @ t.rotation).as_rotvec()
    corners = trimesh.bounds.corners(t.mesh.bounds)
    meta = {
        "camMat": K,
        "camIDList": ["0"],
        "handPose": np.concatenate([gl, t.pose.hand_pose]),
        "handTrans": OPENGL @ (t.pose.transl + wrist) - wrist,
        "handBeta": t.pose.betas,
        "handJoints3D": joints,
        "objRot": rotation[:, None],
        "objTrans": OPENGL @ t.transl,
        "objCorners3DRest": corners,
        "objCorners3D": (corners @ t.rotation.T + t.transl) @ OPENGL,
        "objName": "010_potted_meat_can",
        "objLabel": 9,
    }
    blank = {"objRot": None, "objTrans": None, "handJoints3D": None, "handPose": None, "camMat": K, "objName": None}
    withheld = {key: meta[key] for key in ("camMat", "objRot", "objTrans", "objName", "objLabel")}
    for split, frame, content in (
        ("train", "0000", blank),
        ("train", "0001", meta),
        ("evaluation", "0002", {**withheld, "handJoints3D": joints[0], "handBoundingBox": [0, 0, 1, 1]}),
    ):
        base = root / split / "ABF10"
        write_pickle(base / "meta" / f"{frame}.pkl", content)
        write_photo(base / "rgb" / f"{frame}.{'png' if version == 'v2' else 'jpg'}", 640, 480)
        seg = np.zeros((120, 160, 3), np.uint8)
        seg[20:40, 20:40, 2 if version == "v2" else 0] = 255  # BGR: the hand is red in v2, blue in v3
        seg[60:80, 20:40, 0 if version == "v2" else 2] = 255
        (base / "seg").mkdir(exist_ok=True)
        name, quality = (f"{frame}.jpg", [cv2.IMWRITE_JPEG_QUALITY, 100]) if version == "v2" else (f"{frame}.png", [])
        assert cv2.imwrite(str(base / "seg" / name), seg, quality)
    (root / "train.txt").write_text("ABF10/0000\nABF10/0001\n")
    (root / "evaluation.txt").write_text("ABF10/0002\n")
    (root / "evaluation_xyz.json").write_text(json.dumps([joints.tolist()]))
    (root / "evaluation_verts.json").write_text(json.dumps([(t.verts @ OPENGL).tolist()]))
    write_mesh(root / "models/010_potted_meat_can/textured_simple.obj", t.mesh)
    return "train/ABF10/0001"


def oakink(root: Path) -> str:
    """One annotation of the second camera."""
    t = truth()
    entry = ["A01001_0001_0000/2021-09-26-19-59-58", 0, 33, 1]
    name = "A01001_0001_0000__2021-09-26-19-59-58__0__33__1"
    anno = root / "image" / "anno"
    anno.mkdir(parents=True)
    (anno / "seq_all.json").write_text(json.dumps([entry]))
    (anno / "seq_status.json").write_text(json.dumps({entry[0]: "complete"}))
    # the reader of the toolkit moves the model's box to the origin, so the pose is that of the moved model
    middle = t.mesh.bounds.mean(0)
    placed = np.eye(4)
    placed[:3, :3], placed[:3, 3] = t.rotation, t.transl + t.rotation @ middle
    K = np.array([[610.0, 0, 424.5], [0, 609.0, 239.5], [0, 0, 1]])
    for kind, value in (
        ("cam_intr", K.astype(np.float32)),
        ("hand_j", t.joints.astype(np.float32)),
        ("hand_v", t.verts.astype(np.float32)),
        ("obj_transf", placed.astype(np.float32)),
    ):
        write_pickle(anno / kind / f"{name}.pkl", value)
    write_mesh(root / "image" / "obj" / "A01001.obj", t.mesh)
    write_photo(root / "image" / "stream_release_v2" / entry[0] / "south_east_color_33.png", 848, 480)
    return name


def arctic(root: Path, side: Side = "right", processed: bool = False) -> str:
    """Two frames of one sequence in all views; the truth is frame 1 in view 3. Object lengths in millimetres."""
    t, offset, frame, view = truth(side), 7, 1, 3
    rng = np.random.default_rng(4)
    world2cam = np.tile(np.eye(4), (8, 1, 1))
    world2cam[:, :3, :3] = Rotation.random(8, rng=rng).as_matrix()
    world2cam[:, :3, 3] = rng.uniform(-1, 1, (8, 3))
    K = np.tile(np.array([[7200.0, 0, 1400], [0, 7210.0, 1000], [0, 0, 1]]), (8, 1, 1))
    misc = {
        "s05": {
            "ioi_offset": offset,
            "world2cam": world2cam.tolist(),
            "intris_mat": K.tolist(),
            "image_size": [[2800, 2000]] * 9,
            "gender": "female",
        }
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "misc.json").write_text(json.dumps(misc))
    turn, shift = world2cam[view - 1, :3, :3], world2cam[view - 1, :3, 3]

    model, at_origin = load_hand(side), wrist_at_rest(t)
    orient = (Rotation.from_matrix(turn.T) * Rotation.from_rotvec(t.pose.global_orient)).as_rotvec()
    hand = {
        "rot": np.tile(orient, (2, 1)),
        "pose": np.tile(t.pose.hand_pose - model.mean_pose, (2, 1)),
        "trans": np.tile(turn.T @ (t.pose.transl + at_origin - shift) - at_origin, (2, 1)),
        "shape": t.pose.betas,
        "fitting_err": np.zeros(2),
    }
    sequences = root / "raw_seqs" / "s05"
    sequences.mkdir(parents=True)
    other: Side = "left" if side == "right" else "right"
    np.save(sequences / "box_grab_01.mano.npy", {side: hand, other: {**hand, "trans": hand["trans"] + 0.1}})
    in_world = Rotation.from_matrix(turn.T @ t.rotation).as_rotvec()
    row = np.concatenate([[LID_RADIANS], in_world, turn.T @ (t.transl - shift) * 1000])
    np.save(sequences / "box_grab_01.object.npy", np.tile(row, (2, 1)).astype(np.float32))

    top = trimesh.creation.box([0.05, 0.07, 0.02])
    top.apply_translation([0.0, 0.0, 0.06])
    template = root / "meta" / "object_vtemplates" / "box"
    whole = trimesh.util.concatenate([t.mesh, top])
    write_mesh(template / "mesh.obj", whole, 1000)
    (template / "parts.json").write_text(json.dumps([1] * len(t.mesh.vertices) + [0] * len(top.vertices)))
    if processed:
        joints = np.zeros((2, 10, 21, 3), np.float32)
        joints[frame, view] = t.joints[TO_MANO_ORDER]
        (root / "processed_seqs" / "s05").mkdir(parents=True)
        np.save(root / "processed_seqs/s05/box_grab_01.npy", {"cam_coord": {f"joints.{side}": joints}})
    write_photo(root / "images" / "s05" / "box_grab_01" / str(view) / f"{frame + offset:05d}.jpg", 2800, 2000)
    return f"s05/box_grab_01/{view}/{frame + offset:05d}/{side}"


def arctic_lid() -> F64:
    """(8, 3) the lid's corners in the camera frame, turned about the object's own -z."""
    t = truth()
    top = trimesh.creation.box([0.05, 0.07, 0.02])
    top.apply_translation([0.0, 0.0, 0.06])
    turned = Rotation.from_rotvec([0, 0, -LID_RADIANS]).apply(top.vertices)
    return np.asarray(turned @ t.rotation.T + t.transl)


def obman(root: Path, side: Side = "right") -> str:
    """One sample of the test split; the mesh is normalised, its scale is in the affine."""
    t, scale, number = truth(side), 0.25, "00000007"
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = OPENGL @ t.rotation * scale, OPENGL @ t.transl
    meta = {
        "coords_2d": np.zeros((21, 2), np.float32),
        "coords_3d": (t.joints @ OPENGL).astype(np.float32),
        "verts_3d": (t.verts @ OPENGL).astype(np.float32),
        "side": side,
        "hand_pose": np.zeros(45, np.float32),
        "pca_pose": np.zeros(45, np.float32),
        "affine_transform": affine.astype(np.float32),
        "obj_scale": scale,
        "class_id": "02876657",
        "sample_id": "1071fa4cddb2da2fc8724d5673a063a6",
        **{f"{what}depth_{end}": 1.0 for what in ("", "hand_", "obj_") for end in ("min", "max")},
        "sh_coeffs": np.zeros(9),
        "z": np.float64(0.6),
    }
    write_pickle(root / "test" / "meta" / f"{number}.pkl", meta)
    write_photo(root / "test" / "rgb" / f"{number}.jpg", 256, 256)
    segm = np.zeros((256, 256, 3), np.uint8)
    segm[20:60, 20:60, 0], segm[60:90, 20:60, 0], segm[100:110, :40, 0] = 22, 24, 100
    (root / "test" / "segm").mkdir(parents=True)
    assert cv2.imwrite(str(root / "test" / "segm" / f"{number}.png"), segm)
    models = root / SHAPENET / meta["class_id"] / meta["sample_id"] / "models"
    write_mesh(models / "model_normalized.obj", t.mesh, 1 / scale)
    return f"test/{number}"
