"""Where FreiHAND's files lie, and what is in each of its lists."""

from __future__ import annotations

SETS = {"train": "training", "val": "validation", "test": "evaluation"}  # split -> the public `set_name`
SIZE = 224  # pixels: the side of every picture; readers take it for granted
VERSION_OFFSET = 32_560  # pictures of training version v (gs, hom, sample, auto) are numbered id + 32560 v
MANO_SIZE = 61
LISTS: dict[str, tuple[int, ...]] = {  # the shape of one entry
    "K": (3, 3),
    "mano": (1, MANO_SIZE),
    "scale": (),
    "verts": (778, 3),
    "xyz": (21, 3),
}
OWN = "hoi_annotate"  # the list of ours beside them
MODEL_PATH = "hand_models/open-hand/right.json"


def list_path(set_name: str, name: str) -> str:
    """A list with one entry per sample, below the root."""
    return f"{set_name}_{name}.json"


def picture_path(set_name: str, kind: str, stem: str) -> str:
    """The picture ('rgb') or the hand's mask ('mask') of one sample, below the root."""
    return f"{set_name}/{kind}/{stem}.jpg"
