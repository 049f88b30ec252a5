"""Where HO-3D's files lie."""

from __future__ import annotations

SPLITS = ("train", "evaluation")
VERSIONS = ("v2", "v3")
JOINTS = ("root", "all")
FRAME = "0000"  # a photo is a sequence of one frame: readers take the frames of a sequence for neighbours in time
PHOTO_SUFFIX = {"v2": "png", "v3": "jpg"}
SEG_SUFFIX = {"v2": "jpg", "v3": "png"}


def paths(split: str, sequence: str, version: str) -> dict[str, str]:
    """The files of a sequence's one frame by kind, below the root."""
    suffixes = {"rgb": PHOTO_SUFFIX[version], "depth": "png", "seg": SEG_SUFFIX[version], "meta": "pkl"}
    return {kind: f"{split}/{sequence}/{kind}/{FRAME}.{suffix}" for kind, suffix in suffixes.items()}
