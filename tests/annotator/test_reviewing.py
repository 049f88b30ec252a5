"""Edits: what a reviewer hands in, and how edits of several reviews add up."""

import io

import numpy as np
import pytest
from PIL import Image

from annotator.datasets import clusters
from annotator.records import jsonable
from annotator.reviewing import fingerprint, merged, read_mask
from db.models import Photo
from pipeline.errors import BadEdit, EmptyMask


def png(values: np.ndarray, mode: str | None = None) -> bytes:
    out = io.BytesIO()
    picture = Image.fromarray(values)
    (picture.convert(mode) if mode else picture).save(out, "PNG")
    return out.getvalue()


INSIDE = np.zeros((40, 60), dtype=bool)
INSIDE[10:30, 20:50] = True


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "P"])
def test_masks_of_every_kind_are_bright_inside(mode: str) -> None:
    data = png((INSIDE * 255).astype(np.uint8), mode)
    assert np.array_equal(read_mask(data, "hand_mask", (40, 60)), INSIDE)


def test_masks_of_0_and_1_are_understood() -> None:
    assert np.array_equal(read_mask(png(INSIDE.astype(np.uint8)), "hand_mask", (40, 60)), INSIDE)


def test_a_mask_in_another_size_of_the_same_photo_is_scaled() -> None:
    data = png((INSIDE * 255).astype(np.uint8))
    scaled = read_mask(data, "hand_mask", (400, 600), (120, 180))
    assert scaled.shape == (120, 180)
    assert scaled.mean() == pytest.approx(INSIDE.mean(), abs=0.01)


def test_masks_that_fit_no_photo_are_refused() -> None:
    data = png((INSIDE * 255).astype(np.uint8))
    with pytest.raises(BadEdit, match="object mask is 60x40 pixels, the photo 40x60"):
        read_mask(data, "object_mask", (60, 40))
    with pytest.raises(BadEdit, match="not a picture"):
        read_mask(b"x", "object_mask", (60, 40))
    with pytest.raises(EmptyMask, match="object mask is empty"):
        read_mask(png(np.zeros((40, 60), dtype=np.uint8)), "object_mask", (40, 60))
    assert not read_mask(png(np.zeros((40, 60), dtype=np.uint8)), "contact_back", (40, 60)).any()


def test_later_edits_replace_earlier_ones_of_the_same_thing() -> None:
    edits = [
        {"object_mask": "a", "touching": ["index", "palm"]},
        {"hand_mask": "b", "not_touching": ["index"]},
        {"object_mask": "c", "side": "left", "touching": ["thumb"]},
    ]
    assert merged(edits) == {
        "object_mask": "c",
        "hand_mask": "b",
        "side": "left",
        "touching": ["thumb", "palm"],
        "not_touching": ["index"],
    }
    assert merged([]) == {}


def test_a_fingerprint_is_of_the_content() -> None:
    assert fingerprint("a", {"x": 1, "y": 2}) == fingerprint("a", {"y": 2, "x": 1})
    assert fingerprint("a", {"x": 1}) != fingerprint("a", {"x": 2})


def test_rows_hold_plain_json() -> None:
    values = {"a": np.eye(2), "b": (np.float32(0.5), float("nan")), 3: np.int64(7), "c": None, "d": float("inf")}
    assert jsonable(values) == {"a": [[1, 0], [0, 1]], "b": [0.5, None], "3": 7, "c": None, "d": None}


def test_near_duplicates_are_chained() -> None:
    hashes = {"a": 0b0, "b": 0b11111, "c": 0b1111111111, "d": 0xFFFF_FFFF_FFFF_FFFF, "e": None}
    photos = [
        Photo(sha256=name, perceptual_hash=None if bits is None else f"{bits:016x}") for name, bits in hashes.items()
    ]
    assert clusters(photos, 6) == {"a": "a", "b": "a", "c": "a"}
    assert clusters(photos, 3) == {}
    assert clusters([], 6) == {}
