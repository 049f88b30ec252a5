"""The open hand beside a dataset: its parameters mean nothing in MANO, whose faces and basis it has not."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from exports.folder import Folder
from pipeline.hand_model.hand import OPEN_HAND, read_hand
from pipeline.types import Side


def write_hand_models(folder: Folder) -> None:
    """hand_models/open-hand/<side>.npz: faces, components, mean pose, tip vertices. A user's MANO is not passed on."""
    used = {(sample.entry["hand_model"], sample.entry["side"]) for sample in folder.samples}
    for side in get_args(Side):
        if (OPEN_HAND, side) in used:
            model = read_hand(side, OPEN_HAND)
            arrays: dict[str, NDArray[Any]] = {
                "faces": model.faces.astype(np.int32),
                "components": model.components,
                "mean": model.mean_pose,
                "tip_ids": model.tip_ids.astype(np.int32),
            }
            folder.write(f"hand_models/{OPEN_HAND}/{side}.npz", npz(arrays))


def npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """As numpy.savez_compressed, but equal arrays give equal bytes: the members have no time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(info, member.getvalue(), zipfile.ZIP_DEFLATED, 1)
    return out.getvalue()
