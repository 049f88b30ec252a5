"""How deep a hand's fingers reach into each other."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.sdf import SignedDistance
from pipeline.hand_model import HandModel
from pipeline.types import F64

# MANO joints of the two outer phalanges: what of a finger may never be inside another one. (Webs between the
# proximal phalanges overlap at rest.)
_OUTER = {"index": (2, 3), "middle": (5, 6), "little": (8, 9), "ring": (11, 12), "thumb": (14, 15)}


def self_penetration_mm(verts: F64, model: HandModel) -> float:
    """The deepest skin vertex (778, 3) of one finger's outer phalanges inside another's, millimetres; 0: none."""
    deepest = 0.0
    fingers = {name: np.isin(model.part, joints) for name, joints in _OUTER.items()}
    for name, own in fingers.items():
        faces = model.faces_open[own[model.faces_open].all(1)]
        others = np.any([mask for other, mask in fingers.items() if other != name], axis=0)
        low, high = verts[own].min(0), verts[own].max(0)
        near = others & ((verts > low) & (verts < high)).all(1)
        if near.any():
            distance = SignedDistance(verts, faces).query(verts[near])[0]
            deepest = max(deepest, float(-distance.min()) * 1000)
    return deepest
