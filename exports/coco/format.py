"""COCO: masks, boxes and hand keypoints as pycocotools, detectron2, mmdetection and mmpose read them.

    ROOT/annotations/instances_{train,val,test}.json         hands (with keypoints) and objects
    ROOT/annotations/hand_keypoints_{train,val,test}.json    the same hands alone, for keypoint readers
    ROOT/images/{train,val,test}/<photo>-<content>.jpg       the photo at its working size; pairs of one photo share it

Masks are compressed RLE of size [h, w]. Everything 3D that COCO has no key for is under `hoi_annotate`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from exports.base import Format, Option, Place, Record, Sample, UnsuitableRecord
from exports.coco import card as coco_card
from exports.coco.check import check_coco
from exports.coco.keypoints import OUTSIDE, keypoints_of
from exports.coco.layout import (
    CATEGORIES,
    HAND,
    INSTANCES,
    OBJECT,
    OWN_KEY,
    SPLITS,
    annotation_ids,
    annotation_path,
    image_path,
)
from exports.coco.record import provenance_of
from exports.folder import Folder
from exports.hands import checked_hand
from exports.pictures import bgr, jpeg
from pipeline.types import Mask

DECIMALS = 6  # of metres and of K


class CocoFormat(Format):
    """COCO instances and keypoints; see the module."""

    name = "coco"
    about = "COCO instances (RLE) and hand keypoints, as pycocotools and the detection frameworks read them"
    splits = SPLITS
    options: ClassVar[Mapping[str, Option]] = {}

    def sample(self, record: Record, place: Place, options: Mapping[str, Any]) -> Sample:
        """The photo, and a row with its image and two annotations, which get their image's id in `finish`."""
        photo = jpeg(bgr(record.photo.image))
        # the photo's sha256 is of the file it came from; what is written may be mirrored or of another working size
        file_name = f"{record.photo.sha256[:16]}-{hashlib.sha256(photo).hexdigest()[:16]}.jpg"
        height, width = record.photo.size
        image = {
            "file_name": file_name,
            "width": width,
            "height": height,
            "licence": str(record.provenance.get("licence") or "unknown"),
            "photo": {"name": record.photo.name, "sha256": record.photo.sha256},
        }
        row = {"image": image, "annotations": _annotations(record, place)}
        return Sample({image_path(place.split, file_name): photo}, {"file_name": file_name}, row)

    def finish(self, folder: Folder, options: Mapping[str, Any]) -> None:
        """The annotation files, piece by piece."""
        for split in SPLITS:
            folder.make(f"images/{split}")
            part = replace(folder, samples=[sample for sample in folder.samples if sample.split == split])
            images: dict[str, dict[str, Any]] = {}
            for sample, row in part.rows():  # sorted by id, so that the first of a photo's samples gives its id
                images.setdefault(row["image"]["file_name"], row["image"] | {"id": int(sample.id) + 1})
            for kind in CATEGORIES:
                folder.write(annotation_path(kind, split), _text(kind, split, images, part))

    def card(self, header: Mapping[str, Any]) -> str:
        """How to load it."""
        return coco_card.TEXT

    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Decode every mask, box, keypoint and photo."""
        return check_coco(out, manifest)


def _annotations(record: Record, place: Place) -> list[dict[str, Any]]:
    """The hand and the object of one pair, without image ids."""
    made = record.reconstruction
    model, provenance = checked_hand(record), provenance_of(record)
    hand_id, object_id = annotation_ids(place.id)
    keypoints = keypoints_of(made, model.faces)
    own = {
        "sample": place.id,
        "revision": record.revision,
        "K": np.round(made.camera.K, DECIMALS).tolist(),
        "joints_3d": np.round(made.hand_joints, DECIMALS).tolist(),
        "hand_model": model.name,
        "tip_ids": model.tip_ids.tolist(),
        "provenance": provenance,
    }
    hand = {
        "id": hand_id,
        "category_id": HAND,
        **_region(made.masks.hand, "hand"),
        "iscrowd": 0,
        "keypoints": [number for keypoint in keypoints for number in keypoint],
        "num_keypoints": sum(v != OUTSIDE for _, _, v in keypoints),
        "pair_id": record.pair_id,
        "partner_id": object_id,
        "side": made.hand.side,
        OWN_KEY: own,
    }
    amodal = _region(made.completion.amodal_mask, "completed object")
    held = {
        "id": object_id,
        "category_id": OBJECT,
        **_region(made.masks.object, "object"),
        "iscrowd": 0,
        "amodal_segmentation": amodal["segmentation"],
        "pair_id": record.pair_id,
        "partner_id": hand_id,
        "class_id": provenance.get("class_id"),
        "object_id": provenance.get("object_id"),
    }
    return [hand, held]


def _region(mask: Mask, name: str) -> dict[str, Any]:
    """A mask as COCO keeps it. Raises UnsuitableRecord when it is empty: readers divide by its area."""
    from pycocotools import mask as rle

    if not mask.any():
        raise UnsuitableRecord(f"the mask of the {name} is empty")
    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    segmentation = {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}
    return {"segmentation": segmentation, "area": float(mask.sum()), "bbox": rle.toBbox(encoded).tolist()}


def _text(kind: str, split: str, images: Mapping[str, Mapping[str, Any]], part: Folder) -> Iterator[bytes]:
    """One annotation file of one split, in pieces. part: the folder with the samples of that split alone."""
    names = sorted({image["licence"] for image in images.values()})
    licences = {name: number for number, name in enumerate(names, 1)}
    head = {
        "info": {"description": f"Hands and the objects they hold, {split}", "contributor": "hoi-annotate"},
        "licenses": [{"id": number, "name": name, "url": ""} for name, number in licences.items()],
        "categories": CATEGORIES[kind],
    }
    yield _json(head)[:-1]
    yield b',\n"images": [\n'
    yield from _joined(
        {key: value for key, value in image.items() if key != "licence"} | {"license": licences[image["licence"]]}
        for image in images.values()
    )
    yield b'\n],\n"annotations": [\n'
    yield from _joined(
        annotation | {"image_id": images[row["image"]["file_name"]]["id"]}
        for _, row in part.rows()
        for annotation in row["annotations"]
        if kind == INSTANCES or annotation["category_id"] == HAND
    )
    yield b"\n]}\n"


def _joined(items: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    for number, item in enumerate(items):
        yield (b",\n" if number else b"") + _json(item)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode("ascii")
