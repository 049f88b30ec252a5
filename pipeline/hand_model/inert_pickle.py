"""Reads the arrays out of a pickle of the MANO family without running anything that is in it.

    bytes --InertUnpickler--> plain containers, strings, numbers and inert holders --plain_array--> numpy arrays

A pickle names the functions that build its objects, so reading one from elsewhere with `pickle.load` runs whatever it
names. Here every name is looked up in a short list of our own holders, which keep what they are given and do nothing:
not even numpy's own constructors see the file's content. A name that is not in the list is refused.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

NUMBER = re.compile(r"[biuf][1248]")  # dtypes of arrays that are taken
LARGEST_MATRIX = 10**7  # elements; MANO's has 12 thousand
DEEPEST = 8  # holders inside holders; a chumpy selection of a chumpy array is 2


class UnsafePickle(PipelineError):
    """The file is no pickle, is broken, or asks for more than arrays."""


class _Holder:
    """Keeps the arguments and the state it is given. BUILD on the class itself finds no object to fill and fails."""

    kind = "object"
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> Any:  # not __init__: protocol 2 makes objects without calling it
        made = object.__new__(cls)
        made.args, made.state = args, None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Holder):
    """numpy.ndarray; the state is (version, shape, dtype, is it Fortran's order, bytes)."""


class _Dtype(_Holder):
    """numpy.dtype; the arguments begin with as 'f8', the state is (version, byte order, ...)."""


class _Scalar(_Holder):
    """numpy.core.multiarray.scalar(dtype, bytes)."""


class _Buffer(_Holder):
    """numpy.core.numeric._frombuffer(bytes, dtype, shape, order), from pickles of protocol 5."""


class _Reconstruct(_Holder):
    """numpy.core.multiarray._reconstruct(ndarray, ...): an array that waits for its state."""

    def __new__(cls, *args: Any) -> Any:
        if args[:1] != (_Array,):
            raise UnsafePickle("an array of an unknown class")
        return _Array()


class _Reconstructor(_Holder):
    """copy_reg._reconstructor(class, object, None): how protocols 0 and 1 make an object that waits for its state."""

    def __new__(cls, *args: Any) -> Any:
        if len(args) != 3 or args[1:] != (_Plain, None) or not isinstance(args[0], type):
            raise UnsafePickle("an object of an unknown class")
        return args[0]()


class _Encode(_Holder):
    """_codecs.encode(text, 'latin1'): bytes in a pickle of protocol 2 that Python 3 wrote."""

    def __new__(cls, *args: Any) -> Any:
        text, encoding = args
        if not isinstance(text, str) or encoding != "latin1":
            raise UnsafePickle("bytes in an unknown encoding")
        return text.encode("latin1")


class _Plain(_Holder):
    """builtins.object, named only as a base class."""


class _Set(_Holder):
    """A set; chumpy's objects carry some about what has changed."""


_BUILTINS = ("__builtin__", "builtins")
_NUMPY_CORE = ("numpy.core", "numpy._core")
_TAKEN: dict[tuple[str, str], type[_Holder]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("copy_reg", "_reconstructor"): _Reconstructor,
    ("copyreg", "_reconstructor"): _Reconstructor,
    ("_codecs", "encode"): _Encode,
    **{(module, "object"): _Plain for module in _BUILTINS},
    **{(module, "set"): _Set for module in _BUILTINS},
    **{(f"{core}.multiarray", "_reconstruct"): _Reconstruct for core in _NUMPY_CORE},
    **{(f"{core}.multiarray", "scalar"): _Scalar for core in _NUMPY_CORE},
    **{(f"{core}.numeric", "_frombuffer"): _Buffer for core in _NUMPY_CORE},
}
_SPARSE = re.compile(r"scipy\.sparse\._?(csc|csr)")
_SPARSE_CLASS = re.compile(r"(csc|csr)_(matrix|array)")
_CHUMPY = re.compile(r"chumpy(\.\w+)*", re.ASCII)


class _Foreign(_Holder):
    """An object of chumpy or scipy; a class of its own per kind is made for each file."""


class InertUnpickler(pickle._Unpickler):
    """A pickle in the old or new protocols, strings of Python 2 as latin-1, every object a holder.

    The reader in Python, not the one in C, which sets aside whatever room a file says that it needs.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """The holder for a name. Raises UnsafePickle for every name that a model file has no business with."""
        if (module, name) in _TAKEN:
            return _TAKEN[module, name]
        if _SPARSE.fullmatch(module) and (found := _SPARSE_CLASS.fullmatch(name)):
            return type("Sparse", (_Foreign,), {"kind": found[1]})
        if _CHUMPY.fullmatch(module) and name.isidentifier():
            return type("Chumpy", (_Foreign,), {"kind": f"{module}.{name}"})
        raise UnsafePickle(f"it asks for {module!r} {name!r}, which is not an array")


def read_pickle(content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle, its objects as inert holders. Raises UnsafePickle with the reason."""
    try:
        found = InertUnpickler(content).load()
    except UnsafePickle:
        raise
    except Exception as error:  # a made-up pickle fails in any way, and none of them is worth telling apart
        raise UnsafePickle(f"it is no whole pickle ({type(error).__name__}: {error})".replace("\n", " ")) from error
    if not isinstance(found, dict):
        raise UnsafePickle("it holds no dictionary of arrays")
    return found


def read_values(content: bytes) -> Any:
    """What a data set's pickle holds: containers, strings, numbers, and numpy arrays; an array of objects is a list.

    Raises UnsafePickle for a pickle that is broken or names anything but arrays.
    """
    try:
        return _valued(InertUnpickler(content).load())
    except UnsafePickle:
        raise
    except Exception as error:  # as in read_pickle
        raise UnsafePickle(f"it is no whole pickle ({type(error).__name__}: {error})".replace("\n", " ")) from error


def _valued(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _valued(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_valued(item) for item in value]
    if isinstance(value, _Array) and isinstance(value.state[4], list):
        return [_valued(item) for item in value.state[4]]
    return plain_array(value) if isinstance(value, _Holder) else value


def plain_array(value: Any, depth: int = 0) -> NDArray:
    """The array a holder stands for, as a numpy array of numbers. Raises UnsafePickle where there is none."""
    if depth > DEEPEST:
        raise UnsafePickle("its objects are nested too deep")
    try:
        if isinstance(value, _Array):
            _, shape, dtype, fortran, raw = value.state
            return _filled(raw, dtype, shape, "F" if fortran else "C")
        if isinstance(value, _Buffer):
            raw, dtype, shape, order = value.args
            return _filled(raw, dtype, shape, order)
        if isinstance(value, _Scalar):
            return _filled(value.args[1], value.args[0], (), "C")
        if isinstance(value, _Foreign):
            return _foreign(value.kind, dict(value.state), depth)
        if isinstance(value, list | tuple) and all(isinstance(number, int | float) for number in value):
            return np.array(value, dtype=np.float64)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise UnsafePickle(f"a {type(value).__name__.strip('_').lower()} in it is broken ({error})") from error
    raise UnsafePickle(f"a {type(value).__name__.strip('_').lower()} where an array should be")


def _filled(raw: Any, dtype: Any, shape: Any, order: str) -> NDArray:
    """An array from its bytes, which Python 2 wrote as text."""
    if not isinstance(dtype, _Dtype) or not NUMBER.fullmatch(str(dtype.args[0])):
        raise ValueError("its dtype is no plain number")
    byte_order = dtype.state[1] if dtype.state else "|"
    numbers = np.dtype(f"{byte_order if byte_order in ('<', '>') else '='}{dtype.args[0]}")
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError("its shape is no shape")
    data = raw.encode("latin1") if isinstance(raw, str) else bytes(memoryview(raw))
    if len(data) != math.prod(shape) * numbers.itemsize:
        raise ValueError("its size is not its shape's")
    values = np.frombuffer(data, numbers).reshape(shape, order="F" if order == "F" else "C")
    return values.astype(numbers.newbyteorder("="))


def _foreign(kind: str, state: dict[str, Any], depth: int) -> NDArray:
    """A scipy matrix made dense, or what a chumpy array, selection or reshaping holds."""

    def part(name: str) -> NDArray:
        return plain_array(state[name], depth + 1)

    if kind in ("csc", "csr"):
        return _dense(kind, part("_shape" if "_shape" in state else "shape"), *map(part, ("indptr", "indices", "data")))
    if "idxs" in state:  # chumpy.reordering.Select
        chosen = part("a").ravel()[_whole(part("idxs")).ravel()]
        return chosen.reshape(_whole(part("preferred_shape"))) if "preferred_shape" in state else chosen
    if "newshape" in state:  # chumpy.reordering.Reshape
        return part("a").reshape(_whole(part("newshape")))
    if "x" in state:  # chumpy.ch.Ch
        return part("x")
    raise ValueError(f"a {kind} is neither an array nor a selection of one")


def _dense(kind: str, size: NDArray, starts: NDArray, indices: NDArray, data: NDArray) -> NDArray:
    rows, columns = (int(n) for n in _whole(size))
    if not 0 <= rows * columns <= LARGEST_MATRIX:
        raise ValueError("its matrix is too large")
    along, counts = _whole(indices), np.diff(_whole(starts))
    if not len(along) == len(data) == counts.sum() or min(along.min(initial=0), counts.min(initial=0)) < 0:
        raise ValueError("its entries do not fit together")
    across = np.repeat(np.arange(len(counts)), counts)  # the column (csr: row) of every entry
    dense = np.zeros((rows, columns))
    np.add.at(dense, (along, across) if kind == "csc" else (across, along), data)
    return dense


def _whole(values: NDArray) -> NDArray[np.int64]:
    whole = values.astype(np.int64)
    if not (whole == values).all():
        raise ValueError("its indices are no whole numbers")
    return whole
