"""Where things are in a canonical export, and what they are called.

ROOT/<split>-%06d.tar              WebDataset shards: <id>.<member> for every member below, samples in order of id
ROOT/glb/<split>/<id>.glb          the pairs once more, one file each, and metadata.parquet: table and index
ROOT/hand_models/OPEN_HAND_*.npz   what turns the parameters of an open hand into vertices
"""

from __future__ import annotations

VERSION = 1  # of the members and their meaning
MASKS = ("hand_mask", "object_mask", "arm_mask", "amodal_mask", "contact_front", "contact_back")
ARRAYS = {  # (shape, dtype) of the arrays
    "hand_verts": ((778, 3), "<f4"),
    "hand_joints": ((21, 3), "<f8"),
    "contact_distance": ((778,), "<f4"),
}
PICTURES = ("photo", "completion")
TABLE = "metadata.parquet"
GLB_ROOT = "glb"
PIECES = ".pieces"  # samples that wait for their shard
DEPTH_UNITS = (1e-4, 1e-3, 1e-2)  # metres per step of the depth picture: the finest that reaches far enough


def members(pictures: str) -> tuple[str, ...]:
    """The members of a sample in the order in which they are in the tar. `pictures`: jpg or png."""
    return (
        "json",
        "details.txt",
        *(f"{name}.{pictures}" for name in PICTURES),
        *(f"{name}.png" for name in (*MASKS, "depth")),
        *(f"{name}.npy" for name in ARRAYS),
        "object.glb",
        "pair.glb",
    )


def shard_name(split: str, number: int) -> str:
    """The path of a shard."""
    return f"{split}-{number:06d}.tar"


def glb_name(split: str, sample_id: str) -> str:
    """The path of a pair's own GLB."""
    return f"{GLB_ROOT}/{split}/{sample_id}.glb"


def table_name(split: str) -> str:
    """The path of a split's table."""
    return f"{GLB_ROOT}/{split}/{TABLE}"


def piece_name(sample_id: str) -> str:
    """The path of a sample on its way into a shard."""
    return f"{PIECES}/{sample_id}"
