"""A whole workspace on one PNG: photo | masks | meshes | side view, two pairs a row, failed photos at the end.

The picture is written row by row, so memory stays flat however many pairs there are; its height, which a PNG
states first, is filled in last.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from annotator.report.pictures import (
    PAPER,
    around_pair,
    masks_picture,
    overlay_picture,
    photo_picture,
    side_picture,
    whole,
)
from annotator.report.view import PairView
from pipeline.types import U8

TILE = 224  # pixels
TILES = 4
CAPTION = 44
GAP = 12
COLUMNS = 2
INK = (38, 38, 36)
FAINT = (120, 118, 112)
ALARM = (176, 40, 40)
TILE_GAP = 3
FAILED_HEIGHT = 92
ALARM_PAPER = (250, 236, 234)
CELL_WIDTH = TILES * TILE + (TILES - 1) * TILE_GAP
WIDTH = COLUMNS * CELL_WIDTH + (COLUMNS + 1) * GAP


def write_contact_sheet(pairs: Iterable[PairView], out_png: Path, failed: list[tuple[str, str]]) -> None:
    """Write the sheet of `pairs`, in their order, and of `failed` photos, each (name, reason), to `out_png`.

    `pairs` is consumed one at a time. The file appears complete or not at all.
    """
    out_png.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=out_png.parent, prefix=f".{out_png.name}.")
    try:
        with os.fdopen(handle, "w+b") as file, StreamedPng(file, WIDTH) as png:
            png.write(_paper(GAP, WIDTH))
            for cells in (map(_pair_cell, pairs), map(_failed_cell, failed)):
                for band in _bands(cells):
                    png.write(band)
                    png.write(_paper(GAP, WIDTH))
        Path(partial).chmod(0o644)  # mkstemp's file is private
        Path(partial).replace(out_png)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


class StreamedPng:
    """An 8-bit RGB PNG of known width that grows downward; `file` must be seekable."""

    def __init__(self, file: BinaryIO, width: int) -> None:
        self._file, self._width, self._height = file, width, 0
        self._zip = zlib.compressobj(6)

    def __enter__(self) -> StreamedPng:
        self._file.write(b"\x89PNG\r\n\x1a\n")
        self._header()
        return self

    def write(self, rows: U8) -> None:
        """Append (n, width, 3) rows."""
        flat = rows.reshape(len(rows), -1)
        left = np.zeros_like(flat)
        left[:, 3:] = flat[:, :-3]
        filtered = np.empty((len(rows), 1 + flat.shape[1]), dtype=np.uint8)
        filtered[:, 0] = 1  # PNG's filter 'Sub': the difference to the pixel on the left
        filtered[:, 1:] = flat - left
        self._chunk(b"IDAT", self._zip.compress(filtered.tobytes()))
        self._height += len(rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._chunk(b"IDAT", self._zip.flush())
        self._chunk(b"IEND", b"")
        self._file.seek(8)
        self._header()

    def _header(self) -> None:
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", self._width, self._height, 8, 2, 0, 0, 0))

    def _chunk(self, kind: bytes, data: bytes) -> None:
        if data or kind == b"IEND":
            crc = zlib.crc32(kind + data)
            self._file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc))


def _bands(cells: Iterator[U8]) -> Iterator[U8]:
    """Rows of the sheet: COLUMNS cells side by side, the last row filled up with paper."""
    while row := [cell for _, cell in zip(range(COLUMNS), cells, strict=False)]:
        height = row[0].shape[0]
        row += [_paper(height, CELL_WIDTH)] * (COLUMNS - len(row))
        gap = _paper(height, GAP)
        yield np.concatenate([part for cell in row for part in (gap, cell)] + [gap], axis=1)


def _pair_cell(view: PairView) -> U8:
    window = around_pair(view)
    pictures = (
        photo_picture(view, whole(view), TILE),
        masks_picture(view, window, TILE),
        overlay_picture(view, window, TILE),
        side_picture(view, TILE),
    )
    metrics = view.reconstruction.metrics
    title = f"{view.photo_name}   {view.side} hand, {view.reconstruction.object.kind}"
    figures = (
        f"{view.pair_id}   r{view.revision} {view.verdict or view.status}   hand IoU {_figure(metrics, 'hand_iou')}   "
        f"object IoU {_figure(metrics, 'object_iou')}   confidence {view.confidence:.2f}"
    )
    gap = _paper(TILE, TILE_GAP)
    tiles = [part for picture in pictures for part in (gap, _centred(picture))][1:]
    return np.concatenate([np.concatenate(tiles, axis=1), _caption(title, figures)], axis=0)


def _failed_cell(failure: tuple[str, str]) -> U8:
    name, reason = failure
    card = Image.new("RGB", (CELL_WIDTH, FAILED_HEIGHT), ALARM_PAPER)
    draw = ImageDraw.Draw(card)
    draw.text((14, 10), _shortened(draw, name, 15), font=_font(name, 15), fill=ALARM)
    draw.multiline_text((14, 34), _wrapped(draw, reason, CELL_WIDTH - 28), font=_font(reason, 14), fill=INK)
    return np.asarray(card)


def _caption(title: str, line: str) -> U8:
    strip = Image.new("RGB", (CELL_WIDTH, CAPTION), PAPER)
    draw = ImageDraw.Draw(strip)
    for y, words, size, fill in ((3, title, 15, INK), (24, line, 13, FAINT)):
        draw.text((2, y), _shortened(draw, words, size), font=_font(words, size), fill=fill)
    return cast(U8, np.asarray(strip))


def _shortened(draw: ImageDraw.ImageDraw, words: str, size: int) -> str:
    font = _font(words, size)
    if draw.textlength(words, font=font) <= CELL_WIDTH - 4:
        return words
    while words and draw.textlength(words + "...", font=font) > CELL_WIDTH - 4:
        words = words[:-1]
    return words + "..."


def _wrapped(draw: ImageDraw.ImageDraw, words: str, width: int, most_lines: int = 3) -> str:
    """`words` broken into at most `most_lines` lines of `width` pixels."""
    lines, font = [""], _font(words, 14)
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font=font) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines[:most_lines])


def _font(words: str, size: int) -> Any:
    """Pillow's own font; a system font with more letters when `words` need them and there is one."""
    if not words.isascii():
        with contextlib.suppress(OSError):
            return ImageFont.truetype("DejaVuSans.ttf", size - 1)
    return ImageFont.load_default(size)


def _centred(picture: U8) -> U8:
    tile = _paper(TILE, TILE)
    height, width = picture.shape[:2]
    y, x = (TILE - height) // 2, (TILE - width) // 2
    tile[y : y + height, x : x + width] = picture
    return tile


def _paper(height: int, width: int) -> U8:
    return np.full((height, width, 3), PAPER, dtype=np.uint8)


def _figure(metrics: dict[str, float], name: str) -> str:
    value = metrics.get(name, math.nan)
    return f"{value:.2f}" if math.isfinite(value) else "-"
