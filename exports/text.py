"""Numbers as lines of text, for OBJ, PLY and XYZ files."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


def rows(form: str, array: NDArray[Any]) -> str:
    """A line for every row of the array, by a form with as many places (%.6f, %d, ..) as a row has numbers.

    All lines are made by one `%`, which takes a third of the time of a format for each, or less.
    """
    return (form + "\n") * len(array) % tuple(array.ravel().tolist())
