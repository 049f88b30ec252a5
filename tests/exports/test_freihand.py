"""A FreiHAND export is what the public toolbox reads, and every way to break it is found.

The reader here follows lmb-freiburg/freihand: `load_db_annotation`, `read_img`, `read_msk` and `projectPoints` of
utils/fh_utils.py, `split_theta`, `recover_root` and `pose_by_root` of utils/model.py.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_mano import pickled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_mutations import ODD, changed, replaced
from synthetic_pairs import GROUND_RGB, HAND_RGB, make_record

from exports import manifest
from exports.base import ExportError, Record
from exports.freihand import format as freihand_format
from exports.freihand.format import FreiHandFormat
from exports.verify import verify
from pipeline.geometry.raster import depth_map
from pipeline.hand_model import load_hand
from pipeline.hand_model.mano_file import add_mano
from pipeline.types import HandPose

SETS = ("training", "validation", "evaluation")
SHAPES = {"K": (3, 3), "mano": (1, 61), "scale": (), "verts": (778, 3), "xyz": (21, 3)}
TRAIN = "train=1,val=0"


@pytest.fixture(scope="module")
def pairs() -> list[Record]:
    """Right hands: in the middle, near two borders, small, large."""
    places = [((0.06, -0.03, 0.5), 700), ((0.2, 0.12, 0.5), 700), ((-0.15, 0.0, 0.9), 500), ((0.0, 0.0, 0.35), 700)]
    return [make_record(i, centre=centre, focal=focal, pair_id=f"päir {i}") for i, (centre, focal) in enumerate(places)]


@pytest.fixture(scope="module")
def root(pairs: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("freihand") / "out"
    assert FreiHandFormat().write(pairs, out, split="train=0.5,val=0.25,test=0.25").count == len(pairs)
    return out


@pytest.fixture(scope="module")
def pristine(pairs: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("freihand") / "two"
    assert FreiHandFormat().write(pairs[:2], out, split=TRAIN).count == 2
    return out


@pytest.fixture
def export(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def check(export: Path) -> list[str]:
    return FreiHandFormat().check(export, manifest.read(export))


class Reader:
    """One sample as the toolbox gives it."""

    def __init__(self, root: Path, set_name: str, index: int) -> None:
        def entry(name: str) -> Any:
            return json.loads((root / f"{set_name}_{name}.json").read_bytes())[index]

        self.K, self.mano, self.xyz = (np.array(entry(name)) for name in ("K", "mano", "xyz"))
        self.scale, self.verts, self.own = entry("scale"), np.array(entry("verts")), entry("hoi_annotate")
        self.image, self.mask = (
            cv2.imread(str(root / set_name / kind / f"{index:08d}.jpg"), cv2.IMREAD_UNCHANGED)[..., ::-1]
            for kind in ("rgb", "mask")
        )

    def project(self, points: np.ndarray) -> np.ndarray:
        uv = points @ self.K.T
        return uv[:, :2] / uv[:, 2:]

    def posed(self, name: str = "open-hand") -> tuple[np.ndarray, np.ndarray]:
        """`pose_hand` with `use_mean_pose=True`."""
        poses, shapes, uv_root, scale = self.mano[0, :48], self.mano[0, 48:58], self.mano[0, 58:60], self.mano[0, 60]
        focal, centre = 0.5 * (self.K[0, 0] + self.K[1, 1]), self.K[:2, 2]
        xyz_root = np.array([*(uv_root - centre), focal]) / scale
        model = load_hand("right", name)
        verts, xyz = model.posed(HandPose("right", poses[:3], poses[3:] + model.mean_pose, shapes, np.zeros(3)))
        return verts + xyz_root - xyz[9], xyz + xyz_root - xyz[9]


def samples(root: Path) -> list[Reader]:
    found = []
    for set_name in SETS:
        lengths = {
            len(json.loads((root / f"{set_name}_{name}.json").read_bytes())) for name in (*SHAPES, "hoi_annotate")
        }
        assert len(lengths) == 1
        count = lengths.pop()
        for kind in ("rgb", "mask"):
            names = sorted(path.name for path in (root / set_name / kind).iterdir())
            assert names == [f"{number:08d}.jpg" for number in range(count)]
        found += [Reader(root, set_name, number) for number in range(count)]
    return found


def with_records(root: Path, pairs: list[Record]) -> list[tuple[Reader, Record]]:
    by_id = {record.pair_id: record for record in pairs}
    found = [(sample, by_id[sample.own["pair_id"]]) for sample in samples(root)]
    assert len(found) == len(pairs)
    return found


def test_nothing_is_wrong(root: Path, pristine: Path) -> None:
    assert verify(root) == verify(pristine) == []


def test_lists_have_the_public_shapes(root: Path, pairs: list[Record]) -> None:
    for sample, _ in with_records(root, pairs):
        assert (sample.K.shape, sample.mano.shape) == ((3, 3), (1, 61))
        assert (sample.xyz.shape, sample.verts.shape) == ((21, 3), (778, 3))
        assert type(sample.scale) is float
        assert sample.image.shape == sample.mask.shape == (224, 224, 3)


def test_lists_are_the_record(root: Path, pairs: list[Record]) -> None:
    for sample, record in with_records(root, pairs):
        np.testing.assert_allclose(sample.verts, record.reconstruction.hand_verts, atol=1e-6)
        np.testing.assert_allclose(sample.xyz, record.reconstruction.hand_joints, atol=1e-6)
        assert sample.scale == pytest.approx(np.linalg.norm(sample.xyz[10] - sample.xyz[9]), abs=2e-6)
        tips = sample.verts[sample.own["tip_ids"]]
        np.testing.assert_allclose(sample.xyz[[4, 8, 12, 16, 20]], tips, atol=2e-6)
        assert sample.own["photo"]["sha256"] == record.photo.sha256
        assert sample.own["provenance"]["licence"] == "CC0-1.0"


def test_the_61_numbers_pose_the_hand(root: Path, pairs: list[Record]) -> None:
    for sample, record in with_records(root, pairs):
        verts, xyz = sample.posed()
        np.testing.assert_allclose(verts, record.reconstruction.hand_verts, atol=2e-5)
        np.testing.assert_allclose(xyz, record.reconstruction.hand_joints, atol=2e-5)


def test_joints_project_into_the_crop_where_they_are_in_the_photo(root: Path, pairs: list[Record]) -> None:
    for sample, record in with_records(root, pairs):
        left, top, side = sample.own["crop"]
        made = record.reconstruction
        in_photo = made.hand_joints @ made.camera.K.T
        in_photo = in_photo[:, :2] / in_photo[:, 2:]
        expected = (in_photo - [left, top]) * 224 / side
        assert np.abs(sample.project(sample.xyz) - expected).max() < 0.01
        pixels = sample.project(sample.verts)
        assert pixels.min() >= 0
        assert pixels.max() <= 224
        assert np.ptp(pixels, axis=0).max() == pytest.approx(224 / 1.5, rel=0.02)


def test_mask_is_the_visible_hand_of_the_picture(root: Path, pairs: list[Record]) -> None:
    """The photo was drawn in flat colours: the hand is where the mask is, but for the outline's pixels."""
    faces = load_hand("right").faces
    for sample, record in with_records(root, pairs):
        seen = sample.mask[..., 0] > 127
        assert ((sample.mask < 16) | (sample.mask > 239)).all()
        palette = np.array([HAND_RGB, GROUND_RGB])
        distance = np.abs(sample.image[:, :, None].astype(int) - palette).sum(-1)
        inner = cv2.erode(seen.astype(np.uint8), np.ones((5, 5))) > 0
        outer = cv2.dilate(seen.astype(np.uint8), np.ones((5, 5))) > 0
        assert distance[inner][:, 0].max() < 100
        assert (distance[~outer][:, 0] > 100).all()
        drawn = np.isfinite(depth_map(sample.verts, faces, sample.K, 224, 224))
        assert (seen & ~cv2.dilate(drawn.astype(np.uint8), np.ones((3, 3))).astype(bool)).sum() < 20
        assert seen.sum() == pytest.approx(_visible_in_crop(sample, record), rel=0.03)


def _visible_in_crop(sample: Reader, record: Record) -> float:
    left, top, side = sample.own["crop"]
    rows, columns = np.nonzero(record.reconstruction.masks.hand)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return float(inside.sum() * (224 / side) ** 2)


def test_beyond_the_border_is_black(pairs: list[Record], tmp_path: Path) -> None:
    """A hand half outside: the square leaves the photo, the camera moves with it."""
    record = make_record(4, centre=(0.24, 0.0, 0.5), pair_id="aside")
    assert FreiHandFormat().write([record], tmp_path / "out", split=TRAIN).count == 1
    assert verify(tmp_path / "out") == []
    (sample,) = samples(tmp_path / "out")
    left, top, side = sample.own["crop"]
    assert left + side > 640
    rows = slice(int(max(0, -top) * 224 / side) + 3, int((min(480, top + side) - top) * 224 / side) - 3)
    border = (640 - left) * 224 / side
    assert sample.image[:, int(border) + 3 :].max() < 16
    assert sample.image[rows, : int(border) - 3].min() > 16
    assert sample.project(sample.verts)[:, 0].max() > border
    assert not sample.mask[:, int(border) + 3 :].max() > 16


def test_numbers_follow_the_ids_without_gaps(root: Path) -> None:
    content = manifest.read(root)
    for split, set_name in zip(("train", "val", "test"), SETS, strict=True):
        mine = [sample for sample in content["samples"] if sample["split"] == split]
        assert [sample["index"] for sample in mine] == list(range(len(mine)))
        own = json.loads((root / f"{set_name}_hoi_annotate.json").read_bytes())
        assert [entry["sample"] for entry in own] == [sample["id"] for sample in mine]
    assert not [path for path in content["files"] if "sample-" in path]


def test_left_hands_are_left_out_or_mirrored(records: list[Record], tmp_path: Path) -> None:
    summary = FreiHandFormat().write(records, tmp_path / "out", split=TRAIN)
    left = [record.pair_id for record in records if record.reconstruction.hand.side == "left"]
    assert [pair for pair, _ in summary.skipped] == left
    assert all("--mirror-left" in reason for _, reason in summary.skipped)
    assert verify(tmp_path / "out") == []
    summary = FreiHandFormat().write(records, tmp_path / "out", split=TRAIN, mirror_left=True)
    assert summary.skipped == []
    assert verify(tmp_path / "out") == []
    for sample, record in with_records(tmp_path / "out", records):
        sign = [-1, 1, 1] if record.reconstruction.hand.side == "left" else [1, 1, 1]
        np.testing.assert_allclose(sample.verts, record.reconstruction.hand_verts * sign, atol=1e-6)
        np.testing.assert_allclose(sample.posed()[0], sample.verts, atol=2e-5)


def test_hands_of_the_users_mano(pairs: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their parameters are true MANO parameters, and nothing of MANO is passed on."""
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickled("right"))
    add_mano(tmp_path / "MANO_RIGHT.pkl")
    made = pairs[0].reconstruction
    verts, joints = load_hand("right", "mano").posed(made.hand)
    mano = replace(made, estimate=replace(made.estimate, model="mano"), hand_verts=verts, hand_joints=joints)
    out = tmp_path / "out"
    assert FreiHandFormat().write([replace(pairs[0], reconstruction=mano)], out, split=TRAIN).skipped == []
    assert verify(out) == []
    (sample,) = samples(out)
    np.testing.assert_allclose(sample.posed(name="mano")[0], verts, atol=2e-5)
    assert sample.own["hand_model"] == "mano"
    assert not (out / "hand_models").exists()
    shutil.rmtree(tmp_path / "cache")
    assert any("training_mano.json: entry 0 was not checked" in line for line in verify(out))


def test_model_file_draws_the_hand(root: Path, pairs: list[Record]) -> None:
    content = json.loads((root / "hand_models/open-hand/right.json").read_bytes())
    model = load_hand("right")
    np.testing.assert_array_equal(content["faces"], model.faces)
    np.testing.assert_array_equal(content["mean_pose"], model.mean_pose)
    assert content["tip_ids"] == model.tip_ids.tolist()


def test_equal_records_give_equal_bytes(pairs: list[Record], root: Path, tmp_path: Path) -> None:
    FreiHandFormat().write(list(reversed(pairs)), tmp_path / "b", split="train=0.5,val=0.25,test=0.25")
    for path in manifest.files(root):
        assert (root / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def test_zero_records(tmp_path: Path) -> None:
    assert FreiHandFormat().write([], tmp_path / "out").count == 0
    assert verify(tmp_path / "out") == []
    assert samples(tmp_path / "out") == []


def test_records_that_do_not_fit_say_why(pairs: list[Record], tmp_path: Path) -> None:
    made = pairs[0].reconstruction

    def with_made(name: str, **values: Any) -> Record:
        return replace(pairs[0], pair_id=name, reconstruction=replace(made, **values))

    away = make_record(3, centre=(2.0, 0.0, 0.5), pair_id="away")
    bad = [
        with_made("hidden", masks=replace(made.masks, hand=np.zeros_like(made.masks.hand))),
        with_made("model", estimate=replace(made.estimate, model="someone's hand")),
        with_made("verts", hand_verts=made.hand_verts + 0.01),
        make_record(3, centre=(0.0, 0.0, 0.01), pair_id="behind"),
        replace(away, reconstruction=replace(away.reconstruction, masks=made.masks)),
        replace(pairs[0], pair_id="provenance", provenance={"when": object()}),
    ]
    summary = FreiHandFormat().write(bad, tmp_path / "out")
    reasons = dict(summary.skipped)
    assert summary.count == 0
    assert reasons["hidden"] == "nothing of the hand is visible"
    assert "someone's hand" in reasons["model"]
    assert "mm" in reasons["verts"]
    assert "behind the camera" in reasons["behind"]
    assert reasons["away"] == "the hand is outside of the photo"
    assert "JSON" in reasons["provenance"]


def test_more_than_readers_can_count(pairs: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freihand_format, "VERSION_OFFSET", 3)
    with pytest.raises(ExportError, match="4 training samples"):
        FreiHandFormat().write(pairs, tmp_path / "out", split=TRAIN)
    assert not (tmp_path / "out").exists()


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    number=st.integers(0, 10_000),
    centre=st.tuples(st.floats(-0.2, 0.2), st.floats(-0.15, 0.15), st.floats(0.3, 1.5)),
    focal=st.floats(400, 1200),
)
def test_any_record(number: int, centre: Any, focal: float, tmp_path: Path) -> None:
    record = make_record(number, centre=centre, focal=focal)
    summary = FreiHandFormat().write([record], tmp_path / "out", split=TRAIN)
    assert all(reason in REASONS for _, reason in summary.skipped)
    assert verify(tmp_path / "out") == []
    for sample in samples(tmp_path / "out"):
        verts, _ = sample.posed()
        assert np.abs(verts - record.reconstruction.hand_verts).max() < 5e-5


REASONS = ("nothing of the hand is visible", "the hand is outside of the photo")


# -- broken exports


def spoil(export: Path, name: str, content: Any) -> None:
    (export / f"training_{name}.json").write_text(json.dumps(content))


def load(export: Path, name: str) -> list[Any]:
    return list(json.loads((export / f"training_{name}.json").read_bytes()))


def other(name: str, value: Any) -> Any:
    """A wrong entry of the right shape: one of its numbers is another one."""
    array = np.array(value)
    array.flat[min(5, array.size - 1)] += {"K": 3.0, "mano": 0.3}.get(name, 0.02)
    return array.tolist()


@pytest.mark.parametrize("change", ["missing", "type", "shape", "value", "nan", "null"])
@pytest.mark.parametrize("name", SHAPES)
def test_each_list(name: str, change: str, export: Path) -> None:
    content = load(export, name)
    if change == "missing":
        content.pop()
    elif change == "shape":
        content[1] = [content[1]]
    elif change == "value":
        content[1] = other(name, content[1])
    else:
        content[1] = {"type": "text", "nan": float("nan"), "null": None}[change]
    spoil(export, name, content)
    found = check(export)
    if change == "value":
        named = {f"training_{one}.json" for one in ("mano", "K") if name in ("K", "mano")} or {f"training_{name}.json"}
        assert any(line.startswith(tuple(named | {"training_mano.json"})) and "entry 1" in line for line in found)
        assert any(f"training_{name}.json" in line or f"'{name}'" in line for line in found), found
    elif change == "missing":
        assert any(line.startswith(f"training_{name}.json: is not a list of 2 entries") for line in found)
    else:
        shape = SHAPES[name]
        assert f"training_{name}.json: entry 1 is not finite numbers of shape {shape}" in found


def test_each_part_of_the_61_numbers(export: Path) -> None:
    content = load(export, "mano")
    for index in (*range(0, 58, 5), 58, 59, 60):  # rotations, shape, place
        wrong = replaced(content, (0, 0, index), content[0][0][index] + 2.0)
        spoil(export, "mano", wrong)
        assert any(line.startswith("training_mano.json: entry 0 gives") for line in check(export)), index


@pytest.mark.parametrize("name", [*SHAPES, "hoi_annotate"])
def test_each_list_file(name: str, export: Path) -> None:
    for set_name in SETS:
        path = export / f"{set_name}_{name}.json"
        good = path.read_bytes()
        path.unlink()
        assert any(line.startswith(f"{path.name}: cannot be read") for line in check(export))
        for text in (b"", b"{}", b"null", b"\xff"):
            path.write_bytes(text)
            assert any(line.startswith(f"{path.name}: is not") for line in check(export))
        path.write_bytes(good)
    assert check(export) == []


@pytest.mark.parametrize("change", ["missing", "type", "value"])
def test_each_key_of_our_list(change: str, export: Path) -> None:
    content = load(export, "hoi_annotate")
    for key in content[0]:
        if change == "value" and key in ("crop", "provenance"):  # another one may be right, too
            continue
        spoil(export, "hoi_annotate", changed(content, (0, key), change))
        found = check(export)
        assert any(line.startswith("training_hoi_annotate.json: entry 0: ") and f"'{key}" in line for line in found), (
            key
        )


def test_check_never_fails(export: Path) -> None:
    for name in SHAPES:
        content = load(export, name)
        for value in ODD:
            spoil(export, name, [value, content[1]])
            assert any(line.startswith(f"training_{name}.json") for line in check(export)) or name == "scale"
        if name != "scale":
            for value in (1e300, -1e300, 0.0, 1e5):
                spoil(export, name, [np.full(SHAPES[name], value).tolist(), content[1]])
                assert check(export)
        spoil(export, name, content)
    content = load(export, "hoi_annotate")
    for value in ODD:
        spoil(export, "hoi_annotate", [value, content[1]])
        assert any(line.startswith("training_hoi_annotate.json: entry 0") for line in check(export))


def test_each_picture(export: Path) -> None:
    for kind in ("rgb", "mask"):
        name = f"training/{kind}/00000001.jpg"
        path, good = export / name, (export / name).read_bytes()
        cv2.imwrite(str(path), cv2.imread(str(path))[:100])
        assert check(export) == [f"{name}: has shape (100, 224, 3), not (224, 224, 3)"]
        path.write_bytes(b"no picture")
        assert check(export) == [f"{name}: cannot be read as an image"]
        path.unlink()
        assert check(export) == [f"{name}: cannot be read as an image"]
        path.write_bytes(good)
        (path.parent / "00000002.jpg").write_bytes(good)
        assert any(line.startswith(f"training/{kind}/00000002.jpg: is no sample") for line in check(export))
        (path.parent / "00000002.jpg").unlink()
    assert check(export) == []


def test_masks_that_show_something_else(export: Path) -> None:
    name = "training/mask/00000000.jpg"
    mask = cv2.imread(str(export / name))
    for wrong, finding in (
        (np.zeros_like(mask), "is empty"),
        (255 - mask, "outside of the hand"),
        (mask // 2, "is not black and white"),
    ):
        cv2.imwrite(str(export / name), wrong)
        found = check(export)
        assert len(found) == 1
        assert found[0].startswith(f"{name}: ")
        assert finding in found[0]


def test_model_file_and_folders(export: Path) -> None:
    path = export / "hand_models/open-hand/right.json"
    content = json.loads(path.read_bytes())
    name = "hand_models/open-hand/right.json"
    for key in ("faces", "mean_pose", "tip_ids"):
        for change in ("missing", "type", "value"):
            path.write_text(json.dumps(changed(content, (key,), change) if key != "faces" or change != "value" else {
                **content, "faces": content["faces"][::-1]
            }))  # fmt: skip
            assert any(line.startswith(f"{name}: ") for line in check(export))
    path.unlink()
    assert any(line.startswith(f"{name}: cannot be read") for line in check(export))
    shutil.rmtree(export / "evaluation/rgb")
    assert "evaluation/rgb: folder is missing" in check(export)
