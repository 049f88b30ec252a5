"""ARCTIC, as zc-alexfan/arctic reads it: <subject>/<sequence>/<view>/<image>/<side>, views 1 .. 8 (the ego view 0 is
distorted and left out).

ROOT/meta/misc.json   per subject: ioi_offset, world2cam (8, 4, 4) metres, intris_mat (8, 3, 3), image_size (9, 2)
ROOT/meta/object_vtemplates/<object>/mesh.obj, parts.json     MILLIMETRES; per vertex 0 top, 1 bottom
ROOT/raw_seqs/<subject>/<sequence>.mano.npy      {right, left}: {rot (F, 3), pose (F, 45), trans (F, 3), shape (10,)}
ROOT/raw_seqs/<subject>/<sequence>.object.npy    (F, 7): radians of the lid, 3 axis-angle, 3 translation in MILLIMETRES
ROOT/processed_seqs/<subject>/<sequence>.npy     by ARCTIC's own scripts: cam_coord: joints.<side> (F, views, 21, 3)
ROOT/images/<subject>/<sequence>/<view>/%05d.jpg          image number = frame + ioi_offset

The world is the motion capture's, in metres for hands. `pose` is MANO's articulation relative to its mean. The top part
turns about the object's own -z before the whole is placed. Without the user's MANO the joints come from processed_seqs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from manifold3d import Manifold, OpType
from scipy.spatial.transform import Rotation

from pipeline.evaluate.datasets.case import BadDataset, Case, NotHeld, Surface, checked, mano_hand, skin_of
from pipeline.evaluate.datasets.files import (
    item,
    json_file,
    npy_file,
    numbers,
    object_npy,
    present,
    rigid,
    solid_parts,
    value,
)
from pipeline.geometry.watertight import to_manifold
from pipeline.hand_model import load_hand
from pipeline.hand_model.mano_file import COMMAND, mano_path
from pipeline.hand_model.model import MANO_TO_OPENPOSE
from pipeline.types import F64, Camera, HandPose, ObjectPose, Side

LAYOUT = "meta/misc.json, raw_seqs/ and images/ (the folder arctic_data/data of its downloads)"
VIEWS = range(1, 9)
LID_AXIS: F64 = np.array([0.0, 0.0, -1.0])
MM = 1e-3
_PHOTO = re.compile(r"(s\d+)/([^/]+)/([1-8])/(\d{5})\.jpg$")


def data_folder(root: Path) -> Path:
    """The folder with meta/, given it or what the downloads unpack around it."""
    for inside in ("", "data", "arctic_data/data", "unpack/arctic_data/data"):
        if (root / inside / "meta" / "misc.json").is_file():
            return root / inside
    raise BadDataset(f"{root}: not the root of ARCTIC: it has no meta/misc.json; expected {LAYOUT}")


def names(root: Path) -> Iterator[str]:
    """<subject>/<sequence>/<view>/<image>/<side>, of the sequences whose photos were downloaded too."""
    data = data_folder(root)
    misc = json_file(data / "meta" / "misc.json")
    sequences = sorted(data.glob("raw_seqs/*/*.object.npy"))
    if not sequences:
        raise BadDataset(f"{data}: not the root of ARCTIC: no raw_seqs/<subject>/*.object.npy; expected {LAYOUT}")
    sequences = [file for file in sequences if _photos(data, file).is_dir()]
    if not sequences:
        raise BadDataset(f"{data / 'images'}: has no photos of any sequence in raw_seqs/; expected {LAYOUT}")
    for file in sequences:
        subject, sequence = file.parent.name, _sequence(file)
        offset = int(
            value(value(misc, subject, data / "meta" / "misc.json"), "ioi_offset", data / "meta" / "misc.json")
        )
        for view in VIEWS:
            for frame in range(len(npy_file(file))):
                for side in get_args(Side):
                    yield f"{subject}/{sequence}/{view}/{frame + offset:05d}/{side}"


def _sequence(object_file: Path) -> str:
    return object_file.name.removesuffix(".object.npy")


def _photos(data: Path, object_file: Path) -> Path:
    return data / "images" / object_file.parent.name / _sequence(object_file)


def named(entry: Any) -> list[str]:
    """A case's name, or the path of a photo: both its hands."""
    found = _PHOTO.search(str(entry))
    return [f"{'/'.join(found.groups())}/{side}" for side in get_args(Side)] if found else [str(entry)]


def load(root: Path, name: str) -> Case:
    """One hand in one view of one frame."""
    data = data_folder(root)
    parts = name.split("/")
    if len(parts) != 5 or parts[4] not in get_args(Side) or not parts[2].isdigit() or int(parts[2]) not in VIEWS:
        raise BadDataset(f"{root}: '{name}' is no <subject>/<sequence>/<view 1 .. 8>/<image>/<side>")
    subject, sequence, view, image, side = parts[0], parts[1], int(parts[2]), parts[3], cast("Side", parts[4])
    file = data / "meta" / "misc.json"
    misc = value(json_file(file), subject, file)
    to_camera = numbers(value(misc, "world2cam", file), (8, 4, 4), f"'world2cam' of {subject}", file)[view - 1]
    rotation, transl = rigid(to_camera, f"'world2cam' of {subject}", file)
    K = numbers(value(misc, "intris_mat", file), (8, 3, 3), f"'intris_mat' of {subject}", file)[view - 1]
    K[:2, 2] += 0.5  # the calibration counts from the middle of the first pixel
    width, height = (int(n) for n in item(value(misc, "image_size", file), view, "'image_size'", file))
    frame = int(image) - int(value(misc, "ioi_offset", file))
    object_file = data / "raw_seqs" / subject / f"{sequence}.object.npy"
    poses = npy_file(object_file)
    if not 0 <= frame < len(poses):
        raise NotHeld(f"{object_file}: has no frame {frame} for image {image}")
    lid, orient, place = np.split(numbers(poses[frame], (7,), f"frame {frame}", object_file), [1, 4])
    verts, joints = _hand(data, subject, sequence, view, frame, side, rotation, transl)
    object_name = sequence.split("_")[0]
    in_world = Rotation.from_rotvec(orient).as_matrix()
    case = Case(
        name=name,
        photo_file=present(data / "images" / subject / sequence / str(view) / f"{image}.jpg"),
        camera=Camera(K, width, height, "arctic"),
        side=side,
        joints=joints,
        hand=None if verts is None else skin_of(verts, side),
        object_name=object_name,
        object=_object(data / "meta" / "object_vtemplates" / object_name, float(lid[0])),
        pose=ObjectPose(rotation @ in_world, rotation @ (place * MM) + transl, 1.0),
    )
    return checked(case, object_file)


def _hand(
    data: Path, subject: str, sequence: str, view: int, frame: int, side: Side, rotation: F64, transl: F64
) -> tuple[F64 | None, F64]:
    """Vertices, where the user's MANO can make them, and joints (21, 3), OpenPose order, in the camera frame."""
    if not mano_path(side).is_file():
        file = data / "processed_seqs" / subject / f"{sequence}.npy"
        if not file.is_file():
            raise BadDataset(
                f"{file}: missing; ARCTIC's hands are MANO parameters: add your MANO ({COMMAND}) or make processed_seqs"
            )
        what = f"'joints.{side}'"
        seen = item(value(_processed(file), f"joints.{side}", file), (frame, view), what, file)
        return None, numbers(seen, (21, 3), what, file)[list(MANO_TO_OPENPOSE)]
    file = data / "raw_seqs" / subject / f"{sequence}.mano.npy"
    hand = value(_mano(file), side, file)
    turn, bend, shift = (
        numbers(item(value(hand, key, file), frame, f"'{key}'", file), (n,), f"'{key}' of frame {frame}", file)
        for key, n in (("rot", 3), ("pose", 45), ("trans", 3))
    )
    betas = numbers(np.reshape(value(hand, "shape", file), (-1, 10))[0], (10,), "'shape'", file)
    made = mano_hand(HandPose(side, turn, bend + load_hand(side, "mano").mean_pose, betas, shift))
    assert made is not None
    verts, joints = (points @ rotation.T + transl for points in made)
    return verts, joints


@lru_cache(maxsize=8)
def _mano(file: Path) -> Any:
    return object_npy(file)


@lru_cache(maxsize=2)
def _processed(file: Path) -> Any:
    return value(object_npy(file), "cam_coord", file)


def _object(template: Path, lid: float) -> Surface:
    """The object with its lid turned, one solid, metres."""
    part_file = template / "parts.json"
    turn = Rotation.from_rotvec(LID_AXIS * lid)
    parts = solid_parts(template / "mesh.obj", part_file, tuple(json_file(part_file)))
    solids = [
        to_manifold((turn.apply(part.vertices) if moving else part.vertices) * MM, part.faces) for part, moving in parts
    ]
    whole = Manifold.batch_boolean(solids, OpType.Add).to_mesh64()
    return Surface(np.asarray(whole.vert_properties[:, :3], np.float64), np.asarray(whole.tri_verts, np.int64))
