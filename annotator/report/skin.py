"""The hand's colour: skin, warmer the closer it is to the object, violet where it is inside."""

from __future__ import annotations

from typing import cast

import numpy as np

from pipeline.types import F64

SKIN = (0.86, 0.68, 0.57)  # sRGB 0..1
CONTACT = (0.86, 0.22, 0.15)
INSIDE = (0.48, 0.16, 0.62)
CONTACT_REACH = 0.010  # metres: at this distance nothing of the contact colour is left
INSIDE_DEPTH = 0.006  # metres: from this depth on the colour is violet throughout


def skin_colors(distance: F64) -> F64:
    """Signed distance to the object (V,) in metres, negative inside -> (V, 3) sRGB in [0, 1]."""
    near = np.clip(1.0 - np.maximum(distance, 0.0) / CONTACT_REACH, 0.0, 1.0)[:, None] ** 1.5
    deep = np.clip(-distance / INSIDE_DEPTH, 0.0, 1.0)[:, None]
    touched = (1 - near) * np.array(SKIN) + near * np.array(CONTACT)
    return cast(F64, (1 - deep) * touched + deep * np.array(INSIDE))
