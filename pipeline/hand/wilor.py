"""WiLoR (Potamias et al. 2025), in its own environment."""

from __future__ import annotations

from pipeline.foreign import Foreign
from pipeline.hand.crop_fitter import CONVENTIONS, CropFitter


class WilorFitter(CropFitter):
    """MANO by WiLoR. It needs MANO_RIGHT.pkl in its clone's `mano_data`, as its README says."""

    name = "wilor"
    version = "1"
    foreign = Foreign(
        name="wilor",
        script="wilor_worker.py",
        setup="git clone https://github.com/rolpotamias/WiLoR && cd WiLoR && python3.10 -m venv .venv && "
        ".venv/bin/pip install torch torchvision && .venv/bin/pip install -r requirements.txt; "
        "put wilor_final.ckpt into pretrained_models, and run: hoi-annotate models adopt wilor pretrained_models",
        conventions=CONVENTIONS,
        options=("batch",),
    )
