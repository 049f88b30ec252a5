"""Hunyuan3D 2.1 (Tencent 2025), in its own environment."""

from __future__ import annotations

from pipeline.foreign import Foreign
from pipeline.reconstruct.frames import Frame, every
from pipeline.reconstruct.lrm import LargeReconstructor


class Hunyuan3DReconstructor(LargeReconstructor):
    """Upright objects (y up) that face +z; how far the input was turned from there is open."""

    name = "hunyuan3d"
    version = "1"
    frame = Frame("+y", "+z", azimuths=every(15), elevations=(0, 15, 30, 50, 75, -20))
    foreign = Foreign(
        name="hunyuan3d",
        script="hunyuan3d_worker.py",
        setup="git clone https://github.com/Tencent-Hunyuan/Hunyuan3D-2.1 && cd Hunyuan3D-2.1 && python3.10 -m venv "
        ".venv && .venv/bin/pip install torch torchvision && .venv/bin/pip install -r requirements.txt",
        conventions={"up": "+y", "camera": "+z", "handed": "right"},
        options=("steps", "faces"),
    )
