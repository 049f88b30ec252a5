"""One class for every hand in the MANO file layout; the shipped open hand is the default.

The file layout is that of smplx's MANO; the open hand adds `zone`, `part`, `side` and `tip_ids`, described at the
attributes they become.
"""

from __future__ import annotations

import contextlib
import io
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipeline.errors import MissingWeights, PipelineError
from pipeline.hand_model.mano_file import COMMAND, mano_path
from pipeline.hand_model.skinning import Posable, Skin, Smplx
from pipeline.types import F64, I64, PARTS, HandPose, Part, Side

ASSETS = Path(__file__).parent / "assets"
OPEN_HAND, MANO = "open-hand", "mano"
HANDS = (OPEN_HAND, MANO)

# MANO's joint order is wrist, index, middle, little, ring, thumb; OpenPose's is wrist, thumb .. little, base to
# tip. The five tips are vertices, appended after the 16 joints in the order thumb .. little.
MANO_TO_OPENPOSE = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)


class HandModel(torch.nn.Module):  # type: ignore[misc]
    """A posable hand of one side. Parameters are absolute axis-angle (flat_hand_mean=True), metres."""

    def __init__(self, path: Path, side: Side, name: str) -> None:
        super().__init__()
        import smplx

        with contextlib.redirect_stdout(io.StringIO()):  # smplx prints a warning about the missing betas
            self._mano = smplx.MANO(
                str(path), ext="npz", is_rhand=side == "right", use_pca=False, flat_hand_mean=True, batch_size=1
            )
        data = np.load(path, allow_pickle=False)
        self.name = name  # as `load_hand` knows it
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

    def on(self, device: torch.device) -> HandModel:
        """The same hand with its tensors on a device; this one when they are there already."""
        return self if device == self._mano.v_template.device else _load(self.path, self.side, self.name, str(device))

    def zone_vertices(self, part: Part) -> I64:
        """Vertex ids of one contact zone: a finger's pad, or the palm."""
        return np.flatnonzero(self.zone == PARTS.index(part) + 1)

    def forward(
        self, global_orient: torch.Tensor, hand_pose: torch.Tensor, betas: torch.Tensor, transl: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3), (B, 45), (B, 10), (B, 3) -> vertices (B, 778, 3) and OpenPose joints (B, 21, 3), metres."""
        out = self._mano(betas=betas, global_orient=global_orient, hand_pose=hand_pose, transl=transl)
        verts = out.vertices
        joints = torch.cat([out.joints[:, :16], verts[:, self.tip_ids]], 1)[:, MANO_TO_OPENPOSE]
        return verts, joints

    def posable(self, orient: torch.Tensor, betas: torch.Tensor) -> Posable:
        """This hand, of one shape (10,), as a function of turn, articulation and place; turned from `orient` (3,)."""
        if orient.device.type != "cpu":
            return Smplx(self.on(orient.device), orient, betas)
        mano = self._mano
        shaped = mano.v_template + mano.shapedirs @ betas
        arrays = (shaped, mano.J_regressor @ shaped, mano.parents, mano.lbs_weights)
        shaped, rest, parents, weights = (a.numpy() if a.dtype == torch.long else a.double().numpy() for a in arrays)
        blend = np.ascontiguousarray(mano.posedirs.numpy())
        turned = Rotation.from_rotvec(orient.double().numpy()).as_matrix()
        return Skin(shaped, rest, parents, weights, blend, self.tip_ids, np.array(MANO_TO_OPENPOSE), turned)

    def posed(self, pose: HandPose) -> tuple[F64, F64]:
        """Vertices (778, 3) and OpenPose joints (21, 3) of a pose, metres, camera frame, as numpy arrays."""
        fields = (pose.global_orient, pose.hand_pose, pose.betas, pose.transl)
        with torch.no_grad():
            verts, joints = self(*(self._mano.v_template.new_tensor(np.asarray(f))[None] for f in fields))
        return verts[0].cpu().double().numpy(), joints[0].cpu().double().numpy()

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return cast("tuple[torch.Tensor, torch.Tensor]", super().__call__(*args, **kwargs))


def load_hand(side: Side, name: str = OPEN_HAND) -> HandModel:
    """The hand of one side on the CPU, loaded once per process: the open hand, or the user's own MANO ('mano').

    Raises MissingWeights with the command that adds MANO, PipelineError for a name that is none of `HANDS`.
    """
    return _load(hand_path(side, name), side, name, "cpu")


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


@lru_cache(maxsize=8)
def _load(path: Path, side: Side, name: str, device: str) -> HandModel:
    return cast("HandModel", HandModel(path, side, name).to(device))
