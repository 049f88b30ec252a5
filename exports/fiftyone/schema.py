"""metadata.json: which fields the samples have, as FiftyOne writes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from exports.coco.keypoints import JOINTS, SKELETON
from exports.fiftyone.layout import (
    AMODAL,
    GROUP_FIELD,
    INSTANCES,
    KEYPOINTS,
    LABELS,
    PHOTO_SLICE,
    SCENE_SLICE,
    SEGMENTATION,
    VERSION,
)

TEXTS = ("pair_id", "side", "hand_model", "licence", "source", "verdict", "recipe", "class_id", "object_id", "subject")
Field = dict[str, Any]


def metadata(metrics: Iterable[str]) -> dict[str, Any]:
    """The dataset's document. metrics: names of all metrics that any sample has."""
    return {
        "version": VERSION,
        "media_type": "group",
        "group_field": GROUP_FIELD,
        "group_media_types": {PHOTO_SLICE: "image", SCENE_SLICE: "3d"},
        "default_group_slice": PHOTO_SLICE,
        "tags": [],
        "info": {
            "maker": "hoi-annotate",
            "units": "metres; joints_3d and K are of the photo's OpenCV camera, scenes are turned to y up",
        },
        "app_config": {
            "media_fields": ["filepath"],
            "grid_media_field": "filepath",
            "modal_media_field": "filepath",
            "plugins": {},
        },
        "classes": {INSTANCES: list(LABELS.values()), AMODAL: [LABELS[2]]},
        "default_classes": [],
        "mask_targets": {SEGMENTATION: {str(value): label for value, label in LABELS.items()}},
        "default_mask_targets": {},
        "skeletons": {KEYPOINTS: {"labels": list(JOINTS), "edges": [[a - 1, b - 1] for a, b in SKELETON]}},
        "sample_fields": _sample_fields(sorted(set(metrics))),
        "frame_fields": [],
        "saved_views": [],
        "workspaces": [],
        "annotation_runs": {},
        "brain_methods": {},
        "evaluations": {},
        "runs": {},
    }


def _sample_fields(metrics: Sequence[str]) -> list[Field]:
    whole_numbers = ("size_bytes", "width", "height", "num_channels")
    image = [_field("mime_type", "String"), *(_field(name, "Int") for name in whole_numbers)]
    group = [_field("id", "ObjectId", db_field="_id"), _field("name", "String")]
    return [
        _field("id", "ObjectId", db_field="_id"),
        _field("filepath", "String"),
        _list("tags", "String"),
        _embedded("metadata", "fiftyone.core.metadata.Metadata", image),
        _field("_media_type", "String"),
        _field("_rand", "Float"),
        _field("_dataset_id", "ObjectId"),
        _field("created_at", "DateTime", read_only=True),
        _field("last_modified_at", "DateTime", read_only=True),
        _embedded(GROUP_FIELD, "fiftyone.core.groups.Group", group),
        *(_field(name, "String") for name in TEXTS),
        _field("revision", "Int"),
        _embedded(
            "metrics",
            "fiftyone.core.odm.embedded_document.DynamicEmbeddedDocument",
            [_field(name, "Float") for name in metrics],
        ),
        _field("provenance", "Dict"),
        _list("K", ""),
        _list("joints_3d", ""),
        _detections(INSTANCES),
        _detections(AMODAL),
        _embedded(
            KEYPOINTS,
            "fiftyone.core.labels.Keypoints",
            [_list("keypoints", "EmbeddedDocument", "fiftyone.core.labels.Keypoint", _keypoint())],
        ),
        _embedded(SEGMENTATION, "fiftyone.core.labels.Segmentation", [*_label()[:2], *_mask()]),
    ]


def _detections(name: str) -> Field:
    box = [_list("bounding_box", "Float"), *_mask(), _field("confidence", "Float"), _field("index", "Int")]
    items = _list("detections", "EmbeddedDocument", "fiftyone.core.labels.Detection", [*_label(), *box])
    return _embedded(name, "fiftyone.core.labels.Detections", [items])


def _keypoint() -> list[Field]:
    points = [_field("points", "Keypoints"), _list("confidence", "Float"), _field("index", "Int")]
    return [*_label(), *points, _list("visible", "Int")]


def _label() -> list[Field]:
    attributes = _field("attributes", "Dict", subfield="EmbeddedDocument", document="fiftyone.core.labels.Attribute")
    return [_field("id", "ObjectId", db_field="_id"), _list("tags", "String"), attributes, _field("label", "String")]


def _mask() -> list[Field]:
    return [_field("mask", "Array"), _field("mask_path", "String")]


def _embedded(name: str, document: str, fields: Sequence[Field]) -> Field:
    return _field(name, "EmbeddedDocument", document=document, fields=fields)


def _list(name: str, subfield: str, document: str | None = None, fields: Sequence[Field] = ()) -> Field:
    return _field(name, "List", subfield=subfield, document=document, fields=fields)


def _field(
    name: str,
    kind: str,
    *,
    subfield: str = "",
    document: str | None = None,
    fields: Sequence[Field] = (),
    db_field: str = "",
    read_only: bool = False,
) -> Field:
    return {
        "name": name,
        "ftype": f"fiftyone.core.fields.{kind}Field",
        "embedded_doc_type": document,
        "subfield": f"fiftyone.core.fields.{subfield}Field" if subfield else None,
        "fields": list(fields),
        "db_field": db_field or name,
        "description": None,
        "info": None,
        "read_only": read_only,
    }
