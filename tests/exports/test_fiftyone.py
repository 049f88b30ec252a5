"""A FiftyOne export says what FiftyOne's importer needs, and every way to break it is found.

FiftyOne itself is not here (it brings a database server): these are the rules of its `FiftyOneDatasetImporter`, which
read such exports once by hand. Detections' masks fill their boxes; a point is a share of the photo, from its top left.
"""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
from fake_mano import pickled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_mutations import ODD, changed, key_paths, replaced
from synthetic_pairs import make_record

from exports import glb, manifest
from exports.base import Record
from exports.fiftyone.format import FiftyOneFormat
from exports.verify import verify
from pipeline.hand_model import load_hand
from pipeline.hand_model.mano_file import add_mano

Document = dict[str, Any]


@pytest.fixture(scope="module")
def pairs(records: list[Record]) -> list[Record]:
    """Both sides, a hand half outside of its photo, two pairs on one photo."""
    aside = make_record(4, centre=(0.22, 0.0, 0.5), pair_id="aside", provenance={"subject": 3, "a.b": {"$oid": 2**70}})
    twin = replace(make_record(5, pair_id="päir 双"), photo=records[0].photo)
    return [*records, aside, twin]


@pytest.fixture(scope="module")
def root(pairs: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fiftyone") / "out"
    assert FiftyOneFormat().write(pairs, out, split="train=0.5,night=0.5", seed=1).count == len(pairs)
    return out


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fiftyone") / "one"
    assert FiftyOneFormat().write([make_record(4, centre=(0.22, 0.0, 0.5), pair_id="aside")], out).count == 1
    return out


@pytest.fixture
def export(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def check(export: Path) -> list[str]:
    return FiftyOneFormat().check(export, manifest.read(export))


def documents(root: Path) -> list[Document]:
    return list(json.loads((root / "samples.json").read_bytes())["samples"])


def grouped(root: Path, pairs: list[Record]) -> list[tuple[Document, Document, Record]]:
    """Photo, scene and record, tied as FiftyOne ties them: by the group's id."""
    by_id = {record.pair_id: record for record in pairs}
    groups: dict[str, Document] = {}
    for document in documents(root):
        groups.setdefault(document["group"]["_id"]["$oid"], {})[document["group"]["name"]] = document
    found = [(g["photo"], g["scene"], by_id[g["photo"]["pair_id"]]) for g in groups.values()]
    assert len(found) == len(pairs)
    return found


def whole_mask(root: Path, detection: Document, height: int, width: int) -> np.ndarray:
    """`Detection.to_segmentation`: the mask goes where the box is."""
    x, y, w, h = detection["bounding_box"]
    mask = cv2.imread(str(root / detection["mask_path"]), cv2.IMREAD_UNCHANGED)
    assert mask.ndim == 2
    assert mask.shape == (round(h * height), round(w * width))
    whole = np.zeros((height, width), bool)
    top, left = round(y * height), round(x * width)
    whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask > 0
    return whole


def test_nothing_is_wrong(root: Path, pristine: Path) -> None:
    assert verify(root) == verify(pristine) == []


def test_metadata_says_what_the_samples_have(root: Path) -> None:
    content = json.loads((root / "metadata.json").read_bytes())
    assert content["media_type"] == "group"
    assert content["group_field"] == "group"
    assert content["default_group_slice"] == "photo"
    assert content["group_media_types"] == {"photo": "image", "scene": "3d"}
    fields = {field["name"]: field for field in content["sample_fields"]}
    in_database = {field["db_field"] for field in fields.values()}
    for document in documents(root):
        assert set(document) <= in_database | {"_media_type", "_rand"}
        metrics = {field["name"] for field in fields["metrics"]["fields"]}
        assert set(document["metrics"]) - {"_cls"} <= metrics
    assert content["mask_targets"] == {"segmentation": {"1": "hand", "2": "object"}}
    skeleton = content["skeletons"]["keypoints"]
    names = skeleton["labels"]
    assert len(names) == 21
    for a, b in skeleton["edges"]:
        assert names[a] == "wrist" or names[a].split("_")[0] == names[b].split("_")[0]


def test_ids_are_mongos_and_never_twice(root: Path, pairs: list[Record]) -> None:
    ids = [found for document in documents(root) for found in _ids(document) if found[0] != "group"]
    assert len(ids) == len(pairs) * (2 + 5)  # samples; 3 detections, keypoints, segmentation
    assert len({number for _, number in ids}) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{24}", number) for _, number in ids)
    assert all(0 <= document["_rand"] < 1 for document in documents(root))


def _ids(value: Any, within: str = "") -> list[tuple[str, str]]:
    if isinstance(value, list):
        return [found for item in value for found in _ids(item, within)]
    if not isinstance(value, dict):
        return []
    own = [(within, value["_id"]["$oid"])] if "_id" in value else []
    return own + [found for key, item in value.items() if key not in ("_id", "provenance") for found in _ids(item, key)]


def test_masks_are_bit_exact(root: Path, pairs: list[Record]) -> None:
    for photo, _, record in grouped(root, pairs):
        masks = record.reconstruction.masks
        seen = {item["label"]: whole_mask(root, item, 480, 640) for item in photo["instances"]["detections"]}
        np.testing.assert_array_equal(seen["hand"], masks.hand)
        np.testing.assert_array_equal(seen["object"], masks.object)
        (amodal,) = photo["amodal"]["detections"]
        np.testing.assert_array_equal(whole_mask(root, amodal, 480, 640), record.reconstruction.completion.amodal_mask)
        pixels = cv2.imread(str(root / photo["segmentation"]["mask_path"]), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(pixels == 1, masks.hand)
        np.testing.assert_array_equal(pixels == 2, masks.object & ~masks.hand)


def test_photos_and_their_metadata(root: Path, pairs: list[Record]) -> None:
    paths: dict[str, str] = {}
    for photo, _, record in grouped(root, pairs):
        path = root / photo["filepath"]
        picture = cv2.imread(str(path))[..., ::-1]
        assert np.abs(picture.astype(int) - record.photo.image).mean() < 2
        meta = photo["metadata"]
        assert (meta["height"], meta["width"], meta["num_channels"]) == picture.shape
        assert meta["size_bytes"] == path.stat().st_size
        assert paths.setdefault(record.photo.sha256, photo["filepath"]) == photo["filepath"]
    assert len(set(paths.values())) == len(pairs) - 1  # two pairs share one


def test_keypoints_are_shares_of_the_photo(root: Path, pairs: list[Record]) -> None:
    outside = 0
    for photo, _, record in grouped(root, pairs):
        made = record.reconstruction
        pixels = made.hand_joints @ made.camera.K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        inside = ((pixels >= 0) & (pixels < [640, 480])).all(1)
        (keypoint,) = photo["keypoints"]["keypoints"]
        points = [[float(v["$numberDouble"]) if isinstance(v, dict) else v for v in xy] for xy in keypoint["points"]]
        np.testing.assert_array_equal(np.isfinite(points).all(1), inside)
        np.testing.assert_array_equal(np.array(keypoint["visible"]) > 0, inside)
        assert np.abs(np.array(points)[inside] * [640, 480] - pixels[inside]).max() < 0.01
        outside += int((~inside).sum())
    assert outside > 3  # the pair at the border


def test_scene_shows_the_pair_as_the_photo_does(root: Path, pairs: list[Record]) -> None:
    """The GLB as trimesh reads it, seen by the camera of the `.fo3d` as three.js has it."""
    for photo, shown, record in grouped(root, pairs):
        made = record.reconstruction
        scene = json.loads((root / shown["filepath"]).read_bytes())
        (pair,) = scene["children"]
        assert pair["_type"] == "GltfMesh"
        path = (root / shown["filepath"]).with_name(pair["gltfPath"])
        geometry = trimesh.load(path, process=False).geometry
        placed = made.object_pose.place(made.object.mesh.vertices)
        for name, expected, faces in (
            ("hand", made.hand_verts, load_hand(photo["side"]).faces),
            ("object", placed, made.object.mesh.faces),
        ):
            np.testing.assert_allclose(geometry[name].vertices * [1, -1, -1], expected, atol=1e-6)
            np.testing.assert_array_equal(geometry[name].faces, faces)
        texture = np.asarray(geometry["object"].visual.material.baseColorTexture)[..., :3]
        assert texture.shape == made.object.mesh.texture.shape
        uv = geometry["object"].visual.uv * [1, -1] + [0, 1]  # trimesh counts v from below
        np.testing.assert_allclose(uv, made.object.mesh.uv, atol=1e-6)

        camera = scene["camera"]
        assert (camera["position"], camera["lookAt"], camera["up"]) == ([0, 0, 0], [0, 0, -1], "Y")
        up = math.tan(math.radians(camera["fov"]) / 2)  # three.js: the height's field of view
        x, y, z = geometry["hand"].vertices.T
        screen = np.stack([x / -z / (up * camera["aspect"]), y / -z / up], 1)  # -1..1, y up
        pixels = (screen * [1, -1] + 1) / 2 * [640, 480]
        expected = made.hand_verts @ made.camera.K.T
        np.testing.assert_allclose(pixels, expected[:, :2] / expected[:, 2:], atol=0.05)


def test_both_slices_say_the_same_of_the_pair(root: Path, pairs: list[Record]) -> None:
    splits = set()
    for photo, shown, record in grouped(root, pairs):
        for document in (photo, shown):
            assert document["side"] == record.reconstruction.hand.side
            assert document["metrics"] == {"_cls": "DynamicEmbeddedDocument", "hand_iou": 0.9}
            assert (document["licence"], document["verdict"], document["revision"]) == ("CC0-1.0", "accept", 2)
            np.testing.assert_allclose(document["K"], record.reconstruction.camera.K, atol=1e-6)
            np.testing.assert_allclose(document["joints_3d"], record.reconstruction.hand_joints, atol=1e-6)
        assert photo["tags"] == shown["tags"]
        splits.add(*photo["tags"])
        assert (photo["_media_type"], shown["_media_type"]) == ("image", "3d")
    assert splits == {"train", "night"}


def test_provenance_that_mongodb_would_not_take(root: Path, pairs: list[Record], tmp_path: Path) -> None:
    (photo,) = (photo for photo, _, record in grouped(root, pairs) if record.pair_id == "aside")
    assert photo["provenance"]["a_b"] == {"_oid": str(2**70)}
    assert photo["subject"] == "3"
    odd = {"source": "手 \udcff.jpg", "nul\0": [{"$x": "\ud800"}], "object_id": "Täßchen 碗"}
    out = tmp_path / "выгрузка"
    assert FiftyOneFormat().write([make_record(1, pair_id="пара/7", provenance=odd)], out).skipped == []
    assert verify(out) == []
    for document in documents(out):
        assert document["source"] == document["provenance"]["source"] == "手 ?.jpg"
        assert document["provenance"]["nul_"] == [{"_x": "?"}]
        assert (document["pair_id"], document["object_id"]) == ("пара/7", "Täßchen 碗")


def test_equal_records_give_equal_bytes(pairs: list[Record], root: Path, tmp_path: Path) -> None:
    FiftyOneFormat().write(list(reversed(pairs)), tmp_path / "b", split="train=0.5,night=0.5", seed=1)
    for path in manifest.files(root):
        assert (root / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def test_ids_stay_when_data_is_added(pairs: list[Record], root: Path, tmp_path: Path) -> None:
    FiftyOneFormat().write(pairs[:2], tmp_path / "few")
    few = {(d["pair_id"], d["_id"]["$oid"], d["_rand"]) for d in documents(tmp_path / "few")}
    many = {(d["pair_id"], d["_id"]["$oid"], d["_rand"]) for d in documents(root)}
    assert len(few) == 4
    assert few <= many


def test_zero_records(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert FiftyOneFormat().write([], out).count == 0
    assert verify(out) == []
    assert documents(out) == []
    assert (out / "data").is_dir()


def test_records_that_do_not_fit_say_why(records: list[Record], tmp_path: Path) -> None:
    made = records[0].reconstruction
    nothing = np.zeros_like(made.masks.hand)

    def with_made(name: str, **values: Any) -> Record:
        return replace(records[0], pair_id=name, reconstruction=replace(made, **values))

    bad = [
        with_made("hand", masks=replace(made.masks, hand=nothing)),
        with_made("object", masks=replace(made.masks, object=nothing)),
        with_made("amodal", completion=replace(made.completion, amodal_mask=nothing)),
        with_made("model", estimate=replace(made.estimate, model="someone's hand")),
        replace(records[0], pair_id="provenance", provenance={"when": object()}),
    ]
    summary = FiftyOneFormat().write(bad, tmp_path / "out")
    reasons = dict(summary.skipped)
    assert summary.count == 0
    assert reasons["hand"] == "the mask of the hand is empty"
    assert reasons["object"] == reasons["amodal"] == "the mask of the object is empty"
    assert "someone's hand" in reasons["model"]
    assert "JSON" in reasons["provenance"]
    assert verify(tmp_path / "out") == []


def test_left_hands_can_be_mirrored(records: list[Record], tmp_path: Path) -> None:
    assert FiftyOneFormat().write(records, tmp_path / "out", mirror_left=True).skipped == []
    assert verify(tmp_path / "out") == []
    for photo, _, record in grouped(tmp_path / "out", records):
        assert photo["side"] == "right"
        hand = photo["instances"]["detections"][0]
        mask = record.reconstruction.masks.hand
        expected = mask[:, ::-1] if record.reconstruction.hand.side == "left" else mask
        np.testing.assert_array_equal(whole_mask(tmp_path / "out", hand, 480, 640), expected)


def test_hands_of_the_users_mano(records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickled("right"))
    add_mano(tmp_path / "MANO_RIGHT.pkl")
    made = records[0].reconstruction
    verts, joints = load_hand("right", "mano").posed(made.hand)
    mano = replace(made, estimate=replace(made.estimate, model="mano"), hand_verts=verts, hand_joints=joints)
    out = tmp_path / "out"
    assert FiftyOneFormat().write([replace(records[0], reconstruction=mano)], out).skipped == []
    assert verify(out) == []
    (model,) = out.glob("data/*.glb")
    np.testing.assert_array_equal(
        trimesh.load(model, process=False).geometry["hand"].faces, load_hand("right", "mano").faces
    )
    shutil.rmtree(tmp_path / "cache")
    assert any("its hand was not checked" in line for line in verify(out))


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    number=st.integers(0, 10_000),
    side=st.sampled_from(["right", "left"]),
    centre=st.tuples(st.floats(-0.2, 0.2), st.floats(-0.15, 0.15), st.floats(0.3, 1.5)),
    focal=st.floats(400, 1200),
)
def test_any_record(number: int, side: Any, centre: Any, focal: float, tmp_path: Path) -> None:
    record = make_record(number, side, centre=centre, focal=focal)
    masks = record.reconstruction.masks
    summary = FiftyOneFormat().write([record], tmp_path / "out")
    assert summary.count == (masks.hand.any() and masks.object.any())
    assert verify(tmp_path / "out") == []


# -- broken exports


def spoil(export: Path, document: Document, index: int) -> None:
    content = documents(export)
    content[index] = document
    (export / "samples.json").write_text(json.dumps({"samples": content}))


@pytest.mark.parametrize("change", ["missing", "type", "value"])
@pytest.mark.parametrize("index", [0, 1])
def test_each_key(index: int, change: str, export: Path) -> None:
    """Of a photo (0) and of a scene (1); what the two say alike gives one of them away."""
    document = documents(export)[index]
    assert document["_media_type"] == ("image", "3d")[index]
    tried = set()
    for path in key_paths(document):
        spoil(export, changed(document, path, change), index)
        found = check(export)
        assert any(line.startswith(("samples.json", "data/", "fields/")) for line in found), path
        tried.add(".".join(str(key) for key in path))
    needed = {"_id", "filepath", "tags", "_media_type", "group.name", "group._id.$oid", "K", "joints_3d", "pair_id"}
    if index == 0:
        needed |= {"metadata.width", "instances._cls", "instances.detections.0.mask_path", "segmentation.mask_path"}
        needed |= {"instances.detections.0.bounding_box", "amodal.detections.0.label", "keypoints.keypoints.0.points"}
        needed |= {"keypoints.keypoints.0.visible"}
    assert needed <= tried


@pytest.mark.parametrize("change", ["missing", "type", "value"])
@pytest.mark.parametrize("name", ["metadata.json", "scene"])
def test_each_key_of_metadata_and_scene(name: str, change: str, export: Path) -> None:
    path = export / "metadata.json" if name == "metadata.json" else sorted(export.glob("data/*.fo3d"))[0]
    good = json.loads(path.read_bytes())
    for where in key_paths(good):
        path.write_text(json.dumps(changed(good, where, change)))
        assert any(line.startswith(f"{path.relative_to(export).as_posix()}: ") for line in check(export)), where
    path.write_text(json.dumps({**good, "more": 1}))
    assert check(export) == [f"{path.relative_to(export).as_posix()}: 'more' does not belong there"]


def test_check_never_fails(export: Path) -> None:
    good = documents(export)
    for index in (0, 1):
        for number, path in enumerate(key_paths(good[index])):
            value = ODD[number % len(ODD)]
            if replaced(good[index], path, value) != good[index]:
                spoil(export, replaced(good[index], path, value), index)
                assert check(export), (path, value)
        spoil(export, good[index], index)
    for name in ("samples.json", "metadata.json"):
        text = (export / name).read_bytes()
        for wrong in (b"", b"[]", b"null", b"{", b'{"samples": 3}', b'{"samples": [3]}', b"\xff"):
            (export / name).write_bytes(wrong)
            assert any(line.startswith(f"{name}: ") for line in check(export))
        (export / name).unlink()
        assert any(line.startswith(f"{name}: cannot be read") for line in check(export))
        (export / name).write_bytes(text)
    assert check(export) == []


def test_keypoints_that_are_elsewhere(export: Path) -> None:
    for index, document in enumerate(documents(export)):
        if document["_media_type"] != "image":
            continue
        (keypoint,) = document["keypoints"]["keypoints"]
        assert 0 in keypoint["visible"]
        for number in range(0, 21, 2):
            point, seen = keypoint["points"][number], keypoint["visible"][number]
            wrong = copy.deepcopy(document)
            change = wrong["keypoints"]["keypoints"][0]
            if seen:
                change["points"][number] = [point[0] + 0.01, point[1]]
            else:
                change["points"][number], change["visible"][number] = [0.5, 0.5], 1
            spoil(export, wrong, index)
            assert any("'keypoints' are not where 'joints_3d' project to" in line for line in check(export))
            if seen:
                nan = {"$numberDouble": "NaN"}
                change["points"][number], change["visible"][number] = [nan, nan], 0
                spoil(export, wrong, index)
                assert any("call a joint outside that is in the photo" in line for line in check(export))
        spoil(export, document, index)


def test_samples_that_are_gone_or_too_many(export: Path) -> None:
    content = documents(export)
    (export / "samples.json").write_text(json.dumps({"samples": content[1:]}))
    assert any("the photo of sample" in line and "is missing" in line for line in check(export))
    (export / "samples.json").write_text(json.dumps({"samples": [*content, content[0]]}))
    assert any("there twice" in line for line in check(export))
    more = {**content[0], "_id": {"$oid": "0" * 24}}
    (export / "samples.json").write_text(json.dumps({"samples": [*content, more]}))
    assert any("is not in the manifest" in line for line in check(export))


def test_each_picture(export: Path) -> None:
    patterns = ("data/*.jpg", "fields/instances.*/*-hand.png", "fields/instances.*/*-object.png")
    for pattern in (*patterns, "fields/amodal.*/*.png", "fields/segmentation/*.png"):
        path = sorted(export.glob(pattern))[0]
        name, good = path.relative_to(export).as_posix(), path.read_bytes()
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if path.suffix == ".png":
            for wrong in (picture[:-1], np.zeros_like(picture), np.full_like(picture, 7), 255 - picture):
                cv2.imwrite(str(path), wrong)
                found = check(export)
                assert any(line.startswith(("fields/segmentation", name)) for line in found), pattern
        path.write_bytes(b"no picture")
        assert f"{name}: cannot be read as an image" in check(export)
        path.unlink()
        assert f"{name}: cannot be read as an image" in check(export)
        path.write_bytes(good)
    assert check(export) == []


def test_each_model(export: Path) -> None:
    path = sorted(export.glob("data/*.glb"))[0]
    name, good = path.relative_to(export).as_posix(), path.read_bytes()
    hand, thing = glb.decode(good)
    for parts, finding in (
        ([replace(hand, vertices=hand.vertices + np.float32(0.001)), thing], "fingertips are 1.0 mm"),
        ([replace(hand, vertices=hand.vertices[:700], faces=hand.faces[:1] * 0), thing], "not 778 vertices"),
        ([hand, replace(thing, texture=b"", uv=None)], "no texture"),
        ([replace(hand, name="Hand"), thing], "is not a GLB of hand and object"),
        ([hand], "is not a GLB of hand and object"),
    ):
        path.write_bytes(glb.encode(parts))
        assert any(line.startswith(f"{name}: ") and finding in line for line in check(export)), finding
    for wrong in (b"", good[:100], b"glTF" + bytes(100), good[:-4]):
        path.write_bytes(wrong)
        assert any(line.startswith(f"{name}: ") for line in check(export))
    path.unlink()
    assert any(line.startswith(f"{name}: cannot be read") for line in check(export))
