"""Every kind of file a person may hand in becomes an upright RGB picture, or one clear line."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from pipeline.errors import UnreadablePhoto
from pipeline.photo import hash_distance, original_size, perceptual_hash, read_photo

RED, GREEN = (200, 40, 30), (20, 180, 60)


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """Green, with a red block in the top left corner: any turn or flip shows."""
    image = Image.new("RGB", (width, height), GREEN)
    image.paste(RED, (0, 0, width // 3, height // 3))
    return image


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def assert_upright(pixels: np.ndarray, tolerance: int = 12) -> None:
    height, width = pixels.shape[:2]
    assert pixels.dtype == np.uint8
    assert np.abs(pixels[height // 8, width // 8].astype(int) - RED).max() <= tolerance
    for y, x in ((height // 8, -width // 8), (-height // 8, width // 8), (-height // 8, -width // 8)):
        assert np.abs(pixels[y, x].astype(int) - GREEN).max() <= tolerance


@pytest.mark.parametrize(
    ("kind", "mode", "tolerance"),
    [("JPEG", "RGB", 12), ("PNG", "RGB", 0), ("PNG", "RGBA", 0), ("PNG", "P", 0), ("JPEG", "CMYK", 12),
     ("TIFF", "CMYK", 2), ("WEBP", "RGB", 12), ("BMP", "RGB", 0), ("GIF", "P", 30), ("TIFF", "RGB", 0)],
)  # fmt: skip
def test_every_kind_of_colour(kind: str, mode: str, tolerance: int) -> None:
    picture = scene().quantize(16) if mode == "P" else scene().convert(mode)
    photo = read_photo(saved(picture, kind), "cup")
    assert photo.size == (64, 96)
    assert_upright(photo.image, tolerance)


def test_grey_of_8_16_and_1_bit() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (64, 1))
    for picture in (Image.fromarray((ramp >> 8).astype(np.uint8)), Image.fromarray(ramp)):
        pixels = read_photo(saved(picture), "grey").image
        assert pixels.shape == (64, 256, 3)
        assert np.abs(pixels[30, :, 1].astype(int) - np.arange(256)).max() <= 1
    assert set(np.unique(read_photo(saved(scene().convert("1")), "line").image)) <= {0, 255}


def test_float_tiff_is_0_to_1() -> None:
    picture = Image.fromarray(np.full((64, 64), 0.5, dtype=np.float32))
    assert np.all(read_photo(saved(picture, "TIFF"), "float").image == 128)


def test_16_bit_colour() -> None:
    import cv2

    colours = np.full((64, 64, 3), (257 * 30, 257 * 40, 257 * 200), dtype=np.uint16)
    data = cv2.imencode(".png", colours)[1].tobytes()
    assert np.all(read_photo(data, "deep").image == (200, 40, 30))


def test_transparency_shows_white() -> None:
    picture = scene().convert("RGBA")
    picture.putalpha(Image.new("L", picture.size, 0))
    assert np.all(read_photo(saved(picture), "ghost").image == 255)
    grey = Image.merge("LA", (Image.new("L", (64, 64), 0), Image.new("L", (64, 64), 51)))
    assert np.all(read_photo(saved(grey), "ghost").image == 204)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("width", [96, 3000])
def test_exif_orientation_is_applied(orientation: int, width: int) -> None:
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    upright = scene(width, width * 2 // 3)
    stored = upright.transpose(turn[orientation]) if orientation in turn else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = saved(stored, "JPEG", exif=exif)
    photo = read_photo(data, "turned", max_side=600)
    assert original_size(data, "turned") == (width * 2 // 3, width)
    assert photo.size == (min(width, 600) * 2 // 3, min(width, 600))
    assert_upright(photo.image)


def with_focal(size: tuple[int, int], **tags: Any) -> bytes:
    exif = Image.Exif()
    for name, value in tags.items():
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base[name]] = value
    return saved(Image.new("RGB", size), "JPEG", exif=exif)


def test_focal_from_the_35_mm_equivalent_is_scaled_with_the_picture() -> None:
    data = with_focal((1200, 800), FocalLengthIn35mmFilm=35)
    full = read_photo(data, "lens", max_side=1200).focal_px
    assert full == pytest.approx(1200 * 35 / 36, rel=1e-3)
    assert read_photo(data, "lens", max_side=600).focal_px == pytest.approx(full / 2)


def test_focal_from_the_sensor_resolution() -> None:
    """A 22.3 mm wide sensor of 1200 pixels behind a 50 mm lens; the file was halved since."""
    tags = {"FocalLength": 50.0, "FocalPlaneXResolution": 1200 / 2.23, "FocalPlaneResolutionUnit": 3}
    data = with_focal((600, 400), ExifImageWidth=1200, ExifImageHeight=800, **tags)
    assert read_photo(data, "lens").focal_px == pytest.approx(50 / 22.3 * 600, rel=1e-3)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"FocalLengthIn35mmFilm": 0},
        {"FocalLength": 50.0},
        {"FocalLengthIn35mmFilm": 60000},
        {"FocalLengthIn35mmFilm": 28, "ExifImageWidth": 4000, "ExifImageHeight": 4000},
    ],
    ids=["none", "zero", "no sensor size", "absurd", "cropped since"],
)
def test_no_credible_focal_is_none(tags: dict[str, Any]) -> None:
    assert read_photo(with_focal((1200, 800), **tags), "lens").focal_px is None


def test_broken_exif_does_not_cost_the_photo() -> None:
    data = saved(scene(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff nonsense")
    assert_upright(read_photo(data, "odd").image)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"not a picture at all, but a text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (saved(scene(960, 640), "JPEG")[:-2000], "truncated or damaged"),
        (saved(scene(960, 640), "PNG")[:-400], "truncated or damaged"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "(not an image|truncated or damaged)"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\x00" * 64, "HEIC|damaged|not an image"),
        (saved(Image.new("RGB", (20, 400))), "too small"),
    ],
    ids=["empty", "text", "postscript", "truncated jpeg", "truncated png", "jpeg header", "heic", "tiny"],
)
def test_what_cannot_be_read_says_so_in_one_line(data: bytes, words: str) -> None:
    with pytest.raises(UnreadablePhoto, match=words) as caught:
        read_photo(data, "mug — 杯 1.jpg")
    assert str(caught.value).startswith("mug — 杯 1.jpg: ")
    assert "\n" not in str(caught.value)


def test_heic_without_the_plugin_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadablePhoto, match="pip install pillow-heif"):
        read_photo(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "phone.heic")


def test_a_picture_above_the_limit_is_refused_unread() -> None:
    header = saved(Image.new("1", (64, 64)), "BMP")
    huge = header[:18] + (40000).to_bytes(4, "little") + (40000).to_bytes(4, "little") + header[26:]
    with pytest.raises(UnreadablePhoto, match="1600 megapixels, the limit is 300"):
        read_photo(huge, "bomb.bmp")
    assert Image.MAX_IMAGE_PIXELS is not None  # other users of Pillow keep their guard


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P")])
def test_a_panorama_is_scaled(kind: str, mode: str) -> None:
    picture = scene(12000, 1500)
    data = saved(picture.quantize(16) if mode == "P" else picture.convert(mode), kind)
    photo = read_photo(data, "panorama")
    assert photo.size == (160, 1280)
    assert_upright(photo.image)


@pytest.mark.slow
def test_a_12000_pixel_square_needs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    scene(12000, 12000).convert("RGBA").save(path, compress_level=1)
    code = (
        "import sys; from pathlib import Path; from pipeline.photo import read_photo\n"
        "read_photo(Path(sys.argv[1]).read_bytes(), 'large')\n"
        # not ru_maxrss: that one starts at what the parent held when it forked
        "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0]\n"
        "print(int(peak.split()[1]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1200  # MB; the decoded picture itself is 576


def test_the_same_bytes_give_the_same_photo() -> None:
    data = saved(scene(3000, 2000), "JPEG")
    a, b = read_photo(data, "a"), read_photo(data, "b")
    assert a.sha256 == b.sha256
    assert np.array_equal(a.image, b.image)


def test_small_pictures_are_not_enlarged() -> None:
    assert read_photo(saved(scene(100, 80)), "small").size == (80, 100)


def test_perceptual_hash_knows_copies_from_strangers() -> None:
    rng = np.random.default_rng(0)

    def blurred() -> Image.Image:
        noise = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        return Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC)

    photo, stranger = blurred(), blurred()
    own = perceptual_hash(np.asarray(photo))
    assert len(own) == 16
    small = perceptual_hash(read_photo(saved(photo.resize((320, 240)), "JPEG", quality=60), "copy").image)
    bright = perceptual_hash(np.clip(np.asarray(photo) * 1.1 + 5, 0, 255).astype(np.uint8))
    assert hash_distance(own, small) <= 4
    assert hash_distance(own, bright) <= 6
    assert hash_distance(own, perceptual_hash(np.asarray(stranger))) > 12
