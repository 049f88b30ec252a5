"""One class for every hand in the MANO file layout; the shipped open hand is the default."""

from __future__ import annotations

import contextlib
import io
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pipeline.hand_model.hand import ASSETS, HANDS, MANO, MANO_TO_OPENPOSE, OPEN_HAND, Hand, hand_path
from pipeline.hand_model.skinning import Posable, Skin, Smplx
from pipeline.types import F64, HandPose, Side

__all__ = ["ASSETS", "HANDS", "MANO", "MANO_TO_OPENPOSE", "OPEN_HAND", "HandModel", "hand_path", "load_hand"]


class HandModel(torch.nn.Module, Hand):  # type: ignore[misc]
    """A hand with gradients, through smplx, in float32."""

    def __init__(self, path: Path, side: Side, name: str) -> None:
        torch.nn.Module.__init__(self)
        Hand.__init__(self, path, side, name)
        import smplx

        with contextlib.redirect_stdout(io.StringIO()):  # smplx prints a warning about the missing betas
            self._mano = smplx.MANO(
                str(path), ext="npz", is_rhand=side == "right", use_pca=False, flat_hand_mean=True, batch_size=1
            )

    def on(self, device: torch.device) -> HandModel:
        """The same hand with its tensors on a device; this one when they are there already."""
        return self if device == self._mano.v_template.device else _load(self.path, self.side, self.name, str(device))

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


@lru_cache(maxsize=8)
def _load(path: Path, side: Side, name: str, device: str) -> HandModel:
    return cast("HandModel", HandModel(path, side, name).to(device))
