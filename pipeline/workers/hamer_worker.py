"""Runs in HaMeR's environment, in its clone (geopavlakos/hamer, demo.py)."""

from __future__ import annotations

from hand_crops import CONVENTIONS, find, handler
from worker_base import serve


def load(options):
    from hamer.datasets.vitdet_dataset import ViTDetDataset
    from hamer.models import load_hamer
    from hamer.utils import recursive_to

    model, config = load_hamer(str(find("hamer.ckpt", options)))
    return handler(model, config, ViTDetDataset, recursive_to, options)


if __name__ == "__main__":
    serve("hamer", CONVENTIONS, ["hamer", "torch"], load)
