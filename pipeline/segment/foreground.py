"""What stands out of the photo: ISNet (salient object segmentation) on several views, or GrabCut without it.

    image --whole--> ISNet 640 px --\\
          --whole--> ISNet 512 px ---+--> maps (N, H, W), one per view, 0..1
          --around each small hand--/

Two input sizes see different things: the small one takes in the whole object, the large one thin parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.types import F64, U8, Mask

FULL_SIDES = (640, 512)  # pixels; multiples of 64
CROP_SIDE = 512
CROP_REACHES = (2.6,)  # sides of the crops in units of the hand box's longer side
SMALL_HAND_REACHES = (2.6, 4.0, 6.4)  # for hands that are small in the photo: they also hold what is large beside them
COVERS_PHOTO = 0.7  # a crop that is this much of the photo shows nothing new
SMALL_HAND = 0.15  # hand box's longer side as a fraction of the photo's


@dataclass(frozen=True)
class View:
    """One look of the network at a part of the picture, in pixels, and the side it is resized to."""

    x0: int
    y0: int
    x1: int
    y1: int
    side: int


def views(height: int, width: int, hands: list[F64]) -> list[View]:
    """The whole picture at two sizes, and a crop around every hand (21, 2) that leaves much of the picture out."""
    found = [View(0, 0, width, height, side) for side in FULL_SIDES]
    for keypoints in hands:
        low, high = keypoints.min(0), keypoints.max(0)
        centre, extent = (low + high) / 2, float((high - low).max())
        small = extent < SMALL_HAND * max(height, width)
        for reach in SMALL_HAND_REACHES if small else CROP_REACHES:
            x0, y0 = np.maximum(centre - extent * reach / 2, 0).astype(int)
            x1, y1 = np.minimum(centre + extent * reach / 2, (width, height)).astype(int)
            if min(x1 - x0, y1 - y0) > 8 and (x1 - x0) * (y1 - y0) < COVERS_PHOTO * height * width:
                found.append(View(int(x0), int(y0), int(x1), int(y1), CROP_SIDE))
    return found


class ForegroundNet:
    """ISNet through onnxruntime, with the free input size `pipeline.weights` stores it with (multiples of 64)."""

    def __init__(self, weights: Path, threads: int) -> None:
        self._session = _session(str(weights), threads)

    def alpha(self, image: U8, side: int) -> np.ndarray:
        """(H, W, 3) RGB -> (H, W) float32 in 0..1: how much each pixel belongs to what stands out."""
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
        blob = ((small - 128) / 256).transpose(2, 0, 1)[None]
        out = self._session.run(["output"], {"input": blob})[0][0, 0]
        return np.asarray(np.clip(cv2.resize(out, image.shape[1::-1]), 0, 1), dtype=np.float32)

    def maps(self, image: U8, hands: list[F64]) -> np.ndarray:
        """(N, H, W) float32, one map per view; zero outside a view's crop. `hands` are keypoints (21, 2), pixels."""
        height, width = image.shape[:2]
        looks = views(height, width, hands)
        maps = np.zeros((len(looks), height, width), np.float32)
        for out, v in zip(maps, looks, strict=True):
            out[v.y0 : v.y1, v.x0 : v.x1] = self.alpha(image[v.y0 : v.y1, v.x0 : v.x1], v.side)
        return maps


@lru_cache(maxsize=2)
def _session(weights: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the core to others
    return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def grabcut_map(image: U8, near: Mask, far: Mask) -> np.ndarray:
    """A foreground map (H, W) float32 of 0 and 1 without a network.

    GrabCut starts from `near` (hand and the space between its fingers) and treats `far` (out of the hand's
    reach) as background.
    """
    labels = np.full(near.shape, cv2.GC_PR_BGD, np.uint8)
    labels[far] = cv2.GC_BGD
    labels[near] = cv2.GC_PR_FGD
    if not near.any() or near.all():
        return near.astype(np.float32)
    cv2.setRNGSeed(0)
    cv2.grabCut(
        image[..., ::-1].copy(), labels, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK
    )
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
