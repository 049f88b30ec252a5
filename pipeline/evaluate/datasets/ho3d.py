"""HO-3D version 2 or 3, as shreyashampali/ho3d reads it: <split>/<sequence>/<id>; right hands.

ROOT/{train,evaluation}.txt                       lines <sequence>/<id>
ROOT/<split>/<sequence>/rgb/<id>.png (v2) or .jpg (v3), meta/<id>.pkl, seg/<id>.jpg (v2) or .png (v3, smaller)
ROOT/evaluation_xyz.json, evaluation_verts.json   what the evaluation split's meta withholds, an entry a line of its txt
ROOT/models/<objName>/textured_simple.obj         the YCB-Video models, beside the set or linked there

meta: camMat (3, 3); objRot (3, 1) or (3,) axis-angle, objTrans (3,), None in frames without annotation; handJoints3D
(21, 3) in MANO's order with the tips thumb .. little last; handPose (48,) absolute, handTrans, handBeta. Metres in an
OpenGL camera (x right, y up, -z forward).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.evaluate.datasets.case import BadDataset, Case, NotHeld, agreeing, checked, mano_hand, skin_of
from pipeline.evaluate.datasets.files import (
    item,
    json_file,
    numbers,
    pickle_file,
    picture,
    picture_size,
    present,
    solid,
    value,
)
from pipeline.hand_model.model import MANO_TO_OPENPOSE
from pipeline.types import F64, Camera, HandPose, Mask, ObjectPose

LAYOUT = "train.txt, train/<sequence>/{rgb,meta}/ and models/<object>/textured_simple.obj"
SPLITS = ("train", "evaluation")
TO_OPENCV: F64 = np.diag([1.0, -1.0, -1.0])
_PHOTO = re.compile(r"(train|evaluation)/([^/]+)/rgb/([^/.]+)\.(png|jpg)$")
_HAND_CHANNEL = {".jpg": 2, ".png": 0}  # of `seg`, cv2's order: red in v2, blue in v3; the object is the other one


def names(root: Path) -> Iterator[str]:
    """<split>/<sequence>/<id>; the evaluation split only where its joints were added to the set."""
    if not any((root / f"{split}.txt").is_file() for split in SPLITS):
        raise BadDataset(f"{root}: not the root of HO-3D: it has no train.txt; expected {LAYOUT}")
    if not (root / "models").is_dir():
        raise BadDataset(
            f"{root}: has no models/: put or link the YCB-Video models (<object>/textured_simple.obj) there"
        )
    for split in SPLITS:
        if split == "evaluation" and not (root / "evaluation_xyz.json").is_file():
            continue
        if (root / f"{split}.txt").is_file():
            yield from (f"{split}/{line}" for line in _lines(root / f"{split}.txt"))


def named(entry: Any) -> list[str]:
    """A case's name, or the path of its photo."""
    found = _PHOTO.search(str(entry))
    return [f"{found[1]}/{found[2]}/{found[3]}"] if found else [str(entry)]


def load(root: Path, name: str) -> Case:
    """One frame."""
    parts = name.split("/")
    if len(parts) != 3 or parts[0] not in SPLITS:
        raise BadDataset(f"{root}: '{name}' is no <split>/<sequence>/<id>")
    split, sequence, frame = parts
    base = root / split / sequence
    file = base / "meta" / f"{frame}.pkl"
    meta = pickle_file(file)
    if value(meta, "objRot", file) is None or value(meta, "handJoints3D", file) is None:
        raise NotHeld(f"{file}: has no annotation")
    joints, verts = _hand(root, split, f"{sequence}/{frame}", meta, file)
    rotation = Rotation.from_rotvec(numbers(np.ravel(meta["objRot"]), (3,), "'objRot'", file)).as_matrix()
    transl = numbers(np.ravel(value(meta, "objTrans", file)), (3,), "'objTrans'", file)
    object_name = str(value(meta, "objName", file))
    photo = _photo(base, frame)
    width, height = picture_size(photo)
    K = numbers(value(meta, "camMat", file), (3, 3), "'camMat'", file)
    K[:2, 2] += 0.5  # the calibration counts from the middle of the first pixel
    masks = _masks(base, frame, width, height)
    case = Case(
        name=name,
        photo_file=photo,
        camera=Camera(K, width, height, "ho3d"),
        side="right",
        joints=joints @ TO_OPENCV,
        hand=None if verts is None else skin_of(verts @ TO_OPENCV, "right"),
        object_name=object_name,
        object=solid(root / "models" / object_name / "textured_simple.obj"),
        pose=ObjectPose(TO_OPENCV @ rotation, TO_OPENCV @ transl, 1.0),
        hand_mask=masks[0],
        object_mask=masks[1],
    )
    return checked(case, file)


def _hand(root: Path, split: str, line: str, meta: dict[str, Any], file: Path) -> tuple[F64, F64 | None]:
    """Joints (21, 3), OpenPose order, and vertices where they can be had; OpenGL camera."""
    if np.shape(meta["handJoints3D"]) != (21, 3):  # the evaluation split has the wrist only
        at = root / f"{split}_xyz.json"
        if not at.is_file():
            raise BadDataset(f"{file}: has the wrist only, and {at.name} is not beside the set")
        lines = root / f"{split}.txt"
        index = item(_index(lines), line, "the list", lines)
        joints = numbers(item(json_file(at), index, "the list", at), (21, 3), f"entry {index}", at)
        beside = root / f"{split}_verts.json"
        verts = None
        if beside.is_file():
            verts = numbers(item(json_file(beside), index, "the list", beside), (778, 3), f"entry {index}", beside)
        return joints[list(MANO_TO_OPENPOSE)], verts
    joints = numbers(meta["handJoints3D"], (21, 3), "'handJoints3D'", file)[list(MANO_TO_OPENPOSE)]
    pose = numbers(value(meta, "handPose", file), (48,), "'handPose'", file)
    betas = numbers(value(meta, "handBeta", file), (10,), "'handBeta'", file)
    transl = numbers(value(meta, "handTrans", file), (3,), "'handTrans'", file)
    made = mano_hand(HandPose("right", pose[:3], pose[3:], betas, transl))
    if made is None:
        return joints, None
    agreeing(file, made[1], joints)
    return joints, made[0]


def _photo(base: Path, frame: str) -> Path:
    jpg = base / "rgb" / f"{frame}.jpg"
    return jpg if jpg.is_file() else present(base / "rgb" / f"{frame}.png")


def _masks(base: Path, frame: str, width: int, height: int) -> tuple[Mask | None, Mask | None]:
    for suffix, hand in _HAND_CHANNEL.items():
        file = base / "seg" / f"{frame}{suffix}"
        if file.is_file():
            large = cv2.resize(picture(file), (width, height), interpolation=cv2.INTER_NEAREST)
            return large[..., hand] > 127, large[..., 2 - hand] > 127
    return None, None


@lru_cache(maxsize=4)
def _lines(file: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in present(file).read_text().splitlines() if line.strip())


@lru_cache(maxsize=2)
def _index(file: Path) -> dict[str, int]:
    return {line: number for number, line in enumerate(_lines(file))}
