"""Where DexYCB's files lie, and how its small text files are written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from exports.base import Record
from pipeline.hand_model.hand import OPEN_HAND
from pipeline.types import F64

LISTS = "dataset.json"
OWN_FILE = "hoi_annotate.json"
HAND_LABEL = 255  # in `seg`; no object gets this number
LARGEST_U8 = 254
FRAME = "000000"


def subject_of(record: Record, split: str) -> str:
    """The folder of a subject: its name where it is fit for a path. Those that nobody named are kept apart by split."""
    subject = str(record.provenance.get("subject") or "")
    if not subject:
        return f"subject-unknown-{split}"
    if len(subject) <= 40 and subject.isascii() and all(c.isalnum() or c in "-_" for c in subject):
        return f"subject-{subject}"
    return f"subject-{hashlib.sha256(subject.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def serial_of(K: F64) -> str:
    """Twelve digits that name a camera, as a RealSense has them: photos with equal intrinsics share one."""
    text = " ".join(f"{K[i, j]:.6f}" for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return f"{int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) % 10**12:012d}"


def numbers(models: Sequence[str]) -> dict[str, int]:
    """The number (`ycb_id`) of each object: by sorted name from 1, without the hand's."""
    free = [number for number in range(1, len(set(models)) + 2) if number != HAND_LABEL]
    return dict(zip(sorted(set(models)), free, strict=False))


def lists(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """dataset.json: what the toolkit has hard-coded, for these samples of the manifest."""
    splits: dict[str, list[str]] = {}
    for sample in samples:
        splits.setdefault(sample["split"], []).append(sample["sequence"])
    return {
        "subjects": sorted({sample["sequence"].split("/")[0] for sample in samples}),
        "serials": sorted({sample["serial"] for sample in samples}),
        "ycb_classes": {str(number): name for name, number in numbers([s["model"] for s in samples]).items()},
        "splits": {name: sorted(sequences) for name, sequences in sorted(splits.items())},
    }


def sequence_paths(sequence: str, serial: str) -> dict[str, str]:
    """The files of a sequence (`<subject>/<id>`) by kind, below the root."""
    return {
        "color": f"{sequence}/{serial}/color_{FRAME}.jpg",
        "depth": f"{sequence}/{serial}/aligned_depth_to_color_{FRAME}.png",
        "label": f"{sequence}/{serial}/labels_{FRAME}.npz",
        "meta": f"{sequence}/meta.yml",
        "pose": f"{sequence}/pose.npz",
        "own": f"{sequence}/{OWN_FILE}",
    }


def calibration_paths(number: str, side: str, serial: str) -> dict[str, str]:
    """The calibration files of the sample `number` by kind."""
    return {
        "intrinsics": f"calibration/intrinsics/{serial}_640x480.yml",
        "extrinsics": f"calibration/extrinsics_{number}/extrinsics.yml",
        "mano": f"calibration/mano_{number}_{side}/mano.yml",
    }


def meta_of(sample: Mapping[str, Any], number: int) -> dict[str, Any]:
    """meta.yml of a sample of the manifest, whose object has that number. The last four keys are ours."""
    side, model = sample["side"], sample["hand_model"]
    return {
        "serials": [sample["serial"]],
        "num_frames": 1,
        "extrinsics": sample["id"],
        "ycb_ids": [number],
        "ycb_grasp_ind": 0,
        "mano_sides": [side],
        "mano_calib": [f"{sample['id']}_{side}"],
        "hand_model": model,
        "pca_basis": f"hand_models/{model}/{side}.npz" if model == OPEN_HAND else model,
        "models": [sample["model"]],
        "split": sample["split"],
    }


def yaml_text(content: Mapping[str, Any], indent: str = "") -> str:
    """Nested mappings of strings, ints, floats and lists of them. Strings are quoted: else '0123' would be a number."""
    lines = []
    for key, value in content.items():
        head = f"{indent}{key if key.isidentifier() else json.dumps(key)}:"
        if isinstance(value, Mapping):
            lines.append(f"{head}\n{yaml_text(value, indent + '  ')}")
        elif isinstance(value, list):
            lines.append(f"{head} [{', '.join(_scalar(item) for item in value)}]\n")
        else:
            lines.append(f"{head} {_scalar(value)}\n")
    return "".join(lines)


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return f"{value + 0.0:.9f}"  # never with an exponent, which YAML 1.1 takes for a word
    return json.dumps(value)
