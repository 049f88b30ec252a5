"""A hand's file without torch: what it holds, and where a pose puts it. `model.py` has the same hand with gradients.

The file layout is that of smplx's MANO; the open hand adds `zone`, `part`, `side` and `tip_ids`, described at the
attributes they become.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipeline.errors import MissingWeights, PipelineError
from pipeline.hand_model.mano_file import COMMAND, mano_path
from pipeline.types import F64, I64, PARTS, HandPose, Part, Side

ASSETS = Path(__file__).parent / "assets"
OPEN_HAND, MANO = "open-hand", "mano"
HANDS = (OPEN_HAND, MANO)

# MANO's joint order is wrist, index, middle, little, ring, thumb; OpenPose's is wrist, thumb .. little, base to
# tip. The five tips are vertices, appended after the 16 joints in the order thumb .. little.
MANO_TO_OPENPOSE = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)


class Hand:
    """A posable hand of one side. Parameters are absolute axis-angle (flat_hand_mean=True), metres."""

    def __init__(self, path: Path, side: Side, name: str) -> None:
        data = np.load(path, allow_pickle=False)
        self.name = name  # as `read_hand` knows it
        self.path = path
        self.side: Side = side
        faces = np.asarray(data["f"], dtype=np.int64)
        self.faces_open: I64 = faces[:1538]
        self.faces: I64 = faces  # closed at the wrist
        self.tip_ids: I64 = np.asarray(data["tip_ids"], dtype=np.int64)  # (5,) thumb .. little
        self.part: NDArray[np.int8] = data["part"]  # (778,) joint each vertex belongs to, MANO order
        self.zone: NDArray[np.int8] = data["zone"]  # (778,) 0 none, 1-5 finger pads thumb .. little, 6 palm
        self.skin_side: NDArray[np.int8] = data["side"]  # (778,) 1 palmar, -1 dorsal, 0 lateral
        self.mean_pose: F64 = np.asarray(data["hands_mean"], dtype=np.float64)  # (45,)
        self.components: F64 = np.asarray(data["hands_components"], dtype=np.float64)  # (45, 45) rows
        coeffs = np.asarray(data["hands_coeffs"], dtype=np.float64)  # open hand: diagonal of std; MANO: samples
        square = coeffs.shape[0] == coeffs.shape[1]
        self.component_std: F64 = np.diag(coeffs).copy() if square else np.sqrt((coeffs**2).mean(0))  # (45,)

    def zone_vertices(self, part: Part) -> I64:
        """Vertex ids of one contact zone: a finger's pad, or the palm."""
        return np.flatnonzero(self.zone == PARTS.index(part) + 1)

    def posed(self, pose: HandPose) -> tuple[F64, F64]:
        """Vertices (778, 3) and OpenPose joints (21, 3) of a pose, metres, camera frame."""
        skin = self._skin
        turns = Rotation.from_rotvec(np.append(pose.global_orient, pose.hand_pose).reshape(16, 3)).as_matrix()
        shaped = skin.template + skin.by_shape @ pose.betas
        rest = skin.regressor @ shaped
        bent = shaped + np.einsum("p,pc->c", (turns[1:] - np.eye(3)).ravel(), skin.by_pose).reshape(-1, 3)
        rotation, joints = turns.copy(), rest.copy()
        for joint, parent in enumerate(skin.parents[1:], 1):
            rotation[joint] = rotation[parent] @ turns[joint]
            joints[joint] = joints[parent] + rotation[parent] @ (rest[joint] - rest[parent])
        shift = joints - np.einsum("jab,jb->ja", rotation, rest)
        blended = (skin.weights @ rotation.reshape(16, 9)).reshape(-1, 3, 3)
        verts = np.einsum("vab,vb->va", blended, bent) + skin.weights @ shift
        joints = np.concatenate([joints, verts[self.tip_ids]])[list(MANO_TO_OPENPOSE)]
        return verts + pose.transl, joints + pose.transl

    @cached_property
    def _skin(self) -> _Skin:
        data = np.load(self.path, allow_pickle=False)
        names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
        template, by_shape, by_pose, regressor, weights = (np.asarray(data[name], dtype=np.float64) for name in names)
        by_pose = np.ascontiguousarray(by_pose.reshape(-1, by_pose.shape[-1]).T)
        parents = data["kintree_table"][0].astype(np.int64).tolist()
        return _Skin(template, by_shape[..., :10], by_pose, regressor, weights, parents)


class _Skin(NamedTuple):
    """How a hand's skin follows its joints."""

    template: F64  # (778, 3) metres
    by_shape: F64  # (778, 3, 10)
    by_pose: F64  # (135, 2334) of the entries of 15 rotation matrices minus identity
    regressor: F64  # (16, 778)
    weights: F64  # (778, 16)
    parents: list[int]  # the wrist's is none


def hand_path(side: Side, name: str) -> Path:
    """The file of a hand model. Raises MissingWeights when it is not there, PipelineError for an unknown name."""
    if name == OPEN_HAND:
        return ASSETS / f"OPEN_HAND_{side.upper()}.npz"
    if name != MANO:
        raise PipelineError(f"unknown hand model '{name}'; known: {', '.join(HANDS)}")
    path = mano_path(side)
    if not path.is_file():
        raise MissingWeights(f"hand model 'mano' has no {side} hand in {path.parent}; run: {COMMAND}")
    return path


def read_hand(side: Side, name: str = OPEN_HAND) -> Hand:
    """The hand of one side, read once per process: the open hand, or the user's own MANO ('mano').

    Raises MissingWeights with the command that adds MANO, PipelineError for a name that is none of `HANDS`.
    """
    return _read(hand_path(side, name), side, name)


@lru_cache(maxsize=8)
def _read(path: Path, side: Side, name: str) -> Hand:
    return Hand(path, side, name)
