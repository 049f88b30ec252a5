"""DexYCB, as NVlabs/dex-ycb-toolkit reads it: <subject>/<sequence>/<serial>/<frame>.

ROOT/<subject>/<sequence>/meta.yml                 serials, num_frames, ycb_ids, ycb_grasp_ind, mano_sides, mano_calib
ROOT/<subject>/<sequence>/<serial>/color_%06d.jpg, labels_%06d.npz
ROOT/calibration/intrinsics/<serial>_640x480.yml   color: fx, fy, ppx, ppy
ROOT/calibration/mano_<calib>/mano.yml             betas
ROOT/models/<class>/textured_simple.obj            metres

labels: seg (480, 640), the object's class number, 255 the hand; pose_y (objects, 3, 4) object -> OpenCV camera;
pose_m (1, 51) = 3 orientation, 45 coefficients in MANO's basis about its mean, 3 translation, all 0 without a hand;
joint_3d (1, 21, 3) OpenPose order, -1 without a hand. Metres.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluate.datasets.case import BadDataset, Case, NotHeld, agreeing, checked, mano_hand, skin_of
from pipeline.evaluate.datasets.files import (
    folder,
    item,
    json_file,
    npz_file,
    numbers,
    present,
    rigid,
    solid,
    value,
    yaml_file,
)
from pipeline.hand_model import load_hand
from pipeline.hand_model.mano_file import mano_path
from pipeline.types import F64, Camera, HandPose, ObjectPose, Side

LAYOUT = "<subject>/<sequence>/meta.yml, calibration/ and models/"
SIZE = (640, 480)
HAND = 255
CLASSES = (  # the toolkit's numbers 1 .. 21
    *("002_master_chef_can", "003_cracker_box", "004_sugar_box", "005_tomato_soup_can", "006_mustard_bottle"),
    *("007_tuna_fish_can", "008_pudding_box", "009_gelatin_box", "010_potted_meat_can", "011_banana"),
    *("019_pitcher_base", "021_bleach_cleanser", "024_bowl", "025_mug", "035_power_drill", "036_wood_block"),
    *("037_scissors", "040_large_marker", "051_large_clamp", "052_extra_large_clamp", "061_foam_brick"),
)
_PHOTO = re.compile(r"([^/]+/[^/]+/[^/]+)/color_(\d{6})\.jpg$")


def names(root: Path) -> Iterator[str]:
    """<subject>/<sequence>/<serial>/<frame>."""
    folder(root / "calibration", "DexYCB", LAYOUT)
    folder(root / "models", "DexYCB", LAYOUT)
    metas = sorted(root.glob("*/*/meta.yml"))
    if not metas:
        raise BadDataset(f"{root}: not the root of DexYCB: no <subject>/<sequence>/meta.yml; expected {LAYOUT}")
    for file in metas:
        meta = yaml_file(file)
        sequence = file.parent.relative_to(root).as_posix()
        for serial in value(meta, "serials", file):
            for frame in range(int(value(meta, "num_frames", file))):
                yield f"{sequence}/{serial}/{frame:06d}"


def named(entry: Any) -> list[str]:
    """A case's name, or the path of its photo."""
    found = _PHOTO.search(str(entry))
    return [f"{found[1]}/{found[2]}"] if found else [str(entry)]


def load(root: Path, name: str) -> Case:
    """One frame of one camera."""
    sequence, serial, frame = _parts(root, name)
    meta_file = root / sequence / "meta.yml"
    meta = yaml_file(meta_file)
    file = root / sequence / serial / f"labels_{frame}.npz"
    label = npz_file(file)
    joints = numbers(value(label, "joint_3d", file), (1, 21, 3), "'joint_3d'", file)[0]
    if (joints == -1).all():
        raise NotHeld(f"{file}: shows no hand")
    side: Side = (
        "left" if item(value(meta, "mano_sides", meta_file), 0, "'mano_sides'", meta_file) == "left" else "right"
    )
    grasped = int(value(meta, "ycb_grasp_ind", meta_file))
    number = int(item(value(meta, "ycb_ids", meta_file), grasped, "'ycb_ids'", meta_file))
    poses = numbers(value(label, "pose_y", file), (None, 3, 4), "'pose_y'", file)
    rotation, transl = rigid(item(poses, grasped, "'pose_y'", file), "'pose_y'", file)
    seg = value(label, "seg", file)
    object_name = _class(root, number)
    hand = None
    if mano_path(side).is_file():
        calib = item(value(meta, "mano_calib", meta_file), 0, "'mano_calib'", meta_file)
        hand = _mano(root, calib, label, file, side, joints)
    case = Case(
        name=name,
        photo_file=present(root / sequence / serial / f"color_{frame}.jpg"),
        camera=_camera(root / "calibration" / "intrinsics" / f"{serial}_640x480.yml"),
        side=side,
        joints=joints,
        hand=None if hand is None else skin_of(hand, side),
        object_name=object_name,
        object=solid(root / "models" / object_name / "textured_simple.obj"),
        pose=ObjectPose(rotation, transl, 1.0),
        hand_mask=np.asarray(seg == HAND),
        object_mask=np.asarray(seg == number),
    )
    return checked(case, file)


def _parts(root: Path, name: str) -> tuple[str, str, str]:
    parts = name.split("/")
    if len(parts) != 4:
        raise BadDataset(f"{root}: '{name}' is no <subject>/<sequence>/<serial>/<frame>")
    return "/".join(parts[:2]), parts[2], parts[3]


def _class(root: Path, number: int) -> str:
    """The toolkit's name of an object; a folder that comes with its own classes (as our exports do) names them."""
    own = root / "dataset.json"
    if own.is_file():
        return str(value(value(json_file(own), "ycb_classes", own), str(number), own))
    if not 1 <= number <= len(CLASSES):
        raise BadDataset(f"{root}: object number {number} is none of DexYCB's 1 .. {len(CLASSES)}")
    return CLASSES[number - 1]


def _camera(file: Path) -> Camera:
    color = value(yaml_file(file), "color", file)
    fx, fy, x, y = (float(value(color, key, file)) for key in ("fx", "fy", "ppx", "ppy"))
    # Half a pixel: the calibration counts from the middle of the first pixel.
    return Camera(np.array([[fx, 0, x + 0.5], [0, fy, y + 0.5], [0, 0, 1]]), *SIZE, "dexycb")


def _mano(root: Path, calib: str, label: dict[str, Any], file: Path, side: Side, joints: F64) -> F64:
    """(778, 3) by the user's MANO."""
    betas_file = root / "calibration" / f"mano_{calib}" / "mano.yml"
    betas = numbers(value(yaml_file(betas_file), "betas", betas_file), (10,), "'betas'", betas_file)
    pose = numbers(value(label, "pose_m", file), (1, 51), "'pose_m'", file)[0]
    model = load_hand(side, "mano")
    absolute = model.mean_pose + pose[3:48] @ model.components
    made = mano_hand(HandPose(side, pose[:3], absolute, betas, pose[48:]))
    assert made is not None
    agreeing(file, made[1], joints)
    return made[0]
