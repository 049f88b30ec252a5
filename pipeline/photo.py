"""Bytes of an image file -> an upright 8-bit RGB photograph of working size.

    open (header only) -> decode, JPEGs already at a fraction -> RGB on white -> scale -> turn upright

Pillow only, and never more than the decoded picture in memory: a file larger than the working size is
converted and reduced in strips.
"""

from __future__ import annotations

import hashlib
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from pipeline.errors import UnreadablePhoto
from pipeline.types import U8, Photo

MAX_PIXELS = 300_000_000  # 0.9 GB of RGB; above it a file is refused
MIN_SIDE = 32  # pixels; nothing smaller shows a hand
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
SUFFIXES = frozenset(  # of the files that are taken from a folder
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    | {".ppm", ".pgm", ".jp2", ".avif", ".heic", ".heif"}
)

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_STRIP_ROWS = 1024
_FULL_FRAME_DIAGONAL_MM = 43.2666  # of 36 x 24 mm film, what FocalLengthIn35mmFilm refers to (CIPA DCG-001)
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # EXIF FocalPlaneResolutionUnit
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_photo(data: bytes, name: str, max_side: int = 1280) -> Photo:
    """Decodes an image file; its longer side becomes at most `max_side` pixels (smaller ones are kept).

    Any bit depth, CMYK, grey, palette and transparency (on white) become 8-bit RGB; the EXIF orientation is
    applied; the EXIF focal length, when there is a credible one, is given in pixels of the scaled image.
    Raises UnreadablePhoto.
    """
    with _opened(data, name) as image:
        width, height = image.size
        orientation = _orientation(image)
        focal = _focal(image, width, height)
        scale = min(1.0, max_side / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if scale < 0.5:
            image.draft(image.mode, (2 * size[0], 2 * size[1]))  # libjpeg decodes at 1/2, 1/4 or 1/8
        image.load()
        rgb = _reduced(image, 2 * max(size))
        if rgb.size != size:
            rgb = rgb.resize(size, Image.Resampling.LANCZOS)
        if orientation in _UPRIGHT:
            rgb = rgb.transpose(_UPRIGHT[orientation])
        pixels = np.array(rgb, dtype=np.uint8)
    return Photo(
        name=name,
        sha256=hashlib.sha256(data).hexdigest(),
        image=pixels,
        focal_px=None if focal is None else focal * max(size) / max(width, height),
    )


def original_size(data: bytes, name: str) -> tuple[int, int]:
    """(H, W) of the upright photo before scaling, from the header alone. Raises UnreadablePhoto."""
    with _opened(data, name) as image:
        width, height = image.size
        return (width, height) if _orientation(image) >= 5 else (height, width)


def perceptual_hash(image: U8) -> str:
    """64 bits in hex that change little when a photo is scaled, re-compressed or brightened.

    The signs of the 8x8 lowest frequencies of the 32x32 grey picture against their median (DCT hash).
    """
    grey = Image.fromarray(image).convert("L").resize((32, 32), Image.Resampling.BOX)
    n = np.arange(32)
    basis = np.cos(np.pi / 32 * (n[None] + 0.5) * n[:8, None])  # (8, 32), DCT-II
    low = basis @ np.asarray(grey, dtype=np.float64) @ basis.T
    bits = (low > np.median(low.ravel()[1:])).ravel()  # the median without the mean brightness
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"


def hash_distance(a: str, b: str) -> int:
    """In how many of the 64 bits two perceptual hashes differ; up to ~6 is the same picture."""
    return (int(a, 16) ^ int(b, 16)).bit_count()


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    """The opened image; whatever Pillow says about it becomes one clear line."""
    if not data:
        raise UnreadablePhoto(f"{name}: the file is empty")
    heif = data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS
    if heif:
        _load_heif_plugin(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large picture is no bomb to us; the limit is ours
            with _no_pixel_limit():
                image = Image.open(io.BytesIO(data), formats=_known_formats())
            with image:
                _check_size(image, name)
                yield image
    except UnidentifiedImageError as error:
        raise UnreadablePhoto(f"{name}: not an image that can be read (JPEG, PNG, WebP, TIFF, ...)") from error
    except MemoryError as error:
        raise UnreadablePhoto(f"{name}: too large for the memory of this machine; scale it down first") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadablePhoto(f"{name}: the image is truncated or damaged ({said}); copy it again") from error


def _known_formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@contextmanager
def _no_pixel_limit() -> Iterator[None]:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _load_heif_plugin(name: str) -> None:
    try:
        import pillow_heif  # type: ignore[import-not-found]
    except ImportError as error:
        raise UnreadablePhoto(
            f"{name}: HEIC pictures need a plugin: 'pip install pillow-heif', or convert the picture to JPEG"
        ) from error
    pillow_heif.register_heif_opener()


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        megapixels = f"{width * height / 1e6:.0f} megapixels"
        raise UnreadablePhoto(
            f"{name}: {width}x{height} is {megapixels}, the limit is {MAX_PIXELS / 1e6:.0f}; scale it down first"
        )
    if min(width, height) < MIN_SIDE:
        raise UnreadablePhoto(f"{name}: {width}x{height} pixels is too small to show a hand (at least {MIN_SIDE})")


def _reduced(image: Image.Image, longest: int) -> Image.Image:
    """RGB, averaged down by a whole factor so that the longer side stays just above `longest`."""
    factor = max(image.size) // longest
    if factor < 2:
        return _rgb(image)
    width, height = image.size
    out = Image.new("RGB", (math.ceil(width / factor), math.ceil(height / factor)))
    rows = max(1, _STRIP_ROWS // factor) * factor
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        out.paste(_rgb(strip).reduce(factor), (0, top // factor))
    return out


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode -> RGB; transparency shows white."""
    if image.mode == "RGB":
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bit(np.asarray(image))).convert("RGB")
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bit(values: np.ndarray[Any, Any]) -> U8:
    """Grey values of more than 8 bits: floats are 0..1, integers 16-bit."""
    full = 1.0 if values.dtype.kind == "f" else 65535.0
    scaled: U8 = np.clip(np.rint(values * (255.0 / full)), 0, 255).astype(np.uint8)
    return scaled


def _exif(image: Image.Image) -> dict[int, Any]:
    """The EXIF tags of the main and the camera directory; empty when there are none or they are broken."""
    try:
        exif = image.getexif()
        return {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except Exception:  # EXIF is a hint: a camera's broken block must not cost the photo
        return {}


def _orientation(image: Image.Image) -> int:
    found = _exif(image).get(ExifTags.Base.Orientation, 1)
    return found if found in _UPRIGHT else 1


def _number(value: Any) -> float:
    """A positive EXIF number, 0.0 when it is missing or nonsense."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _focal(image: Image.Image, width: int, height: int) -> float | None:
    """Focal length in pixels of the unscaled file, or None when EXIF gives no credible one."""
    exif = _exif(image)
    taken = (_number(exif.get(ExifTags.Base.ExifImageWidth)), _number(exif.get(ExifTags.Base.ExifImageHeight)))
    if all(taken) and abs(math.log((max(taken) / min(taken)) / (max(width, height) / min(width, height)))) > 0.02:
        return None  # cropped since it was taken: the field of view is no longer the lens's
    focal = _number(exif.get(ExifTags.Base.FocalLengthIn35mmFilm)) * math.hypot(width, height) / _FULL_FRAME_DIAGONAL_MM
    if not focal:
        unit = _MM_PER_UNIT.get(exif.get(ExifTags.Base.FocalPlaneResolutionUnit, 2), 0.0)
        per_mm = _number(exif.get(ExifTags.Base.FocalPlaneXResolution)) / unit if unit else 0.0
        focal = _number(exif.get(ExifTags.Base.FocalLength)) * per_mm * (width / taken[0] if taken[0] else 1.0)
    return focal if 0.3 < focal / max(width, height) < 20 else None
