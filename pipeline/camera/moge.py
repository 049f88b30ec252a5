"""MoGe-2 (Wang et al. 2025): the focal length of a photo that does not tell it, from what it shows."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import hub
from pipeline.device import Placement
from pipeline.errors import MissingExtra, PipelineError
from pipeline.pretrained import enough_memory, loaded
from pipeline.types import Camera, Photo

WEIGHTS = "moge"
MAX_FOCAL, MIN_FOCAL = 8.0, 0.3  # in longer sides of the picture: 7 and 118 degrees
INSTALL = "pip install git+https://github.com/microsoft/MoGe.git"


class MogeCamera:
    """Settings: `keep_exif` (true): a focal length from EXIF goes before; `resolution_level` 0 .. 9; placement."""

    name = "moge"
    version = "1"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = dict(settings)
        self._placement = Placement.of(settings)

    def needs(self) -> list[str]:
        """One line when its package is not here; it is in its makers' repository only, so no extra of ours has it."""
        there = importlib.util.find_spec("moge") is not None
        return [] if there else [f"moge: needs its own package, which is not installed; run: {INSTALL}"]

    @property
    def weights_digest(self) -> str:
        """sha256 over the weights; '' while they are not here."""
        return hub.digest(WEIGHTS)

    def camera(self, photo: Photo, prior: Camera) -> Camera:
        """See `CameraPrior`. Raises MissingWeights, MissingExtra, PipelineError when the answer is no camera."""
        if prior.source == "exif" and self._settings.get("keep_exif", True):
            return prior
        import torch

        model = self._model()
        image = torch.as_tensor(np.ascontiguousarray(photo.image), dtype=torch.float32).permute(2, 0, 1) / 255
        device = self._placement.torch_device
        with enough_memory(self.name), torch.inference_mode():
            found = model.infer(
                image.to(device),
                resolution_level=int(self._settings.get("resolution_level", 9)),
                use_fp16=device.type == "cuda",
            )
        height, width = photo.size
        K = found["intrinsics"].detach().double().cpu().numpy()
        return camera_of(K, width, height, photo.name)

    def _model(self) -> Any:
        hub.folder(WEIGHTS)
        try:
            from moge.model.v2 import MoGeModel
        except ImportError as error:
            raise MissingExtra(f"moge: needs its own package ({error}); run: {INSTALL}") from error

        def load(folder: Path) -> Any:  # its own code works in float32 and casts where it may
            return MoGeModel.from_pretrained(str(folder / "model.pt")).to(self._placement.torch_device).eval()

        return loaded(self.name, WEIGHTS, "moge.MoGeModel", self._placement, load)


def camera_of(normalised: np.ndarray, width: int, height: int, name: str) -> Camera:
    """Intrinsics in widths and heights of the picture (3, 3) -> a camera in pixels. Raises PipelineError."""
    K = np.asarray(normalised, dtype=np.float64)
    if K.shape != (3, 3) or not np.isfinite(K).all():
        raise PipelineError(f"{name}: moge found no camera")
    K = K * np.array([[width], [height], [1.0]])
    focal = float(np.sqrt(K[0, 0] * K[1, 1])) if min(K[0, 0], K[1, 1]) > 0 else 0.0
    if not MIN_FOCAL <= focal / max(width, height) <= MAX_FOCAL:
        raise PipelineError(f"{name}: moge found a focal length of {focal:.0f} pixels, which no camera has")
    square = np.array([[focal, 0, K[0, 2]], [0, focal, K[1, 2]], [0, 0, 1.0]])  # photos have square pixels
    return Camera(K=square, width=width, height=height, source="moge")
