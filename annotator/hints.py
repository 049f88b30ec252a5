"""A person's help with finding hands: flags, keypoint files and sidecars -> JSON in the photo's row -> HandHints.

Everything is in pixels of the upright original. The JSON is a sidecar's own form:

    {"hands": [{"box": [x0, y0, x1, y1], "side": "left"}, {"keypoints": [[x, y] * 21]}]}
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import numpy as np

from annotator.errors import BadHints
from pipeline.types import HandBox, HandHints, Side

SIDECAR_SUFFIX = ".hoi.json"
KEYPOINTS = 21
SIDES = ("left", "right")


def parse_box(text: str) -> dict[str, Any]:
    """'x0,y0,x1,y1[,left|right]' -> one entry of `hands`."""
    parts = [part.strip() for part in text.split(",")]
    try:
        hand: dict[str, Any] = {"box": [float(part) for part in parts[:4]]}
    except ValueError:
        hand = {"box": []}
    if len(parts) == 5:
        hand["side"] = parts[4]
    if len(parts) not in (4, 5):
        hand["box"] = []
    return _checked(hand, f"--hand-box {text}")


def read_keypoints(path: Path) -> dict[str, Any]:
    """A file with 21 rows 'x y' (or 'x,y', or JSON [[x, y], ...] or {"keypoints": ..., "side": ...}) -> one entry."""
    text = _read(path)
    try:
        content = json.loads(text)
    except ValueError:
        try:
            content = [[float(word) for word in line.replace(",", " ").split()] for line in text.splitlines() if line]
        except ValueError as error:
            raise BadHints(f"{path}: neither JSON nor {KEYPOINTS} lines 'x y'") from error
    return _checked(content if isinstance(content, dict) else {"keypoints": content}, str(path))


def read_sidecar(photo: Path) -> list[dict[str, Any]]:
    """The `hands` of PHOTO.hoi.json; empty when there is no such file. Raises BadHints."""
    path = photo.with_name(photo.name + SIDECAR_SUFFIX)
    return parse_sidecar(_read(path), str(path)) if path.is_file() else []


def parse_sidecar(text: str | bytes, path: str) -> list[dict[str, Any]]:
    """The `hands` of a sidecar's content. Raises BadHints."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BadHints(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("hands"), list):
        raise BadHints(f'{path}: a sidecar is {{"hands": [{{"box": [x0, y0, x1, y1], "side": "left"}}]}}')
    return [_checked(hand, path) for hand in content["hands"]]


def check_inside(hands: list[dict[str, Any]], width: int, height: int, name: str) -> None:
    """Raises BadHints when a hand lies wholly outside the upright photo: those are pixels of another picture."""
    for hand in hands:
        points = np.reshape(hand.get("box") or hand["keypoints"], (-1, 2))
        if (points.max(0) <= 0).any() or (points.min(0) >= (width, height)).any():
            raise BadHints(f"{name}: a given hand lies outside the photo, which is {width}x{height} pixels")


def to_hints(hands: list[dict[str, Any]], scale: float) -> HandHints:
    """HandHints in pixels of a photo that was scaled by `scale`."""
    boxed = [hand for hand in hands if "box" in hand]
    pointed = [hand for hand in hands if "keypoints" in hand]
    return HandHints(
        boxes=tuple(_box(hand, scale) for hand in boxed),
        keypoints=tuple(scale * np.asarray(hand["keypoints"], dtype=np.float64) for hand in pointed),
        sides=tuple(_side(hand) for hand in pointed),
    )


def _box(hand: dict[str, Any], scale: float) -> HandBox:
    x0, y0, x1, y1 = (scale * value for value in hand["box"])
    return HandBox(x0, y0, x1, y1, _side(hand))


def _side(hand: dict[str, Any]) -> Side | None:
    return cast("Side | None", hand.get("side"))


def _checked(hand: Any, where: str) -> dict[str, Any]:
    """One entry of `hands` in its normal form. Raises BadHints."""
    if not isinstance(hand, dict) or not ({"box"} <= set(hand) or {"keypoints"} <= set(hand)):
        raise BadHints(f"{where}: a hand needs a 'box' or 'keypoints'")
    side = hand.get("side")
    if side is not None and side not in SIDES:
        raise BadHints(f"{where}: the side is 'left' or 'right', not '{side}'")
    kind = "keypoints" if "keypoints" in hand else "box"
    try:
        values = np.asarray(hand[kind], dtype=np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if kind == "box" and (values.shape != (4,) or not (values[:2] < values[2:]).all()):
        raise BadHints(f"{where}: a box is x0,y0,x1,y1 in pixels, with x0 < x1 and y0 < y1")
    if kind == "keypoints" and values.shape != (KEYPOINTS, 2):
        raise BadHints(f"{where}: keypoints are {KEYPOINTS} pairs x, y in pixels (wrist, thumb .. little)")
    if not math.isfinite(float(values.sum())):
        raise BadHints(f"{where}: not a finite number")
    return {kind: values.tolist()} | ({"side": side} if side else {})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadHints(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8 text'})") from error
