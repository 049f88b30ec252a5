"""TripoSR (Tochilkin et al. 2024), in its own environment."""

from __future__ import annotations

from pipeline.foreign import Foreign
from pipeline.reconstruct.frames import Frame
from pipeline.reconstruct.lrm import LargeReconstructor


class TripoSRReconstructor(LargeReconstructor):
    """Half a second per object. z is up, the input is seen from +x; it guesses the input's elevation itself."""

    name = "triposr"
    version = "1"
    frame = Frame("+z", "+x", azimuths=(0, 15, -15), elevations=(0, 10, 20, 30, 45, -10, -20))
    foreign = Foreign(
        name="triposr",
        script="triposr_worker.py",
        setup="git clone https://github.com/VAST-AI-Research/TripoSR && cd TripoSR && python3.10 -m venv .venv && "
        ".venv/bin/pip install torch && .venv/bin/pip install -r requirements.txt",
        conventions={"up": "+z", "camera": "+x", "handed": "right"},
        options=("resolution", "chunk"),
    )
