"""What a hand detector and a hand fitter are."""

from __future__ import annotations

from typing import Protocol

from pipeline.types import Camera, HandDetection, HandEstimate, HandHints, Mask, Photo


class HandDetector(Protocol):
    """Finds the hands of a photo."""

    name: str
    version: str  # changes whenever the same photo may give another answer

    @property
    def weights_digest(self) -> str:
        """sha256 of the weights in use, or '' without weights."""
        ...

    def detect(self, photo: Photo, hints: HandHints) -> list[HandDetection]:
        """Hands in a fixed order (larger first, then from the left); [] when there is none.

        `hints` are in pixels of `photo`. Raises NoHandFound when a hint leads to no hand, or MissingWeights.
        """
        ...


class HandFitter(Protocol):
    """Fits a hand model to one detection in the photo's camera."""

    name: str
    version: str
    weights_digest: str

    def fit(self, photo: Photo, detection: HandDetection, hand_mask: Mask, camera: Camera) -> HandEstimate:
        """The model's pose, metric, in the camera frame. An empty `hand_mask` (no pixel set) is ignored."""
        ...
