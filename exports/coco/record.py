"""What coco, freihand and fiftyone take from a record in the same way: its hand model, its provenance, its JPEG."""

from __future__ import annotations

import json
from typing import Any, cast

import cv2
import numpy as np

from exports.base import ExportError, Record, UnsuitableRecord
from exports.hands import hand_of
from pipeline.hand_model import HandModel
from pipeline.types import U8

MODEL_TOLERANCE = 1e-4  # metres between a record's vertices and what its parameters give


def model_of(record: Record) -> HandModel:
    """The hand model a record was made with. Raises UnsuitableRecord when it is not here or gives another hand."""
    made = record.reconstruction
    model = hand_of(record)
    verts, joints = model.posed(made.hand)
    gap = max(np.abs(verts - made.hand_verts).max(), np.abs(joints - made.hand_joints).max())
    if not gap <= MODEL_TOLERANCE:
        raise UnsuitableRecord(f"the hand's parameters give vertices {gap * 1e3:.2f} mm from those recorded")
    return model


def provenance_of(record: Record) -> dict[str, Any]:
    """The provenance as it comes back from JSON. Raises UnsuitableRecord when JSON cannot hold it."""
    try:
        return cast("dict[str, Any]", json.loads(json.dumps(record.provenance, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise UnsuitableRecord(f"provenance is not JSON-like: {error}") from error


def encode_jpeg(image: U8, quality: int = 95) -> bytes:
    """(H, W, 3) RGB -> a JPEG whose colours are as sharp as its brightness, so that outlines stay where masks are."""
    full_colour = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    bgr = np.ascontiguousarray(image[..., ::-1])
    ok, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, *full_colour])
    if not ok:
        raise ExportError("cv2 could not encode a photo as JPEG")
    return bytes(data.tobytes())
