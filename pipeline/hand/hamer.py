"""HaMeR (Pavlakos et al. 2024), the paper's hand estimator, in its own environment."""

from __future__ import annotations

from pipeline.foreign import Foreign
from pipeline.hand.crop_fitter import CONVENTIONS, CropFitter


class HamerFitter(CropFitter):
    """MANO by HaMeR. Its weights need MANO_RIGHT.pkl beside them, as its README says (`_DATA/data/mano`)."""

    name = "hamer"
    version = "1"
    foreign = Foreign(
        name="hamer",
        script="hamer_worker.py",
        setup="git clone --recursive https://github.com/geopavlakos/hamer && cd hamer && python3.10 -m venv .venv && "
        ".venv/bin/pip install torch torchvision && .venv/bin/pip install -e . && "
        "bash fetch_demo_data.sh && hoi-annotate models adopt hamer _DATA",
        conventions=CONVENTIONS,
        options=("batch",),
    )
