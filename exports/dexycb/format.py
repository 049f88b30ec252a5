"""DexYCB: pairs as sequences of one frame that readers of `NVlabs/dex-ycb-toolkit` know.

Record -> 640 x 480 window -> labels and poses -> render depth and segmentation -> files -> objects numbered

ROOT/<subject>/<id>/meta.yml, pose.npz, <serial>/{color,aligned_depth_to_color,labels}_000000.*
ROOT/calibration/{intrinsics,extrinsics_<id>,mano_<id>_<side>}/*.yml
ROOT/models/<name>/textured_simple.obj ...      see ho3d.model
ROOT/dataset.json                               what the toolkit has hard-coded: subjects, serials, classes, splits
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from exports.base import Format, Place, Record, Sample, UnsuitableRecord
from exports.dexycb import card as dexycb_card
from exports.dexycb.check import check_dexycb
from exports.dexycb.label import PENDING, label_arrays, millimetres, pose_arrays, segmentation, tag_pose
from exports.dexycb.layout import (
    HAND_LABEL,
    LISTS,
    calibration_paths,
    lists,
    meta_of,
    numbers,
    sequence_paths,
    serial_of,
    subject_of,
    yaml_text,
)
from exports.folder import Folder
from exports.ho3d.hands import npz, write_hand_models
from exports.ho3d.model import model_files
from exports.ho3d.scene import Scene, encode, own_truth, stage
from exports.pictures import bgr


class DexYCBFormat(Format):
    """DexYCB's layout and keys; see the module."""

    name = "dexycb"
    about = "DexYCB, as NVlabs/dex-ycb-toolkit reads a sequence"

    def sample(self, record: Record, place: Place, options: Mapping[str, Any]) -> Sample:
        """Pictures, labels, calibration and model of one pair."""
        scene = stage(record)
        side, sequence = record.reconstruction.hand.side, f"{subject_of(record, place.split)}/{place.id}"
        serial = serial_of(scene.view.cv_K)
        at = sequence_paths(sequence, serial) | calibration_paths(place.id, side, serial)
        label = label_arrays(scene)
        files = {
            at["color"]: encode(".jpg", bgr(scene.image)),
            at["depth"]: encode(".png", millimetres(scene.layers.depth)),
            at["label"]: npz(label),
            at["pose"]: npz(pose_arrays(label, scene)),
            at["own"]: _own(scene),
            **{at[kind]: yaml_text(content).encode() for kind, content in _calibration(scene, serial).items()},
            **model_files(scene.model),
        }
        entry = {"sequence": sequence, "serial": serial, "model": scene.model.name, "scale": round(scene.view.scale, 4)}
        return Sample(files, entry)

    def finish(self, folder: Folder, options: Mapping[str, Any]) -> None:
        """Objects get their numbers; lists."""
        folder.make("calibration/intrinsics", "models")
        numbered = numbers([sample.entry["model"] for sample in folder.samples])
        for sample in folder.samples:
            entry = sample.entry
            number, at = numbered[entry["model"]], sequence_paths(entry["sequence"], entry["serial"])
            folder.write(at["meta"], yaml_text(meta_of(entry, number)).encode())
            if number != PENDING:
                _number(folder, at["label"], number)
        content = lists([sample.entry for sample in folder.samples])
        folder.write(LISTS, (json.dumps(content, indent=1) + "\n").encode())
        write_hand_models(folder)

    def card(self, header: Mapping[str, Any]) -> str:
        """How to load it."""
        return dexycb_card.text(header)

    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Read every sequence back the way readers do; one line per finding that starts with the file's name."""
        return check_dexycb(out, manifest)


def _calibration(scene: Scene, serial: str) -> dict[str, dict[str, Any]]:
    """The camera is the world, and the only one."""
    K = scene.view.cv_K
    camera = {"fx": float(K[0, 0]), "fy": float(K[1, 1]), "ppx": float(K[0, 2]), "ppy": float(K[1, 2])}
    identity = [float(value) for value in np.eye(3, 4).ravel()]
    return {
        "intrinsics": {"color": camera, "depth": camera},
        "extrinsics": {"master": serial, "extrinsics": {serial: identity, "apriltag": tag_pose(scene)}},
        "mano": {"betas": [float(value) for value in scene.record.reconstruction.hand.betas]},
    }


def _own(scene: Scene) -> bytes:
    made = scene.record.reconstruction.hand
    names = ("global_orient", "hand_pose", "betas", "transl")
    hand = {name: np.asarray(getattr(made, name), dtype=np.float64).tolist() for name in names}
    try:
        return (json.dumps({**own_truth(scene), "hand_in_photo": hand}, sort_keys=True, indent=1) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise UnsuitableRecord(f"provenance or metrics are not JSON-like: {error}") from error


def _number(folder: Folder, name: str, number: int) -> None:
    """Put the object's number into the `seg` of a label file."""
    with np.load(io.BytesIO((folder.root / name).read_bytes()), allow_pickle=False) as label:
        arrays = dict(label)
    hand, seen = arrays["seg"] == HAND_LABEL, arrays["seg"] != 0
    folder.write(name, npz({**arrays, "seg": segmentation(hand, seen & ~hand, number)}))
