"""What a camera prior is: the photo's own pinhole camera, better known than EXIF and a field of view tell."""

from __future__ import annotations

from typing import Protocol

from pipeline.types import Camera, Photo


class CameraPrior(Protocol):
    """Finds the intrinsics of a photo."""

    name: str
    version: str

    @property
    def weights_digest(self) -> str:
        """sha256 of the weights in use, or '' without weights."""
        ...

    def camera(self, photo: Photo, prior: Camera) -> Camera:
        """The photo's camera; `prior` is EXIF's, else the recipe's field of view (see its `source`)."""
        ...
