"""Where ObMan's files lie."""

from __future__ import annotations

SPLITS = ("train", "val", "test")
KINDS = {"rgb": "jpg", "rgb_hand": "jpg", "rgb_obj": "jpg", "segm": "png", "depth": "png", "meta": "pkl"}
SHAPENET_ROOT = "ShapeNetCore.v2"
MODEL_FILES = (
    "model_normalized.obj",
    "model_normalized.mtl",
    "texture.png",
    "model_normalized.pkl",
    "surface_points.pkl",
)


def sample_path(split: str, kind: str, sample_id: str) -> str:
    """The file of one kind of one sample, below the root."""
    return f"{split}/{kind}/{sample_id}.{KINDS[kind]}"
