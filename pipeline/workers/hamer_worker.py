"""Runs in HaMeR's environment, in its clone (geopavlakos/hamer, demo.py)."""

from __future__ import annotations

from hand_crops import CONVENTIONS, handler
from worker_base import serve


def load(options):
    from hamer.datasets.vitdet_dataset import ViTDetDataset
    from hamer.models import DEFAULT_CHECKPOINT, load_hamer
    from hamer.utils import recursive_to

    model, config = load_hamer(options.get("checkpoint") or DEFAULT_CHECKPOINT)
    return handler(model, config, ViTDetDataset, recursive_to, options)


if __name__ == "__main__":
    serve("hamer", CONVENTIONS, ["hamer", "torch"], load)
