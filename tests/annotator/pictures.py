"""Photographs out of nothing."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def picture(shade: int = 100, size: tuple[int, int] = (96, 64), kind: str = "PNG", **options: Any) -> bytes:
    """Every shade is another photo."""
    patches = np.random.default_rng(shade).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC).save(out, kind, **options)
    return out.getvalue()
