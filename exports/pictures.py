"""Pictures as the bytes of image files: channels in cv2's order (BGR), equal pictures give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from exports.base import ExportError
from pipeline.types import U8

SHARP_COLOURS = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


def bgr(rgb: U8) -> U8:
    """(H, W, 3) with red and blue exchanged; a view with a step of -1 takes cv2 twenty times as long to copy."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def jpeg(picture: NDArray[Any], quality: int = 95) -> bytes:
    """A JPEG whose colours are as sharp as its brightness, so that outlines stay where masks are."""
    return encode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality, *SHARP_COLOURS])


def png(picture: NDArray[Any]) -> bytes:
    """A PNG at cv2's own settings: where a compression level is named, it tries every filter on every row."""
    return encode(".png", picture)


def encode(suffix: str, picture: NDArray[Any], settings: Sequence[int] = ()) -> bytes:
    """'.png' or '.jpg' with settings of cv2.imwrite. Raises ExportError."""
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(picture), list(settings))
    if not ok:
        raise ExportError(f"cv2 could not encode a {suffix} picture")
    return bytes(data.tobytes())
