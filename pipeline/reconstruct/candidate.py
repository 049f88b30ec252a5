"""One explanation of the view, before the choice."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipeline.types import F64, I64


@dataclass(frozen=True)
class Candidate:
    """A closed mesh in the virtual camera's frame at unit depth, with what it explains.

    `evidence` holds named measurements in 0..1 for the choice and the diagnostics; `iou` is always there.
    """

    kind: str  # 'revolution' | 'cuboid' | 'inflation'
    vertices: F64  # (V, 3)
    faces: I64  # (F, 3) counter-clockwise seen from outside
    axes: F64  # (3, 3) columns: the object's x, y, z in the virtual camera's frame
    starts: F64 = field(default_factory=lambda: np.zeros((0, 3, 3)))  # (S, 3, 3) other axes worth trying
    depth_known: float = 0.0
    evidence: dict[str, float] = field(default_factory=dict)
