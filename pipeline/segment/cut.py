"""A two-label cut of the picture that follows its edges (Boykov and Jolly 2001), given each pixel's log odds.

The solver is OpenCV's GrabCut with its colour models frozen: the log odds take the place of one colour channel, and
two Gaussians on it give back exactly a linear cost. The other two channels are the picture's main colour axes.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import F64, Mask

LIMIT = 4.0  # log odds beyond which a pixel is as sure as can be
WEIGHT = 3.0  # cost of a wrong pixel per unit of log odds; a cut between like colours costs 50 per link
DEPTH = 48.0  # grey levels the log odds take up: few, so that the picture makes the edges and not they


def cut(lab: F64, log_odds: np.ndarray, certain: bool = False) -> Mask:
    """(h, w) bool: the cheapest cut, for `lab` (h, w, 3) and `log_odds` (h, w), positive where True is likelier.

    With `certain`, what is beyond LIMIT is not up for debate.
    """
    odds = np.clip(log_odds, -LIMIT, LIMIT)
    if not (odds > 0).any() or (odds > 0).all():
        return np.asarray(odds > 0)
    guide = np.dstack([(odds / LIMIT + 1) * DEPTH / 2, _main_axes(lab)])
    labels = np.where(odds > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    if certain:
        labels[log_odds >= LIMIT], labels[log_odds <= -LIMIT] = cv2.GC_FGD, cv2.GC_BGD
    variance = DEPTH**2 / (2 * WEIGHT * LIMIT)
    back, front = _model(0.0, variance), _model(DEPTH, variance)
    cv2.grabCut(np.round(guide).astype(np.uint8), labels, (0, 0, 0, 0), back, front, 1, cv2.GC_EVAL_FREEZE_MODEL)
    return np.asarray(np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)))


def _main_axes(lab: F64) -> F64:
    """(h, w, 2) in 0..255: the two directions in which the colours vary most."""
    flat = lab.reshape(-1, 3) - lab.reshape(-1, 3).mean(0)
    _, axes = np.linalg.eigh(flat.T @ flat)
    values = flat @ axes[:, :0:-1]
    return np.asarray(np.clip(values * (255 / 160) + 128, 0, 255)).reshape(*lab.shape[:2], 2)


def _model(mean: float, variance: float) -> np.ndarray:
    """A GrabCut model (1, 65) of one Gaussian that looks at the first channel only."""
    model = np.zeros((1, 65))
    model[0, 0] = 1.0
    model[0, 5:8] = mean, 128.0, 128.0
    model[0, 20:29] = np.diag([variance, 1e9, 1e9]).ravel()
    return model
