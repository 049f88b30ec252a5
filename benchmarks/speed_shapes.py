"""Meshes the speed benchmarks measure on, made in code; metres."""

from __future__ import annotations

import numpy as np
import trimesh
from numpy.typing import NDArray

from pipeline.hand_model import load_hand
from pipeline.types import HandPose

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]

SUBDIVISIONS = {"5k object": 4, "20k object": 5}
TINY = {"tiny object": 2}
RADIUS = 0.06


def shapes(tiny: bool = False) -> dict[str, Mesh]:
    """The open hand and bumpy solids of 5,120 and 20,480 faces; of 320 with `tiny`."""
    solids = {name: bumpy(n) for name, n in (TINY if tiny else SUBDIVISIONS).items()}
    return solids if tiny else {"hand": open_hand(), **solids}


def open_hand() -> Mesh:
    """The right open hand at rest, centred: 778 vertices, 1,552 faces, closed, with folds."""
    model = load_hand("right")
    zero = np.zeros(3)
    vertices, _ = model.posed(HandPose("right", zero, np.zeros(45), np.zeros(10), zero))
    return vertices - vertices.mean(0), np.asarray(model.faces, dtype=np.int64)


def bumpy(subdivisions: int) -> Mesh:
    """A closed solid with hollows that hide each other, so that its outline has folds."""
    sphere = trimesh.creation.icosphere(subdivisions)
    x, y, z = np.array(sphere.vertices).T
    radius = RADIUS * (1 + 0.25 * np.sin(3 * x + 1) * np.cos(4 * y) + 0.12 * np.sin(7 * z))
    return np.array(sphere.vertices) * radius[:, None], np.array(sphere.faces, dtype=np.int64)
