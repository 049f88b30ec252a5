"""Every way to break an HO-3D export is found, and the broken file named."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from synthetic_pairs import make_record

from exports import manifest, numpy_pickle
from exports.ho3d.format import HO3DFormat

KEYS = [
    "camMat", "camIDList", "handPose", "handTrans", "handBeta", "handJoints3D", "objRot", "objTrans", "objCorners3D",
    "objCorners3DRest", "objName", "objLabel", "handVertContact", "handVertDist", "handVertIntersec",
    "handVertObjSurfProj", "hoi_annotate",
]  # fmt: skip


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ho3d") / "out"
    summary = HO3DFormat().write([make_record(i) for i in range(4)], out, split="train=0.5,evaluation=0.5")
    assert summary.count == 4
    return out


@pytest.fixture
def export(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def check(export: Path) -> list[str]:
    return HO3DFormat().check(export, manifest.read(export))


def first(export: Path, pattern: str) -> tuple[Path, str]:
    path = sorted(export.glob(pattern))[0]
    return path, path.relative_to(export).as_posix()


def other(value: Any) -> Any:
    """A wrong value of the right kind."""
    if isinstance(value, str):
        return "another_000000000000"
    if isinstance(value, list):
        return ["7"] if isinstance(value[0], str) else [v + 20.0 for v in value]
    if isinstance(value, dict):
        return {**value, "hand_verts": value["hand_verts"] + np.float32(0.01)}
    if isinstance(value, int):
        return value + 1
    return ~value if value.dtype == bool else (value + 0.05).astype(value.dtype)


def test_pristine(pristine: Path) -> None:
    assert check(pristine) == []


@pytest.mark.parametrize("change", ["missing", "type", "shape", "value", "nan"])
@pytest.mark.parametrize(("split", "key"), [*(("train", key) for key in KEYS), ("evaluation", "handBoundingBox")])
def test_each_key(split: str, key: str, change: str, export: Path) -> None:
    path, name = first(export, f"{split}/*/meta/*.pkl")
    meta = pickle.loads(path.read_bytes())
    value = meta[key]
    is_float = isinstance(value, np.ndarray) and value.dtype != bool
    if change == "missing":
        del meta[key]
    elif change == "type":
        meta[key] = 1.5
    elif change == "value":
        meta[key] = other(value)
    elif change == "shape" and isinstance(value, np.ndarray):
        meta[key] = value[..., :-1] if value.shape[-1] > 1 else value[:, 0]
    elif change == "nan" and is_float:
        meta[key] = np.full_like(value, np.nan)
    else:
        return
    path.write_bytes(numpy_pickle.dumps(meta))
    found = check(export)
    assert any(line.startswith(f"{name}: ") and f"'{key}" in line for line in found)


def test_dtype(export: Path) -> None:
    path, name = first(export, "train/*/meta/*.pkl")
    meta = pickle.loads(path.read_bytes())
    path.write_bytes(numpy_pickle.dumps({**meta, "camMat": meta["camMat"].astype(np.float32)}))
    assert f"{name}: 'camMat' is not a float64 array of shape (3, 3)" in check(export)


@pytest.mark.parametrize(("kind", "size"), [("rgb", "640x480"), ("depth", "640x480"), ("seg", "160x120")])
def test_each_picture(kind: str, size: str, export: Path) -> None:
    path, name = first(export, f"*/*/{kind}/*")
    picture = cv2.imread(str(path))
    cv2.imwrite(str(path), picture[:100])
    assert f"{name}: is {picture.shape[1]}x100, not {size}" in check(export)
    path.write_bytes(b"no picture")
    assert f"{name}: cannot be read as an image" in check(export)
    path.unlink()
    assert f"{name}: cannot be read as an image" in check(export)


@pytest.mark.parametrize("kind", ["depth", "seg"])
def test_layers_that_show_something_else(kind: str, export: Path) -> None:
    path, name = first(export, f"train/*/{kind}/*")
    picture = cv2.imread(str(path))
    cv2.imwrite(str(path), picture[..., ::-1])  # channels the other way round: low byte for high byte, hand for object
    assert any(line.startswith(f"{name}: differs") for line in check(export))


def test_each_model_file(export: Path) -> None:
    folder = sorted((export / "models").iterdir())[0]
    for path in sorted(folder.iterdir()):
        name, good = path.relative_to(export).as_posix(), path.read_bytes()
        path.unlink()
        assert f"{name}: is missing" in check(export)
        path.write_bytes(b"\x80\x04garbage")
        assert any(line.startswith(f"{name}: ") for line in check(export))
        path.write_bytes(good)
    assert check(export) == []


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("usemtl", "o a\no b\nusemtl x\nusemtl", "2 material groups"),
        ("f 1/1/1 ", "f 1//1 ", "does not name v, vt and vn"),
        ("f 1/1/1 ", "f 1/1/2 ", "v and vn differ"),
        ("f 1/1/1 ", "f 999/1/999 ", "not there"),
        ("f ", "g ", "no triangles"),
        ("v 0.", "v 1e999", "not finite"),
        ("v 0.", "v x", "cannot be read"),
        ("mtllib", "mtlib", "does not name"),
    ],
)
def test_obj_that_readers_fail_on(old: str, new: str, finding: str, export: Path) -> None:
    path = next(p for p in sorted(export.glob("models/*/textured_simple.obj")) if f"\n{old}" in "\n" + p.read_text())
    name = path.relative_to(export).as_posix()
    text = ("\n" + path.read_text()).replace(f"\n{old}", f"\n{new}", -1 if old == "f " else 1)[1:]
    path.write_text(text)
    assert any(line.startswith(f"{name}: ") and finding in line for line in check(export))


@pytest.mark.parametrize("name", ["train.txt", "evaluation.txt", "evaluation_xyz.json", "evaluation_verts.json"])
def test_each_list(name: str, export: Path) -> None:
    path = export / name
    good = path.read_text()
    for broken in (good + "x/0000\n", good[: len(good) // 2], good.replace("0.", "1.").replace("/0000", "/0001")):
        path.write_text(broken)
        assert any(line.startswith(f"{name}: ") for line in check(export))
    path.unlink()
    assert any(line.startswith(f"{name}: cannot be read") for line in check(export))


def test_stray_files_and_folders(export: Path) -> None:
    (export / "train" / "notes").mkdir()
    meta, _ = first(export, "evaluation/*/meta/*.pkl")
    stray = meta.with_name("0001.pkl")
    stray.write_bytes(meta.read_bytes())
    found = check(export)
    assert any(line.startswith("train/notes: ") for line in found)
    assert any(line.startswith(f"{stray.relative_to(export).as_posix()}: ") for line in found)
    shutil.rmtree(export / "train")
    assert "train: folder is missing" in check(export)


def test_pickle_that_runs_code_is_not_run(export: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (victim,)

    path, name = first(export, "train/*/meta/*.pkl")
    good = path.read_bytes()
    path.write_bytes(pickle.dumps(Evil()))
    assert any(line.startswith(f"{name}: is not a pickle of plain") for line in check(export))
    assert not victim.exists()
    path.write_bytes(pickle.dumps(pickle.loads(good)))
    assert f"{name}: names numpy._core, which numpy 1 does not have" in check(export)
    path.write_bytes(numpy_pickle.dumps([1, 2]))
    assert f"{name}: is not a dict" in check(export)


def test_manifest_that_says_something_else(export: Path) -> None:
    content = manifest.read(export)
    assert HO3DFormat().check(export, {**content, "options": None})[0].startswith("manifest.json: ")
    samples = [{**sample, "revision": 9, "model": "nothing"} for sample in content["samples"]]
    found = HO3DFormat().check(export, {**content, "samples": samples})
    assert any("'hoi_annotate.revision' is not what the manifest says" in line for line in found)
    assert "models/nothing/textured_simple.obj: is missing" in found
