"""The camera of the `cpu` recipe: EXIF, else the field of view that the recipe assumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.types import Camera, Photo


class ExifFovCamera:
    """The prior as it is."""

    name = "exif-fov"
    version = "1"
    weights_digest = ""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """No settings."""

    def camera(self, photo: Photo, prior: Camera) -> Camera:
        """`prior`."""
        return prior
