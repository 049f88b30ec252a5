"""The guided filter (He, Sun and Tang 2013) with a colour guide: smooths a map but keeps it on the image's edges."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import U8


def guided_filter(guide: U8, values: np.ndarray, radius: int, epsilon: float = 1e-3) -> np.ndarray:
    """`values` (H, W) as a locally linear function of the RGB `guide` (H, W, 3); float32 (H, W)."""
    image = guide.astype(np.float32) / 255
    p = values.astype(np.float32)

    def box(x: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.boxFilter(np.ascontiguousarray(x), -1, (2 * radius + 1,) * 2))

    mean_i, mean_p = box(image), box(p)
    cov_ip = np.stack([box(image[..., c] * p) - mean_i[..., c] * mean_p for c in range(3)], -1)
    cov_ii = np.empty((*p.shape, 3, 3), np.float32)
    for i in range(3):
        for j in range(i, 3):
            cov = box(image[..., i] * image[..., j]) - mean_i[..., i] * mean_i[..., j]
            cov_ii[..., i, j] = cov_ii[..., j, i] = cov
    cov_ii += epsilon * np.eye(3, dtype=np.float32)
    a = np.linalg.solve(cov_ii, cov_ip[..., None])[..., 0]
    b = mean_p - (a * mean_i).sum(-1)
    return np.asarray((box(a) * image).sum(-1) + box(b), dtype=np.float32)
