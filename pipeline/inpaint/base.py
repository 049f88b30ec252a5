"""What every inpainter answers: the object as if the hand were not there."""

from __future__ import annotations

from typing import Protocol

from pipeline.types import Completion, Masks, Photo


class Inpainter(Protocol):
    """Completes the silhouette and the picture of a held object (METHOD 1.3)."""

    name: str
    version: str

    @property
    def weights_digest(self) -> str:
        """sha256 of the weights in use, or '' without weights."""
        ...

    def complete(self, photo: Photo, masks: Masks) -> Completion:
        """The amodal mask and the filled picture, at photo size. Raises EmptyMask without an object."""
        ...
