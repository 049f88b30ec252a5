"""Runs in WiLoR's environment, in its clone (rolpotamias/WiLoR, demo.py)."""

from __future__ import annotations

from hand_crops import CONVENTIONS, handler
from worker_base import serve


def load(options):
    from wilor.datasets.vitdet_dataset import ViTDetDataset
    from wilor.models import load_wilor
    from wilor.utils import recursive_to

    model, config = load_wilor(
        checkpoint_path=options.get("checkpoint") or "./pretrained_models/wilor_final.ckpt",
        cfg_path="./pretrained_models/model_config.yaml",
    )
    return handler(model, config, ViTDetDataset, recursive_to, options)


if __name__ == "__main__":
    serve("wilor", CONVENTIONS, ["wilor", "torch"], load)
