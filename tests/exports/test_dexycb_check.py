"""Every way to break a DexYCB export is found, and the broken file named."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from synthetic_pairs import make_record

from exports import manifest
from exports.dexycb.format import DexYCBFormat

META = ["serials", "num_frames", "extrinsics", "ycb_ids", "ycb_grasp_ind", "mano_sides", "mano_calib"]
OWN_META = ["hand_model", "pca_basis", "models", "split"]
LABEL = ["seg", "pose_y", "pose_m", "joint_3d", "joint_2d", "hand_verts"]
LABELS, POSE = "*/*/*/labels_*.npz", "*/*/pose.npz"
COLOR, DEPTH = "*/*/*/color_*.jpg", "*/*/*/aligned_depth_to_color_*.png"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dexycb") / "out"
    records = [make_record(0, "left"), make_record(1, "right")]
    assert DexYCBFormat().write(records, out, split="train=0.5,test=0.5").count == 2
    return out


@pytest.fixture
def export(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def check(export: Path) -> list[str]:
    return DexYCBFormat().check(export, manifest.read(export))


def first(export: Path, pattern: str) -> tuple[Path, str]:
    path = sorted(export.glob(pattern))[0]
    return path, path.relative_to(export).as_posix()


def change_yaml(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def found_in(export: Path, name: str, key: str) -> bool:
    return any(line.startswith(f"{name}: ") and f"'{key}" in line for line in check(export))


def test_pristine(pristine: Path) -> None:
    assert check(pristine) == []


@pytest.mark.parametrize("change", ["missing", "type", "value"])
@pytest.mark.parametrize("key", [*META, *OWN_META])
def test_each_key_of_meta(key: str, change: str, export: Path) -> None:
    path, name = first(export, "*/*/meta.yml")

    def broken(content: dict[str, Any]) -> None:
        value = content.pop(key)
        if change == "type":
            content[key] = {"x": value}
        elif change == "value":
            new = {str: "another", int: 7}
            content[key] = [new[type(value[0])]] if isinstance(value, list) else new[type(value)]

    change_yaml(path, broken)
    assert found_in(export, name, key)


def test_serial_that_yaml_takes_for_a_number(export: Path) -> None:
    path, name = first(export, "*/*/meta.yml")
    text = path.read_text()
    serial = yaml.safe_load(text)["serials"][0]
    path.write_text(text.replace(f'["{serial}"]', "[123456789012]"))
    assert found_in(export, name, "serials")


@pytest.mark.parametrize("change", ["missing", "dtype", "shape", "value", "nan"])
@pytest.mark.parametrize(("pattern", "key"), [*((LABELS, key) for key in LABEL), (POSE, "pose_y"), (POSE, "pose_m")])
def test_each_array(pattern: str, key: str, change: str, export: Path) -> None:
    path, name = first(export, pattern)
    arrays = dict(np.load(path))
    value = arrays.pop(key)
    if change == "dtype":
        arrays[key] = value.astype(np.float64)
    elif change == "shape":
        arrays[key] = value[..., :-1]
    elif change == "value":
        arrays[key] = value + value.dtype.type(3 if key in ("seg", "joint_2d") else 0.05)
    elif change == "nan":
        if key == "seg":
            return  # has no such value
        arrays[key] = np.full_like(value, np.nan)
    np.savez_compressed(path, **arrays)
    if change == "value" and (pattern, key) in ((LABELS, "pose_y"), (LABELS, "pose_m")):
        assert any(line.startswith(f"{name}: ") or "/pose.npz: " in line for line in check(export))
    else:
        assert found_in(export, name, key)


def test_object_that_is_moved_in_both_files(export: Path) -> None:
    """The numbers agree with each other, but no longer with what the pictures show."""
    path, name = first(export, LABELS)
    label = dict(np.load(path))
    label["pose_y"][0, 0, 3] += 0.02
    np.savez_compressed(path, **label)
    poses = dict(np.load(path.parent.parent / "pose.npz"))
    poses["pose_y"][0, 0, 4] += 0.02
    np.savez_compressed(path.parent.parent / "pose.npz", **poses)
    found = check(export)
    assert any(line.startswith(f"{name}: 'seg' differs") for line in found)
    assert any("aligned_depth_to_color" in line and "differs" in line for line in found)


@pytest.mark.parametrize("change", ["shift", "swap"])
def test_segmentation_that_shows_something_else(change: str, export: Path) -> None:
    path, name = first(export, LABELS)
    arrays = dict(np.load(path))
    seg = arrays["seg"]
    number = next(int(value) for value in np.unique(seg) if value not in (0, 255))
    swapped = np.where(seg == 255, number, np.where(seg == number, 255, 0)).astype(np.uint8)
    np.savez_compressed(path, **{**arrays, "seg": np.roll(seg, 5, 1) if change == "shift" else swapped})
    assert any(line.startswith(f"{name}: 'seg' differs") for line in check(export))


@pytest.mark.parametrize(
    ("pattern", "change", "key"),
    [
        ("intrinsics/*.yml", lambda c: c.pop("color"), "color"),
        ("intrinsics/*.yml", lambda c: c.pop("depth"), "depth"),
        *(("intrinsics/*.yml", lambda c, k=k: c["color"].pop(k), f"color.{k}") for k in ("fx", "fy", "ppx", "ppy")),
        ("intrinsics/*.yml", lambda c: c["color"].update(fx="wide"), "color.fx"),
        ("intrinsics/*.yml", lambda c: [c[k].update(ppx=c[k]["ppx"] + 1) for k in c], "color"),
        ("extrinsics_*/*.yml", lambda c: c.pop("master"), "master"),
        ("extrinsics_*/*.yml", lambda c: c.update(master="1"), "master"),
        ("extrinsics_*/*.yml", lambda c: c.pop("extrinsics"), "extrinsics"),
        ("extrinsics_*/*.yml", lambda c: c["extrinsics"].pop("apriltag"), "extrinsics"),
        ("extrinsics_*/*.yml", lambda c: c["extrinsics"].update(apriltag=[0.0] * 12), "extrinsics.apriltag"),
        ("extrinsics_*/*.yml", lambda c: c["extrinsics"].pop(c["master"]), "extrinsics"),
        ("extrinsics_*/*.yml", lambda c: c["extrinsics"][c["master"]].pop(), "extrinsics."),
        ("extrinsics_*/*.yml", lambda c: c["extrinsics"][c["master"]].__setitem__(3, 0.1), "extrinsics."),
        ("mano_*/*.yml", lambda c: c.pop("betas"), "betas"),
        ("mano_*/*.yml", lambda c: c["betas"].pop(), "betas"),
        ("mano_*/*.yml", lambda c: c["betas"].__setitem__(0, 3.0), "betas"),
        ("mano_*/*.yml", lambda c: c["betas"].__setitem__(0, float("nan")), "betas"),
    ],
)
def test_each_key_of_calibration(pattern: str, change: Callable[[Any], Any], key: str, export: Path) -> None:
    path, name = first(export, f"calibration/{pattern}")
    change_yaml(path, change)
    assert found_in(export, name, key)


@pytest.mark.parametrize(
    "pattern",
    ["*/*/meta.yml", "*/*/hoi_annotate.json", "calibration/*/*.yml", LABELS, POSE, COLOR, DEPTH, "dataset.json"],
)
def test_each_file(pattern: str, export: Path) -> None:
    path, name = first(export, pattern)
    good = path.read_bytes()
    for broken in (b"", b"\x80\x04garbage: [", good[: len(good) // 3], b"[1]"):
        path.write_bytes(broken)
        if pattern in (COLOR, DEPTH) and broken and broken == good[: len(good) // 3]:
            continue  # what a reader makes of half a picture differs; digests find it
        assert any(line.startswith(f"{name}: ") for line in check(export)), broken[:20]
    path.unlink()
    assert any(line.startswith(f"{name}: ") for line in check(export))


def test_pictures(export: Path) -> None:
    color, color_name = first(export, COLOR)
    depth, depth_name = first(export, DEPTH)
    good = cv2.imread(str(depth), cv2.IMREAD_ANYDEPTH)
    cv2.imwrite(str(color), cv2.imread(str(color))[:100])
    cv2.imwrite(str(depth), (good // 256).astype(np.uint8))
    found = check(export)
    assert f"{color_name}: is 640x100, not 640x480" in found
    assert f"{depth_name}: has uint8 pixels, not uint16" in found
    cv2.imwrite(str(depth), good + np.where(good > 0, 5, 0).astype(np.uint16))
    assert any(line.startswith(f"{depth_name}: differs") for line in check(export))


@pytest.mark.parametrize("key", ["pair_id", "revision", "groups", "side", "hand_model", "K", "window"])
def test_each_key_of_our_own(key: str, export: Path) -> None:
    path, name = first(export, "*/*/hoi_annotate.json")
    content = json.loads(path.read_text())
    for broken in ({**content, key: "x"}, {k: v for k, v in content.items() if k != key}):
        path.write_text(json.dumps(broken))
        assert found_in(export, name, key)


def test_lists_and_models(export: Path) -> None:
    path = export / "dataset.json"
    content = json.loads(path.read_text())
    for key in ("subjects", "serials", "ycb_classes", "splits"):
        path.write_text(json.dumps({**content, key: []}))
        assert f"dataset.json: '{key}' is not what the manifest's samples give" in check(export)
        path.write_text(json.dumps({k: v for k, v in content.items() if k != key}))
        assert f"dataset.json: '{key}' is missing" in check(export)
    for model in sorted((export / "models").glob("*/*")):
        name, good = model.relative_to(export).as_posix(), model.read_bytes()
        model.unlink()
        assert f"{name}: is missing" in check(export)
        model.write_bytes(good)


def test_stray_sequence(export: Path) -> None:
    path, _ = first(export, "*/*/meta.yml")
    stray = path.parent.with_name("notes")
    stray.mkdir()
    line = f"{stray.relative_to(export).as_posix()}: is no sequence of the manifest; readers take it for one"
    assert line in check(export)


def test_pickle_in_an_npz_is_not_run(export: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (victim,)

    path, name = first(export, LABELS)
    np.savez(path, **{**np.load(path), "evil": np.array([Evil()], dtype=object)})
    assert any(line.startswith(f"{name}: cannot be read") for line in check(export))
    path.write_bytes(pickle.dumps(Evil()))
    assert any(line.startswith(f"{name}: cannot be read") for line in check(export))
    assert not victim.exists()


@pytest.mark.parametrize("key", ["sequence", "serial", "model", "side", "hand_model"])
def test_manifest_that_says_something_else(key: str, export: Path) -> None:
    content = manifest.read(export)
    for value in (None, "nothing"):
        samples = [{**sample, key: value} for sample in content["samples"]]
        assert DexYCBFormat().check(export, {**content, "samples": samples})
