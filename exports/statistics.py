"""What a dataset is made of, in figures: of each record, and of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exports.base import Record
from pipeline.hand_model.hand import OPEN_HAND

CONTACT_M = 0.005  # a hand vertex closer to the object than this touches it (or is inside)
MEASURES = {  # what is measured of a pair, and its unit
    "penetration_mm": "deepest penetration, mm",
    "intersection_cm3": "volume of the intersection, cm³",
    "displacement_cm": "displacement in simulation, cm",
    "contact_fraction": "share of the hand's vertices in contact",
    "hand_iou": "IoU of the hand with its mask",
    "object_iou": "IoU of the object with its mask",
    "confidence": "the tool's confidence",
    "object_size_cm": "object's bounding box diagonal, cm",
    "distance_m": "wrist to camera, m",
}
KINDS = {  # what is counted
    "side": "hand",
    "touching": "parts that touch",
    "object": "object",
    "kind": "object's shape",
    "recipe": "recipe",
    "licence": "licence",
    "source": "source",
    "verdict": "verdict",
    "reviewer": "reviewer",
    "revision": "revision",
}


def of(record: Record) -> dict[str, Any]:
    """One record's share (JSON): {counted: {name: [values]}, measured: {name: number}, contact: [vertex ids]}.

    Vertex ids are those of the hand `model` it is in.
    """
    made, origin = record.reconstruction, record.provenance
    vertices = made.object.mesh.vertices
    size = made.object_pose.scale * float(np.linalg.norm(np.ptp(vertices, 0))) if len(vertices) else None
    measured = {name: made.metrics.get(name) for name in MEASURES} | {
        "confidence": made.diagnostics.get("confidence"),
        "object_size_cm": None if size is None else 100 * size,
        "distance_m": float(np.linalg.norm(made.hand_joints[0])),
    }
    counted = {
        "side": [made.hand.side],
        "touching": list(made.contacts.touching),
        "kind": [made.object.kind],
        "object": [_word(origin.get("object_id") or origin.get("class_id"))],
        "revision": [str(record.revision)],
        **{name: [_word(origin.get(name))] for name in ("recipe", "licence", "source", "verdict", "reviewer")},
    }
    return {
        "side": made.hand.side,
        "model": made.estimate.model,
        "counted": counted,
        "measured": {
            name: round(float(value), 6) for name, value in measured.items() if value is not None and np.isfinite(value)
        },
        "contact": np.flatnonzero(made.contacts.distance < CONTACT_M).tolist(),
    }


@dataclass
class Figures:
    """The figures of a dataset."""

    count: int = 0
    counted: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in KINDS})
    measured: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})
    contact: dict[str, np.ndarray] = field(default_factory=dict)  # by hand: (778,) how many pairs touch there
    hands: Counter[str] = field(default_factory=Counter)  # "right", "left" for the open hand; "right mano" for another

    def summary(self) -> dict[str, dict[str, float]]:
        """Quartiles of everything measured."""
        made = {}
        for name, values in self.measured.items():
            if values:
                low, middle, high = np.percentile(values, [25, 50, 75]).round(4).tolist()
                made[name] = {"n": len(values), "p25": low, "median": middle, "p75": high}
        return made


def collect(shares: Iterable[Mapping[str, Any]]) -> Figures:
    """The figures of a dataset from its records' shares."""
    figures = Figures()
    for share in shares:
        figures.count += 1
        for name, values in share["counted"].items():
            figures.counted[name].update(values)
        for name, value in share["measured"].items():
            figures.measured[name].append(value)
        hand = share["side"] if share["model"] == OPEN_HAND else f"{share['side']} {share['model']}"
        figures.hands[hand] += 1
        touched = figures.contact.setdefault(hand, np.zeros(778, dtype=np.int64))
        touched[share["contact"]] += 1
    return figures


def _word(value: Any) -> str:
    return str(value) if value not in (None, "") else "unknown"
