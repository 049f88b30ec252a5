"""gSDF: pairs as samples that the public readers of gSDF and AlignSDF train on.

Record -> place before ObMan's camera -> meta -> annotation -> signed distances -> files

ROOT/obman_<stage>.json                           annotations, see exports.gsdf.annotation
ROOT/splits/<stage>_all.json                      lists of 8-digit ids; also train_87k, test_6k, the readers' defaults
ROOT/data/<stage>/{rgb,segm,meta,mesh_hand,mesh_obj}/%08d.*
ROOT/data/{train,val}/{sdf_hand,sdf_obj,norm}/%08d.npz     see exports.gsdf.sdf
ROOT/alignsdf/{obman,input}.json                  AlignSDF's two lists

gSDF reads ObMan alone with a camera of its own (K of ObMan, 256 x 256 pixels), so every pair is placed before that one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from exports.base import ExportError, Format, Option, Place, Record, Sample, UnsuitableRecord
from exports.folder import Folder
from exports.gsdf import card as gsdf_card
from exports.gsdf import npz as gsdf_npz
from exports.gsdf.annotation import align_meta, annotation
from exports.gsdf.check import check_gsdf
from exports.gsdf.layout import SDF_STAGES, STAGES, data_path, kinds_of, split_paths
from exports.gsdf.obj import obj_text
from exports.gsdf.sdf import MAX_POINTS, MIN_POINTS, Normalisation, hand_surface, object_surface, signed_distances
from exports.hands import hand_of
from exports.obman.camera import MODES, TO_OPENGL, put_before_camera
from exports.obman.layers import render
from exports.obman.mesh import normalise
from exports.obman.meta import OWN_KEY, hand_meta, object_meta, object_points, own_meta, pickled
from exports.pictures import bgr, jpeg, png
from pipeline.geometry.orientation import is_watertight, orient_outward

DECIMALS = 7  # of metres: what an OBJ keeps, and what the distances are measured to


class GsdfFormat(Format):
    """gSDF's layout and keys; see the module."""

    name = "gsdf"
    about = "signed distances, as zerchen/gSDF and zerchen/AlignSDF train on (right hands, closed objects)"
    splits = STAGES
    options: ClassVar[Mapping[str, Option]] = {
        "camera": Option(
            "refit", "refit: crop to the pair and fit it under ObMan's camera; exact: turn the photo's camera", MODES
        ),
        "points": Option(
            MAX_POINTS,
            f"points with a signed distance about each surface, {MIN_POINTS} to {MAX_POINTS} (as in the public data); "
            "most of the time goes into these",
        ),
    }

    def parse(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their values. Raises ExportError for more points than the readers have room for."""
        parsed = super().parse(given)
        if not MIN_POINTS <= parsed["points"] <= MAX_POINTS:
            raise ExportError(f"points={parsed['points']}: is not from {MIN_POINTS} to {MAX_POINTS}")
        return parsed

    def sample(self, record: Record, place: Place, options: Mapping[str, Any]) -> Sample:
        """Picture, meshes, meta and signed distances of one pair."""
        made = record.reconstruction
        if made.hand.side != "right":
            raise UnsuitableRecord("a left hand, and gSDF knows right ones only: export with --mirror-left")
        model = hand_of(record)
        mesh = made.object.mesh
        placement = put_before_camera(
            made.hand_verts, made.object_pose.place(mesh.vertices), made.camera, options["camera"]
        )
        normalised = normalise(mesh)
        meta = hand_meta(record, model, placement) | object_meta(record, normalised, placement)

        # Measured to the rounded numbers that are stored, so that reading them back gives the same distances.
        hand = hand_surface(_rounded(meta["verts_3d"].astype(np.float64) @ TO_OPENGL), model)
        vertices = _rounded(object_points(meta, normalised.vertices))
        if not is_watertight(vertices, normalised.faces):
            raise UnsuitableRecord("the object's mesh is not closed, so it has no inside; make it watertight first")
        obj = object_surface(vertices, orient_outward(vertices, normalised.faces))
        norm = None
        contents: dict[str, bytes] = {}
        if place.split in SDF_STAGES:
            norm = Normalisation.of(np.concatenate([hand.vertices, obj.vertices]))
            of_hand, of_obj = signed_distances(hand, obj, norm, options["points"], record.pair_id)
            contents |= {
                "sdf_hand": gsdf_npz.dumps(of_hand),
                "sdf_obj": gsdf_npz.dumps(of_obj),
                "norm": gsdf_npz.dumps({"offset": norm.offset, "scale": norm.scale}),
            }
        annotated = annotation(record, model, placement, meta, obj, norm)
        meta = align_meta(meta, annotated) | {OWN_KEY: own_meta(record, model, placement)}
        contents |= {
            "rgb": jpeg(bgr(placement.picture(record.photo.image))),
            "segm": png(render(hand.vertices, model, obj.vertices, obj.faces).segm),
            "meta": pickled(meta),
            "mesh_hand": obj_text(hand.vertices, hand.faces),
            "mesh_obj": obj_text(obj.vertices, obj.faces),
        }
        files = {data_path(place.split, kind, place.id): data for kind, data in contents.items()}
        worst = max(value for name, value in placement.residual_px.items() if name.endswith("_median"))
        return Sample(files, {"wider_than_obman": placement.wider_than_obman, "residual_px": worst}, annotated)

    def finish(self, folder: Folder, options: Mapping[str, Any]) -> None:
        """The annotations and the lists of each stage."""
        for stage in STAGES:
            folder.make(*(f"data/{stage}/{kind}" for kind in kinds_of(stage)))
            ids = [sample.id for sample in folder.samples if sample.split == stage]
            folder.write(f"obman_{stage}.json", _annotations(folder, stage, ids))
            for path in split_paths(stage):
                folder.write(path, (json.dumps(ids, indent=0) + "\n").encode())
        ids_of = {stage: [sample.id for sample in folder.samples if sample.split == stage] for stage in STAGES}
        split = {"obman": {}, "train": ids_of["train"]}
        names = {"filenames": [f"data/obman/test/rgb/{sample_id}.jpg" for sample_id in ids_of["test"]]}
        for name, content in (("obman", split), ("input", names)):
            folder.write(f"alignsdf/{name}.json", (json.dumps(content, indent=0) + "\n").encode())

    def card(self, header: Mapping[str, Any]) -> str:
        """How to load it."""
        return gsdf_card.text(header)

    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Read every sample back the way the readers do; one line per finding that starts with the file's name."""
        return check_gsdf(out, manifest)


def _annotations(folder: Folder, stage: str, ids: list[str]) -> Iterator[bytes]:
    """obman_<stage>.json piece by piece: COCO's two lists, ids as numbers."""
    yield b'{"images": ['
    for index, sample_id in enumerate(ids):
        image = json.dumps({"id": int(sample_id), "file_name": sample_id})
        yield f"{',' if index else ''}\n{image}".encode()
    yield b'\n],\n"annotations": ['
    comma = ""
    for sample, row in folder.rows():
        if sample.split == stage:
            content = json.dumps({"id": int(sample.id), "image_id": int(sample.id), **row})
            yield f"{comma}\n{content}".encode()
            comma = ","
    yield b"\n]}\n"


def _rounded(vertices: np.ndarray) -> np.ndarray:
    return np.round(vertices, DECIMALS) + 0.0
