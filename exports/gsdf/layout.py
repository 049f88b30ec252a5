"""Where gSDF's and AlignSDF's files lie."""

from __future__ import annotations

STAGES = ("train", "val", "test")
SDF_STAGES = ("train", "val")  # those with signed distances; the readers train on `train` and only look at `test`
KINDS = {"rgb": "jpg", "segm": "png", "meta": "pkl", "mesh_hand": "obj", "mesh_obj": "obj"}
SDF_KINDS = {"sdf_hand": "npz", "sdf_obj": "npz", "norm": "npz"}
ALL = "all"  # the split that names every sample of a stage
PUBLIC_SPLITS = {"train": "87k", "test": "6k"}  # names that gSDF's configuration and create_lmdb have written in


def kinds_of(stage: str) -> dict[str, str]:
    """The folders of a stage and the suffix of the files in each."""
    return KINDS | (SDF_KINDS if stage in SDF_STAGES else {})


def data_path(stage: str, kind: str, sample_id: str) -> str:
    """The file of one kind of one sample, below the root."""
    return f"data/{stage}/{kind}/{sample_id}.{(KINDS | SDF_KINDS)[kind]}"


def split_paths(stage: str) -> list[str]:
    """The lists of all samples of a stage: the plain one, and one under the name that the readers ask for."""
    names = [ALL, *([PUBLIC_SPLITS[stage]] if stage in PUBLIC_SPLITS else [])]
    return [f"splits/{stage}_{name}.json" for name in names]
