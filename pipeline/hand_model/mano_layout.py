"""MANO's arrays in the open hand's layout: checked, the wrist closed, the skin labelled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.hand_model.inert_pickle import plain_array, read_pickle
from pipeline.hand_model.skin_labels import DISTAL, label_skin
from pipeline.hand_model.wrist import close_wrist
from pipeline.types import F64, I64, Side

TIP_IDS: dict[Side, tuple[int, ...]] = {  # thumb .. little, those of manopth
    "right": (745, 317, 444, 556, 673),
    "left": (745, 317, 445, 556, 673),
}
PARENTS = (0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)  # of joints 1 .. 15
SHAPES: dict[str, tuple[int | None, ...]] = {
    "v_template": (778, 3),
    "f": (1538, 3),
    "shapedirs": (778, 3, 10),
    "posedirs": (778, 3, 135),
    "J_regressor": (16, 778),
    "weights": (778, 16),
    "kintree_table": (2, 16),
    "hands_components": (45, 45),
    "hands_mean": (45,),
    "hands_coeffs": (None, 45),
}


class BadManoFile(PipelineError):
    """The file is not one of MANO's two hands, as far as we can tell, or cannot be used."""


def read_mano(content: bytes) -> tuple[Side, dict[str, Any]]:
    """Which hand a published pickle holds, and it as the entries of an npz; its shape directions as they were.

    Raises UnsafePickle, or PipelineError with the reason why it is not MANO's.
    """
    published = read_pickle(content)
    arrays = {key: _checked(published, key, shape) for key, shape in SHAPES.items()}
    side = _side(arrays)
    return side, _in_layout(arrays, side)


def _checked(published: dict[str, Any], key: str, shape: tuple[int | None, ...]) -> NDArray:
    if key not in published:
        raise BadManoFile(f"it has no '{key}'")
    array = plain_array(published[key])
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        expected = " x ".join("n" if n is None else str(n) for n in shape)
        raise BadManoFile(f"'{key}' is {' x '.join(map(str, array.shape))}, not {expected}")
    if not np.isfinite(array).all():
        raise BadManoFile(f"'{key}' has values that are not finite")
    return array


def _side(arrays: dict[str, NDArray]) -> Side:
    """A right hand's fingers point to -x."""
    joints = arrays["J_regressor"] @ arrays["v_template"]
    return "right" if joints[1:, 0].mean() < joints[0, 0] else "left"


def _in_layout(arrays: dict[str, NDArray], side: Side) -> dict[str, Any]:
    verts, weights = arrays["v_template"].astype(np.float64), arrays["weights"].astype(np.float64)
    faces, regressor = arrays["f"].astype(np.int64), arrays["J_regressor"].astype(np.float64)
    tip_ids = np.array(TIP_IDS[side])
    _check_meaning(arrays, tip_ids)
    closed = _outward(verts, close_wrist(verts, faces))
    mirror = np.array([1.0 if side == "right" else -1.0, 1, 1])
    as_right = closed if side == "right" else closed[:, ::-1]
    labels = label_skin(verts * mirror, as_right, weights, regressor @ verts * mirror, tip_ids)
    single = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
    hand = ("hands_components", "hands_mean", "hands_coeffs")
    kintree = np.array([(2**32 - 1, *PARENTS), range(16)], dtype=np.uint32)
    return {
        **{key: arrays[key].astype(np.float32) for key in (*single, *hand)},
        **labels._asdict(),
        "f": closed.astype(np.uint32),
        "J": (regressor @ verts).astype(np.float32),
        "kintree_table": kintree,
        "tip_ids": tip_ids,
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def _check_meaning(arrays: dict[str, NDArray], tip_ids: I64) -> None:
    """Arrays of the right shapes can still be another model's."""
    size = float(np.ptp(arrays["v_template"], axis=0).max())
    parts = arrays["weights"].argmax(1)
    wrong = {
        f"the hand is {size:.3g} long, which is no length in metres": not 0.1 < size < 0.4,
        "its skinning weights do not add up to 1": np.abs(arrays["weights"].sum(1) - 1).max() > 0.01,
        "its joints are not means of vertices": np.abs(arrays["J_regressor"].sum(1) - 1).max() > 0.01,
        "its joints do not hang together as MANO's do": tuple(arrays["kintree_table"][0, 1:]) != PARENTS,
        "its faces name vertices that are not there": arrays["f"].min() < 0 or arrays["f"].max() > 777,
        "its vertices are not in MANO's order": tuple(parts[tip_ids]) != DISTAL,
    }
    for reason, holds in wrong.items():
        if holds:
            raise BadManoFile(reason)


def _outward(verts: F64, faces: I64) -> I64:
    a, b, c = verts[faces].transpose(1, 0, 2)
    return faces if float((a * np.cross(b, c)).sum()) > 0 else faces[:, ::-1]
