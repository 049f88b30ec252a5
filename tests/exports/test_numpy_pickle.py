"""Pickles that numpy 1 reads, whose bytes depend on values only."""

from __future__ import annotations

import pickle
import pickletools
from enum import IntEnum, StrEnum
from pathlib import Path

import numpy as np
import pytest

from exports import numpy_pickle

VALUE = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": [1, 2.5, None, True, "ä", ("x", np.float64(3)), np.int8(4)],
    "empty": np.zeros((0, 3), bool),
}


def _globals(data: bytes) -> set[str]:
    """Every string in the opcode stream; the names of globals are among them."""
    return {str(argument) for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)}


def test_round_trip_with_plain_pickle() -> None:
    for value in (pickle.loads(numpy_pickle.dumps(VALUE)), numpy_pickle.loads(numpy_pickle.dumps(VALUE))):
        assert list(value) == ["a", "b", "empty"]
        assert value["a"] == [1, 2.5, None, True, "ä", ("x", 3.0), 4]
        assert type(value["a"][5][1]) is float
        np.testing.assert_array_equal(value["b"], VALUE["b"])
        assert value["b"].dtype == np.float32
        assert value["b"].flags.writeable
        assert value["empty"].shape == (0, 3)


def test_names_only_what_numpy_1_has() -> None:
    data = numpy_pickle.dumps(VALUE)
    assert data[:2] == b"\x80\x04"
    names = _globals(data)
    assert not any("core" in name or name.startswith("_") for name in names)
    assert {"numpy", "ndarray", "dtype"} <= names


def test_reads_what_numpy_pickles_itself() -> None:
    value = numpy_pickle.loads(pickle.dumps({"b": VALUE["b"]}))
    np.testing.assert_array_equal(value["b"], VALUE["b"])


def test_export_names_only_what_numpy_1_has(root: Path) -> None:
    paths = sorted(root.rglob("*.pkl"))
    assert len(paths) >= 4 + 2
    for path in paths:
        assert not any("core" in name for name in _globals(path.read_bytes()))


def test_enums_become_their_values() -> None:
    class Verdict(StrEnum):
        ACCEPT = "accept"

    class Level(IntEnum):
        HIGH = 3

    value = numpy_pickle.loads(numpy_pickle.dumps({"verdict": Verdict.ACCEPT, "level": Level.HIGH}))
    assert value == {"verdict": "accept", "level": 3}
    assert (type(value["verdict"]), type(value["level"])) == (str, int)


def test_bytes_depend_on_values_only() -> None:
    shared = "a string that is long enough not to be interned"
    copy = "".join(list(shared))
    array = np.arange(6.0).reshape(2, 3)
    assert numpy_pickle.dumps([shared, shared, array, array]) == numpy_pickle.dumps(
        [shared, copy, array.copy(), np.asfortranarray(array)]
    )
    assert numpy_pickle.dumps({"a": 1, "b": 2}) == numpy_pickle.dumps({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, np.array(["x"]), np.array([object()], dtype=object)])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        numpy_pickle.dumps(value)


def test_loading_refuses_code() -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"builtins\.eval"):
        numpy_pickle.loads(pickle.dumps(eval))
