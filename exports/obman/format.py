"""ObMan: pairs as samples that the public loaders of `hassony2/obman` and `obman_train` read.

Record -> place before ObMan's camera -> normalise the object -> meta -> render segm and depth -> files

ROOT/{train,val,test}/{rgb,rgb_hand,rgb_obj}/%08d.jpg   {segm,depth}/%08d.png   meta/%08d.pkl
ROOT/ShapeNetCore.v2/<class_id>/<sample_id>/models/     see obman_mesh
ROOT/manifest.json, README.md
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

import cv2
import numpy as np

from exports import numpy_pickle
from exports.base import ExportError, Format, Option, Place, Record, Sample
from exports.folder import Folder
from exports.hands import hand_of
from exports.obman import card as obman_card
from exports.obman import mesh as obman_mesh
from exports.obman.camera import MODES, TO_OPENGL, Placement, put_before_camera
from exports.obman.check import check_obman
from exports.obman.layers import encode_depth, render
from exports.obman.layout import KINDS, SHAPENET_ROOT, SPLITS, sample_path
from exports.obman.meta import OWN_KEY, hand_meta, object_meta, object_points, own_meta, pickled
from exports.pictures import bgr, jpeg, png
from pipeline.hand_model.hand import OPEN_HAND, read_hand
from pipeline.types import U8, Side


class ObManFormat(Format):
    """ObMan's layout and keys; see the module."""

    name = "obman"
    about = "ObMan, as hassony2/obman and obman_train read it"
    splits = SPLITS
    options: ClassVar[Mapping[str, Option]] = {
        "camera": Option(
            "refit", "refit: crop to the pair and fit it under ObMan's camera; exact: turn the photo's camera", MODES
        )
    }

    def refuse(self, out: Path) -> None:
        """ObMan's loaders replace 'rgb' and 'jpg' anywhere in a path."""
        path = os.path.abspath(out)  # noqa: PTH100 - a link stays a link: loaders get the path as it is typed
        for word in ("rgb", "jpg"):
            if word in path:
                raise ExportError(f"{path}: contains '{word}', which ObMan's loaders replace; choose another path")

    def sample(self, record: Record, place: Place, options: Mapping[str, Any]) -> Sample:
        """Pictures, meta and mesh of one pair."""
        made = record.reconstruction
        model = hand_of(record)
        placement = put_before_camera(made.hand_verts, _in_photo(record), made.camera, options["camera"])
        obj = obman_mesh.normalise(made.object.mesh)

        # Rendered from the rounded numbers that are stored, so that reading them back gives the same pictures.
        meta = hand_meta(record, model, placement) | object_meta(record, obj, placement)
        hand = meta["verts_3d"].astype(np.float64) @ TO_OPENGL
        layers = render(hand, model, object_points(meta, obj.vertices), obj.faces)
        depth, planes = encode_depth(layers.depth)
        meta |= planes | {"obj_visibility_ratio": layers.visible_ratio, OWN_KEY: own_meta(record, model, placement)}
        pictures = _photographs(record, placement) | {"segm": layers.segm, "depth": depth}
        contents = {kind: _encode(kind, picture) for kind, picture in pictures.items()} | {"meta": pickled(meta)}
        models = f"{SHAPENET_ROOT}/{meta['class_id']}/{obj.sample_id}/models"
        files = {sample_path(place.split, kind, place.id): data for kind, data in contents.items()}
        files |= {f"{models}/{name}": data for name, data in obman_mesh.files(obj).items()}
        worst = max(value for name, value in placement.residual_px.items() if name.endswith("_median"))
        return Sample(files, {"wider_than_obman": placement.wider_than_obman, "residual_px": worst})

    def finish(self, folder: Folder, options: Mapping[str, Any]) -> None:
        """All folders, for the loaders list them; and what a reader needs to know of the open hand."""
        folder.make(*(f"{split}/{kind}" for split in SPLITS for kind in KINDS), SHAPENET_ROOT)
        for side in get_args(Side):
            model = read_hand(side, OPEN_HAND)  # a user's MANO may not be passed on
            for name, array in (("faces", model.faces.astype(np.int32)), ("components", model.components)):
                folder.write(f"hand_models/{OPEN_HAND}/{name}_{side}.pkl", numpy_pickle.dumps(array))

    def card(self, header: Mapping[str, Any]) -> str:
        """How to load it."""
        return obman_card.text(header)

    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Read every sample back the way the loaders do; one line per finding that starts with the file's name."""
        return check_obman(out, manifest)


def _in_photo(record: Record) -> np.ndarray:
    pose, mesh = record.reconstruction.object_pose, record.reconstruction.object.mesh
    return np.asarray(pose.scale * mesh.vertices @ pose.rotation.T + pose.transl)


def _photographs(record: Record, placement: Placement) -> dict[str, U8]:
    """The photo, its visible hand alone, and the completed object alone, as ObMan's camera sees them (RGB)."""
    photo, masks, completion = record.photo, record.reconstruction.masks, record.reconstruction.completion

    drawn = [mask.astype(np.uint8) * 255 for mask in (masks.hand, completion.amodal_mask)]
    rgb, completed, hand, thing = placement.pictures(photo.image, completion.image, *drawn)

    def cut_out(picture: U8, alpha: U8) -> U8:
        return np.asarray(cv2.multiply(picture, cv2.merge([alpha] * 3), scale=1 / 255), dtype=np.uint8)

    return {"rgb": rgb, "rgb_hand": cut_out(rgb, hand), "rgb_obj": cut_out(completed, thing)}


def _encode(kind: str, picture: U8) -> bytes:
    """JPEG for the photographs (RGB), PNG for the layers (already BGR)."""
    return jpeg(bgr(picture)) if KINDS[kind] == "jpg" else png(picture)
