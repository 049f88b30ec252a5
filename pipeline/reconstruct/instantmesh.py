"""InstantMesh (Xu et al. 2024), the paper's open reconstructor, in its own environment."""

from __future__ import annotations

from pipeline.foreign import Foreign
from pipeline.reconstruct.frames import Frame
from pipeline.reconstruct.lrm import LargeReconstructor


class InstantMeshReconstructor(LargeReconstructor):
    """Zero123++ paints six views at fixed elevations around the input, whose own elevation it never learns.

    z is up; the input is at azimuth 0, on +x (cameras at radius 4, field of view 30 degrees).
    """

    name = "instantmesh"
    version = "1"
    frame = Frame("+z", "+x", elevations=(0, 10, 20, 30, 45, 60, 75, -10, -20, -35))
    foreign = Foreign(
        name="instantmesh",
        script="instantmesh_worker.py",
        setup="git clone https://github.com/TencentARC/InstantMesh && cd InstantMesh && python3.10 -m venv .venv && "
        ".venv/bin/pip install torch torchvision xformers && .venv/bin/pip install -r requirements.txt",
        conventions={"up": "+z", "camera": "+x", "handed": "right"},
        options=("variant", "steps", "zero123plus"),
    )
