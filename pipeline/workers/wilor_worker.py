"""Runs in WiLoR's environment, in its clone (rolpotamias/WiLoR, demo.py)."""

from __future__ import annotations

from pathlib import Path

from hand_crops import CONVENTIONS, find, handler
from worker_base import serve


def load(options):
    from wilor.datasets.vitdet_dataset import ViTDetDataset
    from wilor.models import load_wilor
    from wilor.utils import recursive_to

    config_file = Path(options["repo"]) / "pretrained_models" / "model_config.yaml"  # it comes with the code
    model, config = load_wilor(checkpoint_path=str(find("wilor_final.ckpt", options)), cfg_path=str(config_file))
    return handler(model, config, ViTDetDataset, recursive_to, options)


if __name__ == "__main__":
    serve("wilor", CONVENTIONS, ["wilor", "torch"], load)
