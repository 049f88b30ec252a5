"""HO-3D, version 2 or 3: pairs as frames that readers of `shreyashampali/ho3d` know.

Record -> 640 x 480 window -> OpenGL camera -> meta -> render depth and segmentation -> files

ROOT/{train,evaluation}/<sequence>/{rgb,depth,seg,meta}/0000.*      one sequence of one frame per pair
ROOT/{train,evaluation}.txt                                         lines <sequence>/0000
ROOT/evaluation_{xyz,verts}.json                                    what the evaluation split withholds
ROOT/models/<name>/textured_simple.obj ...                          see ho3d.model
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from exports import numpy_pickle
from exports.base import Format, Option, Place, Record, Sample, UnsuitableRecord
from exports.folder import Folder
from exports.ho3d import card as ho3d_card
from exports.ho3d.check import check_ho3d
from exports.ho3d.hands import write_hand_models
from exports.ho3d.layers import encode_depth, segmentation
from exports.ho3d.layout import FRAME, JOINTS, SPLITS, VERSIONS, paths
from exports.ho3d.meta import OWN_KEY, frame_meta
from exports.ho3d.model import model_files
from exports.ho3d.scene import encode, stage
from exports.pictures import bgr


class HO3DFormat(Format):
    """HO-3D's layout and keys; see the module."""

    name = "ho3d"
    about = "HO-3D v2 / v3, as shreyashampali/ho3d reads it (right hands)"
    splits = SPLITS
    split = "train=0.9,evaluation=0.1"
    options: ClassVar[Mapping[str, Option]] = {
        "version": Option("v3", "v2: PNG photos; v3: JPEG photos and contact of every hand vertex", VERSIONS),
        "evaluation_joints": Option(
            "root",
            "handJoints3D of the evaluation split: root, as the public set, whose readers expect it; or all",
            JOINTS,
        ),
    }

    def sample(self, record: Record, place: Place, options: Mapping[str, Any]) -> Sample:
        """Pictures, meta and model of one pair."""
        if record.reconstruction.hand.side == "left":
            raise UnsuitableRecord("HO-3D has right hands only; --mirror-left mirrors the left ones")
        scene = stage(record)
        joints = options["evaluation_joints"] if place.split == "evaluation" else "all"
        meta = frame_meta(scene, options["version"], joints)
        at = paths(place.split, place.id, options["version"])
        layers = scene.layers
        files = {
            at["rgb"]: encode(Path(at["rgb"]).suffix, bgr(scene.image)),
            at["depth"]: encode(".png", encode_depth(layers.depth)),
            at["seg"]: segmentation(layers, options["version"]),
            at["meta"]: _pickle(meta),
            **model_files(scene.model),
        }
        return Sample(files, {"model": scene.model.name, "scale": round(scene.view.scale, 4)})

    def finish(self, folder: Folder, options: Mapping[str, Any]) -> None:
        """Lists, labels of the objects, the truth of the evaluation split."""
        folder.make(*SPLITS)
        labels = {name: number for number, name in enumerate(sorted({s.entry["model"] for s in folder.samples}), 1)}
        for sample in folder.samples:
            name = paths(sample.split, sample.id, options["version"])["meta"]
            meta = numpy_pickle.loads((folder.root / name).read_bytes())
            folder.write(name, numpy_pickle.dumps({**meta, "objLabel": labels[sample.entry["model"]]}))
        for split in SPLITS:
            lines = (f"{sample.id}/{FRAME}\n".encode() for sample in folder.samples if sample.split == split)
            folder.write(f"{split}.txt", lines)
        for kind, key in (("xyz", "hand_joints"), ("verts", "hand_verts")):
            folder.write(f"evaluation_{kind}.json", _withheld(folder, options["version"], key))
        write_hand_models(folder)

    def card(self, header: Mapping[str, Any]) -> str:
        """How to load it."""
        return ho3d_card.text(header)

    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Read every frame back the way HO-3D's readers do; one line per finding that starts with the file's name."""
        return check_ho3d(out, manifest)


def _withheld(folder: Folder, version: str, key: str) -> Iterator[bytes]:
    """One array for every line of evaluation.txt, as JSON, frame by frame."""
    yield b"["
    comma = ""
    for sample in folder.samples:
        if sample.split == "evaluation":
            data = (folder.root / paths(sample.split, sample.id, version)["meta"]).read_bytes()
            points = numpy_pickle.loads(data)[OWN_KEY][key].astype(np.float64)
            yield (comma + json.dumps(np.round(points, 6).tolist(), separators=(",", ":"))).encode()
            comma = ",\n"
    yield b"]\n"


def _pickle(meta: dict[str, Any]) -> bytes:
    try:
        return numpy_pickle.dumps(meta)
    except TypeError as error:
        raise UnsuitableRecord(f"provenance or metrics are not JSON-like: {error}") from error
