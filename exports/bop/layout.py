"""Where BOP's files lie."""

from __future__ import annotations

SPLITS = ("train", "val", "test")
MODELS = "models"
INCOMING = "incoming"  # files of samples wait here for the numbers that only all samples together give
IMAGES_PER_SCENE = 1000  # at most, as in BOP's rendered training images
SUFFIXES = ("png", "jpg")  # of the photographs
JSON_FILES = ("scene_camera", "scene_gt", "scene_gt_info", "scene_hoi_annotate")


def scene_path(split: str, scene: int) -> str:
    """The folder of a scene."""
    return f"{split}/{scene:06d}"


def image_path(split: str, scene: int, kind: str, image: int, suffix: str = "png") -> str:
    """rgb or depth of one image."""
    return f"{scene_path(split, scene)}/{kind}/{image:06d}.{suffix}"


def mask_path(split: str, scene: int, kind: str, image: int, gt: int) -> str:
    """mask or mask_visib of one object in one image."""
    return f"{scene_path(split, scene)}/{kind}/{image:06d}_{gt:06d}.png"


def model_path(number: int, suffix: str = "ply") -> str:
    """An object's mesh, or its texture."""
    return f"{MODELS}/obj_{number:06d}.{suffix}"


def incoming_path(name: str) -> str:
    """A file that has no number yet."""
    return f"{INCOMING}/{name}"
