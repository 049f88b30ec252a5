"""The part of the photo the optimisation looks at: a small crop around hand and object, with its camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch

from pipeline.errors import EmptyMask
from pipeline.types import F64, Camera, Mask, Masks

Window = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of the photo


@dataclass(frozen=True)
class View:
    """Targets are float32 (h, w) in [0, 1]: photo masks averaged down to the crop's pixels."""

    camera: Camera  # of the crop
    window: Window
    hand: torch.Tensor  # visible hand
    cover: torch.Tensor  # where the hand is not judged: the object is in front of it, or the forearm begins
    object: torch.Tensor  # visible object
    amodal: torch.Tensor  # complete object

    @property
    def device(self) -> torch.device:
        """Where the optimisation of this pair computes."""
        return self.hand.device

    @cached_property
    def K(self) -> torch.Tensor:
        return torch.as_tensor(self.camera.K, dtype=torch.float32, device=self.device)

    @property
    def shape(self) -> tuple[int, int]:
        return self.camera.height, self.camera.width

    @property
    def zoom(self) -> float:
        """Pixels of this view per pixel of the photo."""
        return self.camera.width / (self.window[2] - self.window[0])

    def crop(self, mask: Mask) -> Mask:
        """Another photo mask in this view (majority of the pixels)."""
        return np.asarray(_shrink(mask, self.window, self.shape) >= 0.5)

    def expand(self, mask: Mask, shape: tuple[int, int]) -> Mask:
        """A mask of this view, back in the photo (H, W) it was cut from."""
        x0, y0, x1, y1 = self.window
        out = np.zeros(shape, dtype=bool)
        out[y0:y1, x0:x1] = cv2.resize(mask.astype(np.float32), (x1 - x0, y1 - y0)) >= 0.5
        return out

    def pixels(self, points: F64) -> torch.Tensor:
        """(N, 2) pixels of the photo -> pixels of this view."""
        x0, y0, x1, y1 = self.window
        height, width = self.shape
        scale = np.array([width / (x1 - x0), height / (y1 - y0)])
        return torch.as_tensor((points - [x0, y0]) * scale, dtype=torch.float32, device=self.device)


def make_view(camera: Camera, masks: Masks, amodal: Mask, size: int, device: str = "cpu", margin: float = 0.2) -> View:
    """Crop around hand and object, `size` pixels on its longer side. Raises EmptyMask."""
    hand = masks.hand
    for mask, name in ((hand, "hand"), (amodal, "object")):
        if not mask.any():
            raise EmptyMask(f"the {name} mask has no pixels: draw one and run `review fix PAIR --{name}-mask mask.png`")
    ys, xs = np.nonzero(hand | amodal)
    pad = int(margin * max(np.ptp(xs), np.ptp(ys))) + 2
    height, width = hand.shape
    x0, x1 = max(0, int(xs.min()) - pad), min(width, int(xs.max()) + 1 + pad)
    y0, y1 = max(0, int(ys.min()) - pad), min(height, int(ys.max()) + 1 + pad)
    scale = size / max(x1 - x0, y1 - y0)
    w, h = max(8, round((x1 - x0) * scale)), max(8, round((y1 - y0) * scale))
    K: F64 = camera.K.copy()
    K[:2, 2] -= [x0, y0]
    K[0] *= w / (x1 - x0)
    K[1] *= h / (y1 - y0)
    window = (x0, y0, x1, y1)
    targets = [
        torch.as_tensor(_shrink(mask, window, (h, w)), device=device)
        for mask in (hand, masks.object | masks.arm, masks.object, amodal)
    ]
    return View(Camera(K=K, width=w, height=h, source=camera.source), window, *targets)


def _shrink(mask: Mask, window: Window, shape: tuple[int, int]) -> np.ndarray:
    x0, y0, x1, y1 = window
    part = np.ascontiguousarray(mask[y0:y1, x0:x1], dtype=np.float32)
    return cv2.resize(part, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
