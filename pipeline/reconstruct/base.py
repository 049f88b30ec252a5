"""What a reconstructor is: one view of an object in, one watertight mesh with its view prior out."""

from __future__ import annotations

from typing import Protocol

from pipeline.types import Camera, Completion, Mask, ObjectMesh, Photo


class Reconstructor(Protocol):
    """Object shape from one view (METHOD 1.4)."""

    name: str
    version: str

    @property
    def weights_digest(self) -> str:
        """sha256 of the weights in use, or '' without weights."""
        ...

    def reconstruct(
        self, photo: Photo, completion: Completion, visible: Mask, camera: Camera, distance: float
    ) -> ObjectMesh:
        """A watertight, outward-oriented mesh that `prior` at s = 1 projects back onto the amodal mask.

        visible: (H, W) the part of the object no hand covers, where `completion.image` is the photo itself.
        distance: metres along z from the camera to the object (the hand's depth).
        Raises EmptyMask when the amodal mask has no area, BadMesh when no watertight mesh can be made.
        """
        ...
