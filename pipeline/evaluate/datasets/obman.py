"""ObMan, as hassony2/obman reads it: <split>/<8 digits>.

ROOT/{train,val,test}/{rgb/%08d.jpg,segm/%08d.png,meta/%08d.pkl}
ROOT/ShapeNetCore.v2/<class_id>/<sample_id>/models/model_normalized.{obj,pkl}

meta: side; coords_3d (21, 3) OpenPose order, verts_3d (778, 3), metres in an OpenGL camera; affine_transform (4, 4)
normalised mesh -> OpenGL camera, its scale included. The camera is K = [480, 480, 128, 128] at 256 x 256.
segm, cv2's first channel: 21 .. 24 hand, 100 object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluate.datasets.case import BadDataset, Case, Surface, checked, skin_of
from pipeline.evaluate.datasets.files import numbers, pickle_file, picture, present, rigid, solid, solid_of, value
from pipeline.types import F64, Camera, ObjectPose, Side

LAYOUT = "{train,val,test}/{rgb,segm,meta}/ and ShapeNetCore.v2/"
SPLITS = ("train", "val", "test")
SIZE = 256
K: F64 = np.array([[480.0, 0, 128], [0, 480, 128], [0, 0, 1]])
TO_OPENCV: F64 = np.diag([1.0, -1.0, -1.0])
HAND, OBJECT = (21, 24), 100
_PHOTO = re.compile(r"(train|val|test)/rgb/(\d{8})\.jpg$")


def names(root: Path) -> Iterator[str]:
    """<split>/<8 digits>."""
    splits = [split for split in SPLITS if (root / split / "meta").is_dir()]
    if not splits:
        raise BadDataset(f"{root}: not the root of ObMan: no train/meta/; expected {LAYOUT}")
    for split in splits:
        for file in sorted((root / split / "meta").glob("*.pkl")):
            yield f"{split}/{file.stem}"


def named(entry: Any) -> list[str]:
    """A case's name, or the path of its photo."""
    found = _PHOTO.search(str(entry))
    return [f"{found[1]}/{found[2]}"] if found else [str(entry)]


def load(root: Path, name: str) -> Case:
    """One sample."""
    split, _, number = name.partition("/")
    if split not in SPLITS or not number:
        raise BadDataset(f"{root}: '{name}' is no <split>/<number>")
    file = root / split / "meta" / f"{number}.pkl"
    meta = pickle_file(file)
    side: Side = "left" if value(meta, "side", file) == "left" else "right"
    affine = numbers(value(meta, "affine_transform", file), (4, 4), "'affine_transform'", file)
    scale = float(np.cbrt(abs(np.linalg.det(affine[:3, :3]))))
    if not scale > 0:
        raise BadDataset(f"{file}: 'affine_transform' has no scale")
    rotation, _ = rigid(affine / scale, "'affine_transform'", file)
    models = (
        root / "ShapeNetCore.v2" / str(value(meta, "class_id", file)) / str(value(meta, "sample_id", file)) / "models"
    )
    mesh = _mesh(models)
    seen = root / split / "segm" / f"{number}.png"
    segm = picture(seen)[..., 0] if seen.is_file() else None
    verts = numbers(value(meta, "verts_3d", file), (778, 3), "'verts_3d'", file)
    case = Case(
        name=name,
        photo_file=present(root / split / "rgb" / f"{number}.jpg"),
        camera=Camera(K, SIZE, SIZE, "obman"),
        side=side,
        joints=numbers(value(meta, "coords_3d", file), (21, 3), "'coords_3d'", file) @ TO_OPENCV,
        hand=skin_of(verts @ TO_OPENCV, side),
        object_name=str(meta["sample_id"]),
        object=Surface(mesh.vertices * scale, mesh.faces),
        pose=ObjectPose(TO_OPENCV @ rotation, TO_OPENCV @ affine[:3, 3], 1.0),
        hand_mask=None if segm is None else (segm >= HAND[0]) & (segm <= HAND[1]),
        object_mask=None if segm is None else np.asarray(segm == OBJECT),
    )
    return checked(case, file)


def _mesh(models: Path) -> Surface:
    obj, pkl = models / "model_normalized.obj", models / "model_normalized.pkl"
    if obj.is_file() or not pkl.is_file():
        return solid(obj)
    mesh = pickle_file(pkl)
    vertices = numbers(value(mesh, "vertices", pkl), (None, 3), "'vertices'", pkl)
    return solid_of(vertices, numbers(value(mesh, "faces", pkl), (None, 3), "'faces'", pkl).astype(np.int64), pkl)
