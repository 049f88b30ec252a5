"""FreiHAND: hands alone, as the public toolbox (lmb-freiburg/freihand) and the loaders modelled on it read them.

    ROOT/{training,validation,evaluation}_{K,mano,scale,verts,xyz}.json    one entry per sample, in order
    ROOT/{training,validation,evaluation}_hoi_annotate.json                the same for what FreiHAND has no list for
    ROOT/{training,validation,evaluation}/{rgb,mask}/%08d.jpg              224 x 224, numbered from 0 without gaps
    ROOT/hand_models/open-hand/right.json                                  faces and mean pose, if there are open hands

Right hands only, metres, OpenCV camera. Splits train, val and test become the sets training, validation (which
FreiHAND itself does not have) and evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from exports.base import ExportError, Format, Option, Place, Record, Sample, UnsuitableRecord
from exports.coco.record import provenance_of
from exports.folder import Folder
from exports.freihand import card as freihand_card
from exports.freihand.check import check_freihand
from exports.freihand.crop import square_about
from exports.freihand.hand import bone_length, mano_of
from exports.freihand.layout import LISTS, MODEL_PATH, OWN, SETS, VERSION_OFFSET, list_path, picture_path
from exports.hands import checked_hand
from exports.pictures import bgr, jpeg
from pipeline.hand_model.hand import OPEN_HAND, read_hand
from pipeline.types import F64

DECIMALS = 6  # metres, radians, pixels
MASK_QUALITY = 100  # readers threshold masks at 240 or 127


class FreiHandFormat(Format):
    """FreiHAND's layout and lists; see the module."""

    name = "freihand"
    about = "FreiHAND (hand only, right hands), as lmb-freiburg/freihand reads it"
    splits = tuple(SETS)
    options: ClassVar[Mapping[str, Option]] = {}

    def sample(self, record: Record, place: Place, options: Mapping[str, Any]) -> Sample:
        """Picture and mask under the sample's own id, and a row of what goes into the lists."""
        made = record.reconstruction
        if made.hand.side != "right":
            raise UnsuitableRecord("FreiHAND has right hands only; --mirror-left mirrors left ones")
        model, provenance = checked_hand(record), provenance_of(record)
        square = square_about(made.hand_verts, made.camera)
        mask = square.picture(made.masks.hand.astype(np.uint8) * 255) > 127
        if not mask.any():
            raise UnsuitableRecord("nothing of the hand is visible")
        # rounded first, so that root and bone are those of the numbers that are written
        K, joints = _rounded(square.camera(made.camera).K), _rounded(made.hand_joints)
        lists = {
            "K": K.tolist(),
            "mano": [_rounded(mano_of(made.hand, joints, K, model)).tolist()],
            "scale": round(bone_length(joints), DECIMALS),
            "verts": _rounded(made.hand_verts).tolist(),
            "xyz": joints.tolist(),
        }
        own = {
            "sample": place.id,
            "pair_id": record.pair_id,
            "revision": record.revision,
            "photo": {"name": record.photo.name, "sha256": record.photo.sha256, "size": list(record.photo.size)},
            "crop": [square.left, square.top, square.side],
            "hand_model": model.name,
            "tip_ids": model.tip_ids.tolist(),
            "provenance": provenance,
        }
        set_name = SETS[place.split]
        pictures = {"rgb": jpeg(bgr(square.picture(record.photo.image)))}
        pictures["mask"] = jpeg(np.repeat(mask.astype(np.uint8)[..., None] * 255, 3, axis=2), MASK_QUALITY)
        files = {picture_path(set_name, kind, _own_stem(place.id)): data for kind, data in pictures.items()}
        row = {name: _json(value).decode("ascii") for name, value in {**lists, OWN: own}.items()}  # text reads faster
        return Sample(files, {}, row)

    def finish(self, folder: Folder, options: Mapping[str, Any]) -> None:
        """Numbers from 0 in the order of the ids, and the lists in that order."""
        for split, set_name in SETS.items():
            samples = [sample for sample in folder.samples if sample.split == split]
            if split == "train" and len(samples) > VERSION_OFFSET:
                raise ExportError(
                    f"{len(samples)} training samples: FreiHAND's readers take number {VERSION_OFFSET} for another "
                    "version of sample 0; export fewer pairs, for example by licence or with other split shares"
                )
            for kind in ("rgb", "mask"):
                folder.make(f"{set_name}/{kind}")
                for number, sample in enumerate(samples):
                    old = picture_path(set_name, kind, _own_stem(sample.id))
                    folder.rename(old, picture_path(set_name, kind, f"{number:08d}"))
            for number, sample in enumerate(samples):
                sample.entry["index"] = number
            part = replace(folder, samples=samples)
            for name in (*LISTS, OWN):
                folder.write(list_path(set_name, name), _text(part, name))
        if any(sample.entry["hand_model"] == OPEN_HAND for sample in folder.samples):  # a user's MANO is not passed on
            model = read_hand("right", OPEN_HAND)
            arrays = {"faces": model.faces, "mean_pose": model.mean_pose, "tip_ids": model.tip_ids}
            content = {"model": model.name, **{key: value.tolist() for key, value in arrays.items()}}
            folder.write(MODEL_PATH, _json(content) + b"\n")

    def card(self, header: Mapping[str, Any]) -> str:
        """How to load it."""
        return freihand_card.TEXT

    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Pose every hand from its 61 numbers and look at every picture."""
        return check_freihand(out, manifest)


def _own_stem(sample_id: str) -> str:
    """The file name before the number is known; no number, so that the two never meet."""
    return f"sample-{sample_id}"


def _text(part: Folder, name: str) -> Iterator[bytes]:
    """One list, in pieces. part: the folder with the samples of one set alone."""
    separator = b"[\n"
    for _, row in part.rows():
        yield separator + row[name].encode("ascii")
        separator = b",\n"
    yield b"[]\n" if separator == b"[\n" else b"\n]\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode("ascii")


def _rounded(values: F64) -> F64:
    return np.asarray(np.round(values, DECIMALS) + 0.0)  # + 0.0 turns -0.0 into 0.0
