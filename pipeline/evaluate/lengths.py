"""Lengths that hands and what they hold can have: how a file that is not in metres is noticed."""

from __future__ import annotations

PALM_METRES = (0.05, 0.16)  # wrist to the base of the middle finger
OBJECT_METRES = (0.005, 2.0)  # longest side of an object's box
PALM, LONG = "from the wrist to the base of the middle finger", "long"


def not_metres(what: str, which: str, metres: float, limits: tuple[float, float]) -> str | None:
    """Why a length cannot be in metres, as one line without the file's name; None when it can."""
    low, high = limits
    if low <= metres <= high:
        return None
    for factor, unit in ((1e-3, "millimetres"), (1e-2, "centimetres")):
        if low <= metres * factor <= high:
            return f"{what} seem to be in {unit}, not metres ({metres:.4g} {which})"
    return f"{what}: {metres:.4g} m {which}: not a length that this can have in metres"
