"""Every way to break an export is found, and the broken file named."""

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

from exports import manifest, numpy_pickle
from exports.base import Record, get_format
from exports.verify import verify


@pytest.fixture(scope="module")
def pristine(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verify") / "out"
    get_format("obman").write(records, out)
    return out


@pytest.fixture
def export(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def _meta(export: Path) -> Path:
    return sorted(export.glob("*/meta/*.pkl"))[0]


def _redigest(export: Path) -> None:
    """Make the manifest agree with the files again, so that only the content can give a change away."""
    content = json.loads((export / manifest.NAME).read_text())
    header = {key: value for key, value in content.items() if key not in ("files", "digest")}
    manifest.write(export, header, {path: manifest.file_digest(export / path) for path in manifest.files(export)})


def _name(export: Path, path: Path) -> str:
    return path.relative_to(export).as_posix()


def test_pristine(root: Path, pristine: Path) -> None:
    assert verify(root) == []
    assert verify(pristine) == []


REQUIRED = [
    "coords_2d", "coords_3d", "verts_3d", "side", "hand_pose", "pca_pose", "affine_transform", "obj_scale", "class_id",
    "sample_id", "depth_min", "depth_max", "hand_depth_min", "hand_depth_max", "obj_depth_min", "obj_depth_max",
    "hoi_annotate",
]  # fmt: skip


def _other(value: Any) -> Any:
    """A wrong value of the right kind."""
    if isinstance(value, str):
        return {"left": "right", "right": "left"}.get(value, "11111111")
    if isinstance(value, dict):
        return {**value, "hand": {**value["hand"], "transl": value["hand"]["transl"] + 0.01}}
    return value + type(value)(0.02) if isinstance(value, float) else (value + 0.02).astype(value.dtype)


@pytest.mark.parametrize("key", REQUIRED)
@pytest.mark.parametrize("change", ["missing", "wrong type", "wrong value"])
def test_each_required_key(key: str, change: str, export: Path) -> None:
    path = _meta(export)
    meta = pickle.loads(path.read_bytes())
    if change == "missing":
        del meta[key]
    elif change == "wrong type":
        meta[key] = [1, 2, 3]
    else:
        meta[key] = meta[key] + 3 if key == "coords_2d" else _other(meta[key])
    path.write_bytes(numpy_pickle.dumps(meta))
    assert f"{_name(export, path)}: does not match its digest" in verify(export)
    _redigest(export)
    found = verify(export)
    sample = path.stem
    assert found
    assert any(sample in line or "ShapeNetCore.v2" in line for line in found)
    if change != "wrong value" or key == "obj_scale":
        assert any(line.startswith(_name(export, path)) and f"'{key}'" in line for line in found)


@pytest.mark.parametrize("kind", ["rgb", "rgb_hand", "rgb_obj", "segm", "depth"])
def test_each_picture(kind: str, export: Path) -> None:
    path = sorted(export.glob(f"*/{kind}/*"))[0]
    good = path.read_bytes()
    path.write_bytes(b"no picture")
    _redigest(export)
    assert f"{_name(export, path)}: cannot be read as an image" in verify(export)
    picture = cv2.imdecode(np.frombuffer(good, np.uint8), cv2.IMREAD_COLOR)
    cv2.imwrite(str(path), picture[:200])
    _redigest(export)
    assert f"{_name(export, path)}: is 256x200, not 256x256" in verify(export)
    path.unlink()
    assert f"{_name(export, path)}: is missing" in verify(export)


def test_layers_that_show_something_else(export: Path) -> None:
    depth = sorted(export.glob("*/depth/*"))[0]
    picture = cv2.imread(str(depth))
    picture[..., 1] = np.where(picture[..., 1] > 0, picture[..., 1] // 2 + 1, 0)
    cv2.imwrite(str(depth), picture)
    segm = sorted(export.glob("*/segm/*"))[0]
    cv2.imwrite(str(segm), np.roll(cv2.imread(str(segm)), 3, axis=1))
    _redigest(export)
    found = verify(export)
    assert any(line.startswith(f"{_name(export, depth)}: channel G reaches 128") for line in found)
    assert any(line.startswith(f"{_name(export, segm)}: differs") for line in found)


def test_each_model_file(export: Path) -> None:
    models = sorted(export.glob("ShapeNetCore.v2/*/*/models"))[0]
    for path in sorted(models.iterdir()):
        good = path.read_bytes()
        path.unlink()
        assert f"{_name(export, path)}: is missing" in verify(export)
        path.write_bytes(b"\x80\x04garbage")
        _redigest(export)
        if path.suffix != ".mtl":
            assert any(line.startswith(_name(export, path)) for line in verify(export))
        path.write_bytes(good)
    _redigest(export)
    assert verify(export) == []


def _as_text(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda text: text.replace("usemtl", "o second\nusemtl"), "2 objects"),
        (lambda text: text.replace("f 1/1/1 ", "f 1//1 ", 1), "does not name v, vt and vn"),
        (lambda text: "\n".join(line for line in text.splitlines() if line[:2] != "f "), "no triangles, or none"),
    ],
)
def test_obj_that_readers_fail_on(change: Callable[[str], str], finding: str, export: Path) -> None:
    path = sorted(export.glob("ShapeNetCore.v2/*/*/models/model_normalized.obj"))[0]
    _as_text(path, change)
    _redigest(export)
    assert any(line.startswith(_name(export, path)) and finding in line for line in verify(export))


def test_stray_file_in_meta(export: Path) -> None:
    (export / "train" / "meta" / "notes.txt").write_text("hello")
    found = verify(export)
    assert "train/meta/notes.txt: is not in the manifest" in found
    assert any(line.startswith("train/meta/notes.txt: is no sample") for line in found)


def test_pickle_that_runs_code_is_not_run(export: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (victim,)

    path = _meta(export)
    path.write_bytes(pickle.dumps(Evil()))
    assert any(line.startswith(f"{_name(export, path)}: is not a pickle of plain") for line in verify(export))
    assert not victim.exists()


def test_pickle_for_numpy_2_only(export: Path) -> None:
    path = _meta(export)
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes())))
    assert f"{_name(export, path)}: names numpy._core, which numpy 1 does not have" in verify(export)


def test_leak_between_splits(export: Path) -> None:
    content = json.loads((export / manifest.NAME).read_text())
    first, second = content["samples"][:2]
    assert {sample["split"] for sample in content["samples"]} != {"train"}
    second["groups"] = [*second["groups"], "photo:shared"]
    first["groups"] = [*first["groups"], "photo:shared"]
    first["split"], second["split"] = "train", "test"
    content["digest"] = manifest.snapshot_digest(content)
    (export / manifest.NAME).write_text(json.dumps(content))
    assert "manifest.json: leak: photo:shared: is in test and train" in verify(export)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"tool": "hoi-annotate", "format": "obman", "files": {}, "samples": [1], "digest": ""}']
)
def test_broken_manifest_is_one_line(text: str, export: Path) -> None:
    (export / manifest.NAME).write_text(text)
    (line,) = verify(export)
    assert line.startswith(str(export / manifest.NAME))


def test_manifest_of_an_unknown_format_or_changed_by_hand(export: Path) -> None:
    _as_text(export / manifest.NAME, lambda text: text.replace('"revision": 2', '"revision": 9'))
    found = verify(export)
    assert "manifest.json: does not match its own digest" in found
    assert any("'hoi_annotate.revision' is not what the manifest says" in line for line in found)
    _as_text(export / manifest.NAME, lambda text: text.replace('"format": "obman"', '"format": "nope"'))
    assert any("unknown export format 'nope'" in line for line in verify(export))


def test_no_export(tmp_path: Path) -> None:
    (line,) = verify(tmp_path)
    assert "manifest.json" in line
