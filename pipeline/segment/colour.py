"""Colour models of image regions: a Gaussian mixture in CIE Lab, and a coarse test for the colour of skin."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.types import F64, U8, Mask

MAX_SAMPLES = 4000  # more pixels do not change a mixture of a few Gaussians, only its cost
COVARIANCE_FLOOR = 9.0  # Lab units squared: camera noise and JPEG blocks


def to_lab(image: U8) -> F64:
    """(H, W, 3) RGB -> (H, W, 3) CIE Lab, L in 0..100, a and b in about -100..100; noise smoothed, edges kept."""
    smooth = cv2.bilateralFilter(image, 5, 20, 5)
    return np.asarray(cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float64)


def subsample(samples: F64, limit: int = MAX_SAMPLES) -> F64:
    """At most about `limit` rows, evenly spaced, so that the choice is the same on every run."""
    return samples[:: max(1, len(samples) // limit)]


def kmeans(samples: F64, k: int, iterations: int = 12) -> tuple[np.ndarray, F64]:
    """Labels (N,) and centres (k, D). Starts from the sample farthest from the centres so far: no random draw."""
    centres = [np.median(samples, axis=0)]
    gap = ((samples - centres[0]) ** 2).sum(1)
    for _ in range(k - 1):
        centres.append(samples[int(gap.argmax())])
        gap = np.minimum(gap, ((samples - centres[-1]) ** 2).sum(1))
    mean = np.array(centres)
    for _ in range(iterations):
        labels = ((samples[:, None] - mean[None]) ** 2).sum(-1).argmin(1)
        for j in np.unique(labels):
            mean[j] = samples[labels == j].mean(0)
    return labels, mean


@dataclass(frozen=True)
class ColourModel:
    """A mixture of Gaussians with full covariances over Lab colours."""

    log_weight: F64  # (K,)
    mean: F64  # (K, 3)
    whiten: F64  # (K, 3, 3): |whiten @ (x - mean)|^2 is the squared Mahalanobis distance

    @classmethod
    def fit(cls, samples: F64, components: int, iterations: int = 8) -> ColourModel:
        """Expectation-maximisation on (N, 3) Lab colours, started from k-means."""
        x = subsample(samples)
        k = max(1, min(components, len(x) // 30))
        labels, _ = kmeans(x, k)
        resp = np.eye(k)[labels]
        for _ in range(iterations):
            model = cls._maximise(x, resp)
            logp = model._component_log_likelihood(x)
            resp = np.exp(logp - logp.max(1, keepdims=True))
            resp /= resp.sum(1, keepdims=True)
        return cls._maximise(x, resp)

    @classmethod
    def _maximise(cls, x: F64, resp: F64) -> ColourModel:
        mass = resp.sum(0) + 1e-3
        mean = (resp.T @ x) / mass[:, None]
        whiten = np.empty((len(mass), 3, 3))
        for j in range(len(mass)):
            d = x - mean[j]
            cov = (resp[:, j, None] * d).T @ d / mass[j] + COVARIANCE_FLOOR * np.eye(3)
            whiten[j] = np.linalg.inv(np.linalg.cholesky(cov))
        return cls(np.log(mass / mass.sum()), mean, whiten)

    def _component_log_likelihood(self, x: F64) -> F64:
        z = np.einsum("kij,nkj->nki", self.whiten, x[:, None] - self.mean[None])
        log_det = np.log(np.abs(np.linalg.det(self.whiten)))
        return np.asarray(self.log_weight + log_det - 0.5 * (z**2).sum(-1), dtype=np.float64)

    def log_likelihood(self, lab: F64) -> F64:
        """(..., 3) Lab -> (...) log density, without the constant. In single precision: whole pictures come here."""
        k = len(self.mean)
        axes = self.whiten.reshape(3 * k, 3).astype(np.float32)
        offset = np.einsum("kij,kj->ki", self.whiten, self.mean).ravel().astype(np.float32)
        z = lab.reshape(-1, 3).astype(np.float32) @ axes.T - offset
        log_det = np.log(np.abs(np.linalg.det(self.whiten)))
        logp = (self.log_weight + log_det).astype(np.float32) - 0.5 * np.square(z, out=z).reshape(-1, k, 3).sum(-1)
        top = logp.max(1)
        density = top + np.log(np.exp(logp - top[:, None]).sum(1))
        return np.asarray(density.reshape(lab.shape[:-1]), dtype=np.float64)


def is_skin(lab: F64) -> Mask:
    """(..., 3) Lab -> (...) bool: within the broad band of hues and chromas that human skin has in photographs."""
    L, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a))
    return np.asarray((L > 12) & (L < 97) & (chroma > 6) & (chroma < 48) & (hue > 5) & (hue < 82))
