"""Edits on their way from a reviewer to the pipeline: files and flags -> JSON of a review -> `Edits`.

The JSON names masks by digest; sizes and keypoints are those of the upright original:

    {"object_mask": "<sha256>", "keypoints": [[x, y] * 21], "side": "left", "touching": ["thumb"], "not_touching": []}
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from db.blobs import BlobStore
from pipeline.errors import BadEdit, EmptyMask
from pipeline.types import PARTS, Edits, Mask

MASKS = ("hand_mask", "object_mask", "contact_front", "contact_back")
MUST_HAVE_PIXELS = ("hand_mask", "object_mask")


@dataclass(frozen=True)
class Change:
    """What a reviewer handed in with one `fix`."""

    masks: dict[str, bytes] = field(default_factory=dict)  # role of MASKS -> bytes of a picture
    keypoints: list[list[float]] | None = None
    box: list[float] | None = None  # x0, y0, x1, y1 of the hand, in a photo where none was found
    side: str | None = None
    touching: tuple[str, ...] = ()
    not_touching: tuple[str, ...] = ()

    def checked(self, size: tuple[int, int]) -> dict[str, Any]:
        """The review's JSON, after a look at everything. Raises BadEdit or EmptyMask."""
        for role, data in self.masks.items():
            read_mask(data, role, size)
        unknown = [part for part in (*self.touching, *self.not_touching) if part not in PARTS]
        if unknown:
            raise BadEdit(f"'{unknown[0]}' is no part of the hand; the parts are {', '.join(PARTS)}")
        both = sorted(set(self.touching) & set(self.not_touching))
        if both:
            raise BadEdit(f"{', '.join(both)} cannot both touch and not touch")
        edits: dict[str, Any] = {role: hashlib.sha256(data).hexdigest() for role, data in self.masks.items()}
        given = {"keypoints": self.keypoints, "box": self.box, "side": self.side}
        edits |= {name: value for name, value in given.items() if value is not None}
        parts = {"touching": sorted(set(self.touching)), "not_touching": sorted(set(self.not_touching))}
        edits |= {name: value for name, value in parts.items() if value}
        if not edits:
            raise BadEdit("a fix needs something that is fixed: a mask, keypoints, a side or a part of the hand")
        return edits


def first_hand(change: Change, size: tuple[int, int]) -> dict[str, Any]:
    """Where the hand of a photo is that had none: one entry of its hints (annotator.hints). Raises BadEdit."""
    side = {"side": change.side} if change.side else {}
    if change.keypoints is not None:
        return {"keypoints": change.keypoints} | side
    if change.box is not None:
        return {"box": change.box} | side
    if "hand_mask" in change.masks:
        inside = read_mask(change.masks["hand_mask"], "hand_mask", size)
        factor = size[0] / inside.shape[0]
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        corners = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        return {"box": [factor * float(value) for value in corners]} | side
    raise BadEdit("draw a box around the hand, or its mask: without it there is nothing to start from")


def merged(edits: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """All edits of a pair so far, the newest last: a later one replaces an earlier one of the same thing."""
    out: dict[str, Any] = {}
    touches: dict[str, bool] = {}
    for edit in edits:
        out |= {name: value for name, value in edit.items() if name not in ("touching", "not_touching")}
        touches |= dict.fromkeys(edit.get("touching", ()), True) | dict.fromkeys(edit.get("not_touching", ()), False)
    for name, wanted in (("touching", True), ("not_touching", False)):
        parts = [part for part in PARTS if touches.get(part) is wanted]
        out |= {name: parts} if parts else {}
    return out


def to_edits(edits: dict[str, Any], blobs: BlobStore, original: tuple[int, int], size: tuple[int, int]) -> Edits:
    """The pipeline's edits, at the working size (H, W); their masks are in the store."""

    def mask(role: str) -> Mask | None:
        return read_mask(blobs.get(edits[role]), role, original, size) if role in edits else None

    keypoints = edits.get("keypoints")
    return Edits(
        **{role: mask(role) for role in MASKS},
        keypoints=None if keypoints is None else np.asarray(keypoints, dtype=np.float64) * max(size) / max(original),
        side=edits.get("side"),
        touching=tuple(edits.get("touching", ())),
        not_touching=tuple(edits.get("not_touching", ())),
    )


def read_mask(data: bytes, role: str, original: tuple[int, int], size: tuple[int, int] | None = None) -> Mask:
    """A picture drawn on the photo -> bool (H, W) at `size` (its own when None): bright is inside.

    `original` is the photo's (H, W); a mask of another shape belongs to another photo. Raises BadEdit, EmptyMask.
    """
    what = role.replace("_", " ")
    try:
        with Image.open(io.BytesIO(data)) as picture:
            grey = np.asarray(picture.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:
        raise BadEdit(f"the {what} is not a picture that can be read; give a PNG, white inside") from error
    height, width = grey.shape
    if abs(height * original[1] - width * original[0]) > max(original):  # more than rounding of a scaled copy
        raise BadEdit(
            f"the {what} is {width}x{height} pixels, the photo {original[1]}x{original[0]}: draw it on the photo, "
            "as 'show PAIR --save DIR' writes it"
        )
    inside = grey > (127 if grey.max(initial=0) > 1 else 0)
    if role in MUST_HAVE_PIXELS and not inside.any():
        raise EmptyMask(f"the {what} is empty: white pixels are inside")
    if size is None or inside.shape == size:
        return inside
    scaled = Image.fromarray(inside.astype(np.uint8) * 255).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(scaled) > 127


def fingerprint(*content: Any) -> str:
    """sha256 (hex) of JSON values: what makes a review the same review."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
