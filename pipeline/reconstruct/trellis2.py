"""TRELLIS.2 (Microsoft 2025), in its own environment."""

from __future__ import annotations

from pipeline.foreign import Foreign
from pipeline.reconstruct.frames import Frame, every
from pipeline.reconstruct.lrm import LargeReconstructor


class Trellis2Reconstructor(LargeReconstructor):
    """Upright objects (y up) that face wherever the model thinks: the input's azimuth is open, as is its elevation."""

    name = "trellis2"
    version = "1"
    frame = Frame("+y", "+z", azimuths=every(15), elevations=(0, 15, 30, 50, 75, -20))
    foreign = Foreign(
        name="trellis2",
        script="trellis2_worker.py",
        setup="git clone --recursive https://github.com/microsoft/TRELLIS.2 && cd TRELLIS.2 && . ./setup.sh --new-env "
        "--basic --flash-attn --nvdiffrast --nvdiffrec --cumesh --o-voxel --flexgemm",
        conventions={"up": "+y", "camera": "unknown azimuth", "handed": "right"},
        options=("faces", "texture"),
    )
