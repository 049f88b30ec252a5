"""OakInk-Image, as oakink/OakInk (oikit) reads it: <object>_<intent>_<subjects>__<time>__<flag>__<frame>__<camera>.

ROOT/image/anno/seq_all.json                      [[<sequence>/<time>, flag, frame, camera], ...]
ROOT/image/anno/{cam_intr,hand_j,hand_v,obj_transf}/<name>.pkl   (3, 3) K; (21, 3), (778, 3), (4, 4) OpenCV camera
ROOT/image/obj/<object>.obj or .ply               metres; its frame's origin becomes the middle of its box
ROOT/image/stream_release_v2/<sequence>/<time>/<camera name>_<frame>.png   848 x 480

Metres, right hands, joints in OpenPose order. A sequence whose intent is 0004 is a handover: `flag` says which of two
hands an annotation is of, and both hold the object in some frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluate.datasets.case import BadDataset, Case, Surface, checked, skin_of
from pipeline.evaluate.datasets.files import (
    folder,
    json_file,
    numbers,
    pickle_file,
    picture_size,
    present,
    rigid,
    solid,
)
from pipeline.evaluate.grasps import load_mesh
from pipeline.types import Camera, ObjectPose

LAYOUT = "image/anno/, image/obj/ and image/stream_release_v2/"
CAMERAS = ("north_east_color", "south_east_color", "north_west_color", "south_west_color")
SIZE = (848, 480)
_PHOTO = re.compile(rf"([^/]+/[^/]+)/({'|'.join(CAMERAS)})_(\d+)\.png$")


def names(root: Path) -> Iterator[str]:
    """The annotations' file names, in the order of seq_all.json."""
    folder(root / "image", "OakInk", LAYOUT)
    for entry in json_file(root / "image" / "anno" / "seq_all.json"):
        yield from named(entry)


def named(entry: Any) -> list[str]:
    """A case's name, an entry of OakInk's own lists, or the path of a photo (its first hand)."""
    if isinstance(entry, list):
        return ["__".join(map(str, entry)).replace("/", "__")]
    found = _PHOTO.search(str(entry))
    if not found:
        return [str(entry)]
    return [f"{found[1].replace('/', '__')}__0__{int(found[3])}__{CAMERAS.index(found[2])}"]


def load(root: Path, name: str) -> Case:
    """One annotation."""
    parts = name.split("__")
    if len(parts) != 5 or not parts[4].isdigit() or int(parts[4]) >= len(CAMERAS):
        raise BadDataset(f"{root}: '{name}' is no <sequence>__<time>__<flag>__<frame>__<camera>")
    sequence, time, _, frame, camera = parts
    file = {kind: root / "image" / "anno" / kind / f"{name}.pkl" for kind in ("cam_intr", "hand_j", "obj_transf")}
    K = numbers(pickle_file(file["cam_intr"]), (3, 3), "K", file["cam_intr"])
    K[:2, 2] += 0.5  # the calibration counts from the middle of the first pixel
    placed = numbers(pickle_file(file["obj_transf"]), (4, 4), "the object's pose", file["obj_transf"])
    rotation, transl = rigid(placed, "the object's pose", file["obj_transf"])
    photo = present(root / "image" / "stream_release_v2" / sequence / time / f"{CAMERAS[int(camera)]}_{frame}.png")
    if picture_size(photo) != SIZE:
        raise BadDataset(f"{photo}: is {picture_size(photo)} pixels, not {SIZE}: its K would not be its own")
    skin = root / "image" / "anno" / "hand_v" / f"{name}.pkl"
    verts = numbers(pickle_file(skin), (778, 3), "the hand's vertices", skin) if skin.is_file() else None
    object_name = sequence.split("_")[0]
    case = Case(
        name=name,
        photo_file=photo,
        camera=Camera(K, *SIZE, "oakink"),
        side="right",
        joints=numbers(pickle_file(file["hand_j"]), (21, 3), "the joints", file["hand_j"]),
        hand=None if verts is None else skin_of(verts, "right"),
        object_name=object_name,
        object=_object(root / "image" / "obj", object_name),
        pose=ObjectPose(rotation, transl, 1.0),
    )
    return checked(case, file["hand_j"])


@lru_cache(maxsize=64)
def _object(models: Path, name: str) -> Surface:
    obj = models / f"{name}.obj"
    file = obj if obj.is_file() else models / f"{name}.ply"
    mesh = solid(file)
    written = load_mesh(file).vertices  # closing a mesh may move its box a little
    middle = (written.min(0) + written.max(0)) / 2
    return Surface(np.asarray(mesh.vertices - middle), mesh.faces)
