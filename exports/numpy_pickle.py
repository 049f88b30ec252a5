"""Pickles of plain values and arrays that numpy 1 and numpy 2 both read, with bytes that depend on values only.

numpy 2 pickles an array by the name `numpy._core.multiarray._reconstruct`, which numpy 1 (what the public
loaders run on) does not have. Here an array is an empty `numpy.ndarray` that is given its state: public names only.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from enum import Enum
from typing import Any

import numpy as np

PROTOCOL = 4  # the newest that Python 3.4 - 3.7, which old loaders ask for, can read

_RECONSTRUCT = np.zeros(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def dumps(value: Any) -> bytes:
    """Pickle nested dicts, lists, tuples, str, int, float, bool, None and numpy arrays.

    Numpy scalars become Python's, dict keys are sorted. Raises TypeError for anything else.
    """
    out = io.BytesIO()
    pickler = _Pickler(out, PROTOCOL)
    pickler.fast = True  # no memo: else the bytes would depend on which equal strings are the same object
    pickler.dump(_plain(value))
    return out.getvalue()


def loads(data: bytes) -> Any:
    """Unpickle plain values and arrays; raises pickle.UnpicklingError for a pickle that names anything else."""
    return _Unpickler(io.BytesIO(data)).load()


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return NotImplemented
        return copyreg.__newobj__, (np.ndarray, (0,)), value.__reduce__()[2]  # type: ignore[attr-defined]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"names {module}.{name}, which is neither plain nor numpy")
        return _ALLOWED[module, name]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):  # first: np.float64 is a float
        value = value.item()
    if isinstance(value, Enum):  # else the pickle of a str enum would name its class
        value = value.value
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
    if isinstance(value, dict):
        return {str(key): _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    raise TypeError(f"cannot export a value of type {type(value).__name__}")
