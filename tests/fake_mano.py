"""Files with the structure of MANO's pickles, made from the open hand: no MANO data is in them.

A file is what Python 2 wrote with protocol 2: text opcodes for strings, old module names, `shapedirs` as a chumpy
selection of a chumpy array, `J_regressor` as a scipy csc matrix. Its hand differs from the open hand in numbering,
proportions, shape basis, pose basis and pose correctives, so nothing can pass by treating one as the other.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any, ClassVar

import numpy as np
import scipy.sparse

from pipeline.hand_model.model import ASSETS
from pipeline.types import Side

OLD_NAMES = (("numpy._core", "numpy.core"), ("scipy.sparse._csc", "scipy.sparse.csc"))
TIPS = (744, 745, 317, 320, 443, 444, 445, 554, 556, 671, 673)  # keep their numbers


class Python2Pickler(pickle._Pickler):
    """What cPickle of Python 2 wrote: `str` and bytes as STRING opcodes, modules under their old names."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def _string(self, value: str | bytes) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    def _class(self, value: Any, name: str | None = None) -> None:
        module = value.__module__
        for new, old in OLD_NAMES:
            module = module.replace(new, old)
        module = {"builtins": "__builtin__", "copyreg": "copy_reg"}.get(module, module)
        self.write(pickle.GLOBAL + f"{module}\n{name or value.__name__}\n".encode())
        self.memoize(value)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        self._class(obj, name)

    dispatch[str] = dispatch[bytes] = _string
    dispatch[type] = _class


def dumps(value: Any, protocol: int = 2) -> bytes:
    """A pickle as Python 2 would have written it. The classes it names need not exist."""
    file = io.BytesIO()
    Python2Pickler(file, protocol).dump(value)
    return file.getvalue()


def _instance(module: str, name: str, **attributes: Any) -> Any:
    made = type(name, (), {"__module__": module})()
    made.__dict__.update(attributes)
    return made


def chumpy_array(values: np.ndarray) -> Any:
    """A `chumpy.ch.Ch` as it is pickled."""
    changed = {"_dirty_vars": {"x"}, "_itr": None, "_depends_on_deps": {}, "_make_dense": False, "_make_sparse": False}
    return _instance("chumpy.ch", "Ch", x=values, **changed)


def chumpy_selection(values: np.ndarray, count: int) -> Any:
    """A `chumpy.reordering.Select` of the first `count` of the last axis."""
    everything = np.arange(values.size).reshape(values.shape)
    chosen = everything[..., :count]
    return _instance(
        "chumpy.reordering",
        "Select",
        a=chumpy_array(values),
        idxs=chosen.ravel(),
        preferred_shape=chosen.shape,
        _depends_on_deps={"r": {"deps": {"a"}, "out_of_date": True}},
    )


def arrays(side: Side) -> dict[str, np.ndarray]:
    """Another hand than the open hand, in MANO's layout, correct on both sides."""
    rng = np.random.default_rng(7)
    hand = np.load(ASSETS / f"OPEN_HAND_{side.upper()}.npz")
    number = np.arange(778)
    free = np.setdiff1d(number, TIPS)
    number[free] = rng.permutation(free)  # new vertex i is the old vertex number[i]
    renamed = np.argsort(number)
    shape = hand["shapedirs"].astype(np.float64)
    verts = hand["v_template"].astype(np.float64) + shape @ (rng.normal(size=10) * 0.7)
    mixed = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    turned = np.linalg.qr(rng.normal(size=(45, 45)))[0]
    components = hand["hands_components"].astype(np.float64)
    regressor = hand["J_regressor"].astype(np.float64)[:, number]
    regressor = 0.9 * regressor + 0.1 * (regressor > 0) / (regressor > 0).sum(1, keepdims=True)
    return {
        "v_template": verts[number],
        "f": renamed[hand["f"][:1538].astype(np.int64)].astype(np.uint32),
        "shapedirs": (shape @ mixed)[number],
        "posedirs": 0.6 * hand["posedirs"].astype(np.float64)[number],
        "J_regressor": regressor,
        "J": regressor @ verts[number],
        "weights": hand["weights"].astype(np.float64)[number],
        "kintree_table": hand["kintree_table"].astype(np.int64),
        "hands_components": turned @ components,
        "hands_mean": 0.8 * hand["hands_mean"].astype(np.float64),
        "hands_coeffs": rng.normal(size=(1554, 45)) * 0.3,
    }


def published(side: Side) -> dict[str, Any]:
    """What MANO's makers would have pickled: shape directions of the left hand are the right one's along x."""
    found: dict[str, Any] = arrays(side)
    shape = found["shapedirs"].copy()
    shape[:, 0] = arrays("right")["shapedirs"][:, 0]
    more = np.concatenate([shape, np.zeros_like(shape)], 2)  # the makers keep ten of more directions
    return found | {
        "shapedirs": chumpy_selection(more, 10),
        "J_regressor": scipy.sparse.csc_matrix(found["J_regressor"]),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def pickled(side: Side) -> bytes:
    """A file that could be MANO_RIGHT.pkl or MANO_LEFT.pkl."""
    return dumps(published(side))
