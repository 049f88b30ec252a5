"""BOP: pairs as images of one object each, for readers of the BOP benchmark's datasets.

Record -> metric model and pose -> render depth and masks -> files without numbers;  all samples -> numbers -> scenes

ROOT/<split>/<scene>/scene_{camera,gt,gt_info,hoi_annotate}.json
ROOT/<split>/<scene>/{rgb,depth}/%06d.png, {mask,mask_visib}/%06d_000000.png
ROOT/models/obj_%06d.{ply,png}, models_info.json      see exports.bop.model
ROOT/camera.json, dataset_info.md, test_targets_bop19.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from exports import pictures
from exports.base import Format, Option, Place, Record, Sample, UnsuitableRecord
from exports.bop import card as bop_card
from exports.bop import model as bop_model
from exports.bop.check import check_bop
from exports.bop.layout import SPLITS, SUFFIXES, incoming_path
from exports.bop.numbers import number_all
from exports.bop.view import view
from exports.folder import Folder
from exports.hands import hand_of
from exports.pictures import bgr, png
from pipeline.types import HandPose

DECIMALS = 9  # of a rotation's entries and of radians
MM_DECIMALS = 6  # of millimetres
JPEG_SETTINGS = [cv2.IMWRITE_JPEG_QUALITY, 95]


class BopFormat(Format):
    """BOP's layout and keys; see the module."""

    name = "bop"
    about = "BOP's 6D object pose datasets, as thodan/bop_toolkit reads them (millimetres, objects only)"
    splits = SPLITS
    options: ClassVar[Mapping[str, Option]] = {
        "photo": Option("png", "photographs as png (what readers look for) or jpg (a fifth of the size)", SUFFIXES)
    }

    def sample(self, record: Record, place: Place, options: Mapping[str, Any]) -> Sample:
        """Photograph, depth, masks and model of one pair, not numbered yet."""
        made = record.reconstruction
        hand_model = hand_of(record)
        model = bop_model.model_of(made.object.mesh, made.object_pose)
        rotation, transl = model.pose(made.object_pose)
        rotation, transl = np.round(rotation, DECIMALS) + 0.0, np.round(transl, MM_DECIMALS) + 0.0
        # Rendered from the rounded numbers that are stored, so that reading them back gives the same pictures.
        in_camera = (model.vertices @ rotation.T + transl) / bop_model.MM
        seen = view((in_camera, model.faces), (made.hand_verts, hand_model.faces), made.camera)
        content = model.content_id
        files = {
            f"{place.id}_rgb.{options['photo']}": _encode(f".{options['photo']}", bgr(record.photo.image)),
            f"{place.id}_depth.png": _encode(".png", seen.depth),
            f"{place.id}_mask.png": _encode(".png", seen.mask.astype(np.uint8) * 255),
            f"{place.id}_mask_visib.png": _encode(".png", seen.visible.astype(np.uint8) * 255),
            f"{content}.ply": bop_model.ply_text(model),
            f"{content}.png": bop_model.texture_png(model),
        }
        row = {
            "size": [made.camera.width, made.camera.height],
            "camera": {"cam_K": made.camera.K.reshape(-1).tolist(), "depth_scale": seen.depth_scale},
            "gt": {"cam_R_m2c": rotation.reshape(-1).tolist(), "cam_t_m2c": transl.tolist()},
            "info": seen.info,
            "content": content,
            "model": bop_model.info(model.vertices),
            "own": _own(record, place),
        }
        return Sample({incoming_path(name): data for name, data in files.items()}, {}, row)

    def finish(self, folder: Folder, options: Mapping[str, Any]) -> None:
        """Numbers for objects, scenes and images, and the files that list them."""
        number_all(folder, options["photo"])

    def card(self, header: Mapping[str, Any]) -> str:
        """How to load it."""
        return bop_card.text(header)

    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Read everything back the way the toolkit does; one line per finding that starts with the file's name."""
        return check_bop(out, manifest)


def _own(record: Record, place: Place) -> dict[str, Any]:
    """What BOP has no key for. The hand is in metres, OpenCV camera; angles are absolute axis-angles."""
    made = record.reconstruction
    return {
        "id": place.id,
        "pair_id": record.pair_id,
        "revision": record.revision,
        "photo": {"name": record.photo.name, "sha256": record.photo.sha256},
        "object": {"kind": made.object.kind, "name": str(record.provenance.get("object_id") or "")},
        "hand": {"model": made.estimate.model, **_parameters(made.hand)},
        "metrics": made.metrics,
        "provenance": _json(record.provenance),
    }


def _parameters(pose: HandPose) -> dict[str, Any]:
    names = ("global_orient", "hand_pose", "betas", "transl")
    return {"side": pose.side, **{name: np.round(getattr(pose, name), DECIMALS).tolist() for name in names}}


def _json(provenance: dict[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(provenance))
    except (TypeError, ValueError) as error:
        raise UnsuitableRecord(f"provenance is not JSON-like: {error}") from error
    return plain


def _encode(suffix: str, picture: np.ndarray) -> bytes:
    return png(picture) if suffix == ".png" else pictures.encode(".jpg", picture, JPEG_SETTINGS)
