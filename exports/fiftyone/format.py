"""FiftyOne: the dataset as FiftyOne itself exports it, to look through in its App.

    ROOT/metadata.json, samples.json     the dataset's fields, and two samples for each pair
    ROOT/data/<photo>-<content>.jpg      slice `photo`: masks, completed object, keypoints, metrics
    ROOT/data/<id>.fo3d + <id>.glb       slice `scene`: hand and object in 3D, seen from the photo's camera
    ROOT/fields/<field>/*.png            masks on disk

Splits are tags. Ids of documents come from the samples' ids, so equal exports are equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from exports.base import Format, Option, Place, Record, Sample
from exports.coco.record import provenance_of
from exports.fiftyone import card as fiftyone_card
from exports.fiftyone.check import check_fiftyone
from exports.fiftyone.documents import documents
from exports.fiftyone.layout import METADATA, SAMPLES, data_path
from exports.fiftyone.scene import model_of_pair, scene
from exports.fiftyone.schema import metadata
from exports.folder import Folder
from exports.hands import checked_hand
from exports.pictures import bgr, jpeg


class FiftyOneFormat(Format):
    """FiftyOneDataset's layout; see the module."""

    name = "fiftyone"
    about = "FiftyOne 1.1 and newer: photos with masks and keypoints, grouped with a 3D scene each"
    options: ClassVar[Mapping[str, Option]] = {}

    def sample(self, record: Record, place: Place, options: Mapping[str, Any]) -> Sample:
        """Photo, masks, model and scene, and a row with the documents as text."""
        made = record.reconstruction
        model, provenance = checked_hand(record), provenance_of(record)
        photo = jpeg(bgr(record.photo.image))
        name = f"{record.photo.sha256[:16]}-{hashlib.sha256(photo).hexdigest()[:16]}.jpg"
        made_of, files = documents(record, place, name, len(photo), model, provenance)
        height, width = record.photo.size
        seen = scene(place.id, made_of[0]["K"][1][1], width, height)
        files[data_path(name)] = photo
        files[data_path(f"{place.id}.glb")] = model_of_pair(made, model.faces)
        files[data_path(f"{place.id}.fo3d")] = _json(seen)
        metrics = sorted(set(made_of[0]["metrics"]) - {"_cls"})
        row = {"documents": b",\n".join(map(_json, made_of)).decode("ascii"), "metrics": metrics}
        return Sample(files, {"file_name": name}, row)

    def finish(self, folder: Folder, options: Mapping[str, Any]) -> None:
        """The two JSON files."""
        folder.make("data", "fields")
        metrics: set[str] = set()
        for _, row in folder.rows():
            metrics.update(row["metrics"])
        folder.write(METADATA, _json(metadata(metrics)) + b"\n")
        folder.write(SAMPLES, _text(folder))

    def card(self, header: Mapping[str, Any]) -> str:
        """How to load it."""
        return fiftyone_card.TEXT

    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Every document against its files."""
        return check_fiftyone(out, manifest)


def _text(folder: Folder) -> Iterator[bytes]:
    yield b'{"samples": ['
    separator = b"\n"
    for _, row in folder.rows():
        yield separator + row["documents"].encode("ascii")
        separator = b",\n"
    yield b"\n]}\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False).encode("ascii")
