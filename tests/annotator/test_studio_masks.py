"""Masks on their way to Label Studio and back: every bit survives, and nothing that was sent can hurt."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from annotator.studio.masks import MAX_PIXELS, PREFIX, from_data_url, from_rle, to_data_url, to_png
from pipeline.errors import BadEdit

WITHOUT_HASTE = settings(max_examples=60, deadline=None)
MASKS = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda size: arrays(np.bool_, size))


def as_url(picture: Image.Image) -> str:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return PREFIX + base64.b64encode(out.getvalue()).decode()


@WITHOUT_HASTE
@given(MASKS)
def test_a_data_url_gives_the_mask_back(mask):
    assert np.array_equal(from_data_url(to_data_url(mask), mask.shape), mask)


@WITHOUT_HASTE
@given(MASKS)
def test_a_browsers_png_gives_the_mask_back(mask):
    rgba = np.zeros((*mask.shape, 4), dtype=np.uint8)
    rgba[..., 3] = 255 * mask
    assert np.array_equal(from_data_url(as_url(Image.fromarray(rgba)), mask.shape), mask)


@WITHOUT_HASTE
@given(MASKS)
def test_what_a_review_keeps_is_the_mask(mask):
    with Image.open(io.BytesIO(to_png(mask))) as kept:
        assert np.array_equal(np.asarray(kept.convert("L")) == 255, mask)
    assert to_png(mask.copy()) == to_png(mask)


@WITHOUT_HASTE
@given(MASKS)
def test_run_lengths_of_the_sdk_give_the_mask_back(mask):
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    assert np.array_equal(from_rle(brush.mask2rle(mask.astype(np.uint8) * 255), mask.shape), mask)


def test_words_as_they_are_and_words_repeated():
    """By hand: 8 words of 8 bits; three as they are, then one five times; counts of 3 bits."""
    bits = f"{8:032b}" + f"{7:05b}" + f"{2:04b}" * 4
    bits += "0" + "00" + f"{2:03b}" + "".join(f"{word:08b}" for word in (1, 2, 3))
    bits += "1" + "01" + f"{4:03b}" + f"{255:08b}"
    bits += "0" * (-len(bits) % 8)
    data = [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]
    assert from_rle(data, (1, 2)).tolist() == [[True, True]]
    with pytest.raises(BadEdit, match="too early"):
        from_rle(data[:-1], (1, 2))
    with pytest.raises(BadEdit, match="not those of a picture of 3x1"):
        from_rle(data, (1, 3))


def png_of(width: int, height: int, rows: bytes) -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return PREFIX + base64.b64encode(data).decode()


BAD_URLS: list[tuple[Any, str]] = [
    (None, "not a PNG in a data URL"),
    (["data:image/png;base64,"], "not a PNG in a data URL"),
    ("data:image/svg+xml;base64,PHN2Zz4=", "not a PNG in a data URL"),
    ("http://127.0.0.1/mask.png", "not a PNG in a data URL"),
    (PREFIX, "can be read"),
    (PREFIX + "%%%", "can be read"),
    (PREFIX + base64.b64encode(b"GIF89a").decode(), "can be read"),
    (PREFIX + "A" * 100_000, "takes 100022 bytes"),
    (png_of(60_000, 60_000, b""), "can be read"),  # Pillow's own limit
    (png_of(5_000, 5_000, bytes(1_000_000)), "it is 5000x5000 pixels, the picture 30x20"),
    (png_of(30, 20, b"\0\0\0"), "can be read"),
    (as_url(Image.new("L", (30, 20), 255)), "no transparency"),
    (to_data_url(np.ones((30, 20), dtype=np.bool_)), "it is 20x30 pixels, the picture 30x20"),
]


@pytest.mark.parametrize(("text", "words"), BAD_URLS, ids=range(len(BAD_URLS)))
def test_what_is_no_mask_is_refused(text, words):
    with pytest.raises(BadEdit, match=words):
        from_data_url(text, (20, 30))


@pytest.mark.parametrize("value", [None, "abc", [256], [-1], [1.5], ["a"], [[1]], [], [0] * 7, [255] * 50, [0] * 10**6])
def test_what_are_no_run_lengths_is_refused(value):
    with pytest.raises(BadEdit):
        from_rle(value, (20, 30))


@pytest.mark.parametrize("size", [(0, 5), (-3, 5), (MAX_PIXELS, 2)])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(BadEdit, match="cannot have"):
        from_data_url(PREFIX, size)
    with pytest.raises(BadEdit, match="cannot have"):
        from_rle([], size)


@WITHOUT_HASTE
@given(st.binary(max_size=300))
def test_any_bytes_are_a_mask_or_refused(data):
    for read, value in ((from_rle, list(data)), (from_data_url, PREFIX + base64.b64encode(data).decode())):
        try:
            assert read(value, (3, 5)).shape == (3, 5)
        except BadEdit:
            continue


@WITHOUT_HASTE
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_png_is_a_mask_or_refused(place, byte):
    data = bytearray(base64.b64decode(to_data_url(np.eye(20, dtype=np.bool_))[len(PREFIX) :]))
    data[place % len(data)] = byte
    try:
        assert from_data_url(PREFIX + base64.b64encode(data).decode(), (20, 20)).shape == (20, 20)
    except BadEdit:
        return
