"""gSDF and AlignSDF: what is written is read back by the rules of their loaders; every way to break it is found."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import igl
import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from synthetic_pairs import HAND_RGB, OBJECT_RGB, box_mesh, make_record

from exports import manifest, numpy_pickle
from exports.base import ExportError, Place, Record
from exports.gsdf.format import GsdfFormat
from pipeline.hand_model import load_hand
from pipeline.types import Mesh

SPLIT = "train=0.5,test=0.5"
POINTS = 2000
K = np.array([[480.0, 0, 128], [0, 480, 128], [0, 0, 1]])
CENTRES = [(0.06, -0.03, 0.5), (-0.1, 0.02, 0.45), (0.0, 0.05, 0.6), (0.12, 0.06, 0.7)]


@pytest.fixture(scope="module")
def pairs() -> list[Record]:
    return [make_record(i, "right", centre=centre) for i, centre in enumerate(CENTRES)]


@pytest.fixture(scope="module", params=["refit", "exact"])
def root(request: pytest.FixtureRequest, pairs: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gsdf") / request.param
    summary = GsdfFormat().write(pairs, out, camera=request.param, points=POINTS, split=SPLIT)
    assert (summary.count, summary.skipped) == (4, [])
    return out


@dataclass
class Sample:
    """One sample as gSDF's `obman` class reads it: pycocotools for the annotation, names from the split's list."""

    root: Path
    stage: str
    name: str
    annotation: dict[str, Any]

    def path(self, kind: str, suffix: str) -> Path:
        return self.root / "data" / self.stage / kind / f"{self.name}.{suffix}"

    def array(self, key: str) -> np.ndarray:
        return np.array(self.annotation[key], dtype=np.float32)

    def mesh(self, kind: str) -> trimesh.Trimesh:
        return trimesh.load(self.path(f"mesh_{kind}", "obj"), process=False, force="mesh")

    def sdf(self, kind: str) -> dict[str, np.ndarray]:
        with np.load(self.path(f"sdf_{kind}", "npz")) as file:
            return {key: file[key] for key in file.files}

    def meta(self) -> dict[str, Any]:
        with self.path("meta", "pkl").open("rb") as file:
            return pickle.load(file, encoding="latin1")


def samples(root: Path, *stages: str) -> Iterator[Sample]:
    for stage in stages or ("train", "test"):
        database = COCO(root / f"obman_{stage}.json")
        listed = json.loads((root / "splits" / f"{stage}_all.json").read_text())
        assert len(database.anns) == len(listed) == len(database.imgs)
        for number, annotation in sorted(database.anns.items()):
            name = database.loadImgs(annotation["image_id"])[0]["file_name"]
            assert name in listed
            assert (int(name), len(name)) == (number, 8)
            yield Sample(root, stage, name, annotation)


def both(root: Path, records: list[Record]) -> list[tuple[Sample, Record]]:
    by_id = {record.pair_id: record for record in records}
    found = [(sample, by_id[sample.annotation["hoi_annotate"]["pair_id"]]) for sample in samples(root)]
    assert len(found) == len(records)
    return found


def project(points: np.ndarray) -> np.ndarray:
    spots = points @ K.T
    return np.asarray(spots[:, :2] / spots[:, 2:])


def test_lists_name_every_sample_once(root: Path) -> None:
    for stage, public in (("train", "train_87k"), ("test", "test_6k"), ("val", "val_all")):
        names = json.loads((root / "splits" / f"{public}.json").read_text())
        assert names == sorted(path.stem for path in (root / "data" / stage / "rgb").iterdir())
        assert names == json.loads((root / "splits" / f"{stage}_all.json").read_text())
        assert all(len(name) == 8 and name.isdigit() for name in names)
        assert (root / "data" / stage / "sdf_hand").is_dir() == (stage != "test")
    assert json.loads((root / "splits" / "val_all.json").read_text()) == []
    align = json.loads((root / "alignsdf" / "obman.json").read_text())
    assert align["train"] == json.loads((root / "splits" / "train_all.json").read_text())
    for name in json.loads((root / "alignsdf" / "input.json").read_text())["filenames"]:
        assert (root / name.replace("data/obman/", "data/")).is_file()


def test_joints_project_to_the_hand_of_the_picture(root: Path, pairs: list[Record]) -> None:
    for sample, _ in both(root, pairs):
        picture = cv2.imread(str(sample.path("rgb", "jpg")))
        segm = cv2.imread(str(sample.path("segm", "png")))
        assert picture.shape == segm.shape == (256, 256, 3)
        joints = project(sample.array("hand_joints_3d"))
        np.testing.assert_allclose(joints, sample.meta()["coords_2d"], atol=0.01)
        near = cv2.dilate((segm[..., 1] > 0).astype(np.uint8), np.ones((9, 9)))  # G: the hand alone; tips are its edge
        inside = (joints > 0).all(1) & (joints < 256).all(1)
        assert inside.sum() >= 15
        assert all(near[int(v), int(u)] for u, v in joints[inside])
        for channel, colour in ((segm[..., 0], HAND_RGB), (segm[..., 2], OBJECT_RGB)):
            where = channel > 0
            where &= channel != 100 if colour == HAND_RGB else segm[..., 0] == 100
            where = cv2.erode(where.astype(np.uint8), np.ones((7, 7))) > 0
            shown = picture[..., ::-1].astype(int)[where]
            assert len(shown) > 50
            assert (np.abs(shown - colour).max(1) < 40).mean() > 0.97


def test_hand_is_that_of_the_record(root: Path, pairs: list[Record]) -> None:
    """Seen from its own wrist, for the pair was moved rigidly."""
    for sample, record in both(root, pairs):
        made, own = record.reconstruction, sample.annotation["hoi_annotate"]
        hand, joints = sample.mesh("hand"), sample.array("hand_joints_3d")
        assert hand.vertices.shape == (778, 3)
        distances = np.linalg.norm(hand.vertices[:, None] - joints[None], axis=-1)
        expected = np.linalg.norm(made.hand_verts[:, None] - made.hand_joints[None], axis=-1)
        np.testing.assert_allclose(distances, expected, atol=2e-6)
        pose = sample.array("hand_poses").astype(float)
        np.testing.assert_allclose(pose[3:], made.hand.hand_pose, atol=1e-6)
        parameters = replace(
            made.hand,
            global_orient=pose[:3],
            hand_pose=pose[3:],
            betas=np.array(own["betas"]),
            transl=np.array(own["transl"]),
        )
        vertices, posed = load_hand("right").posed(parameters)
        np.testing.assert_allclose(vertices, hand.vertices, atol=2e-6)
        np.testing.assert_allclose(posed, joints, atol=2e-6)
        assert own["hand_model"] == made.estimate.model


def test_object_transform_and_corners(root: Path, pairs: list[Record]) -> None:
    for sample, record in both(root, pairs):
        made, obj = record.reconstruction, sample.mesh("obj")
        transform = sample.array("obj_transform").astype(float)
        linear = transform[:3, :3]
        np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(linear) > 0
        np.testing.assert_array_equal(sample.array("obj_center_3d"), sample.array("obj_transform")[:3, 3])
        rest = (obj.vertices - transform[:3, 3]) @ linear
        corners = sample.array("obj_rest_corners_3d")
        np.testing.assert_allclose(corners.min(0), rest.min(0), atol=1e-6)
        np.testing.assert_allclose(corners.max(0), rest.max(0), atol=1e-6)
        assert len(np.unique(corners, axis=0)) == 8
        moved = corners @ linear.T + transform[:3, 3]
        np.testing.assert_allclose(sample.array("obj_corners_3d"), moved, atol=1e-6)
        size = np.ptp(made.object.mesh.vertices, axis=0) * made.object_pose.scale
        np.testing.assert_allclose(np.ptp(rest, axis=0), size, atol=2e-6)


def test_object_stays_where_it_is_in_the_hand(root: Path, pairs: list[Record]) -> None:
    for sample, record in both(root, pairs):
        made = record.reconstruction
        placed = made.object_pose.place(made.object.mesh.vertices)
        hand, obj = sample.mesh("hand").vertices, sample.mesh("obj").vertices
        before = np.linalg.norm(made.hand_verts[:, None] - placed[None], axis=-1)
        after = np.linalg.norm(hand[:, None] - obj[None], axis=-1)
        np.testing.assert_allclose(after.min(1), before.min(1), atol=2e-6)
        np.testing.assert_allclose(after.max(1), before.max(1), atol=2e-6)


def test_meshes_are_closed_and_outward(root: Path) -> None:
    for sample in samples(root):
        for kind in ("hand", "obj"):
            mesh = sample.mesh(kind)
            assert mesh.is_watertight
            assert mesh.is_winding_consistent
            assert mesh.volume > 0
            lines = sample.path(f"mesh_{kind}", "obj").read_text().splitlines()
            assert {line.split()[0] for line in lines} == {"v", "vt", "vn", "f"}
            assert all(len(part.split("/")) == 3 for line in lines if line[0] == "f" for part in line.split()[1:])


def truth(points: np.ndarray, mesh: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance (> 0 outside) and closest face, from igl's exact distances and winding numbers."""
    vertices, faces = np.ascontiguousarray(mesh.vertices), np.ascontiguousarray(mesh.faces).astype(np.int64)
    squared, face, _ = igl.point_mesh_squared_distance(points, vertices, faces)
    inside = igl.winding_number(vertices, faces, points) > 0.5
    return np.where(inside, -1, 1) * np.sqrt(squared), face


def test_distances_are_those_to_the_exported_meshes(root: Path) -> None:
    for sample in samples(root, "train"):
        scale, offset = sample.array("sdf_scale"), sample.array("sdf_offset")
        meshes = {kind: sample.mesh(kind) for kind in ("hand", "obj")}
        for kind, other in (("hand", "obj"), ("obj", "hand")):
            arrays = sample.sdf(kind)
            assert len(arrays["pos"]) + len(arrays["neg"]) == POINTS
            for side, sign in (("pos", 1), ("neg", -1)):
                points, distance = arrays[side][:, :3] / scale - offset, arrays[side][:, 3] / scale
                assert arrays[side].dtype == arrays[f"{side}_other"].dtype == np.float32
                expected, face = truth(points.astype(float), meshes[kind])
                np.testing.assert_allclose(distance, expected, atol=2e-6)
                assert (sign * distance >= 0).all()
                to_other, other_face = truth(points.astype(float), meshes[other])
                np.testing.assert_allclose(arrays[f"{side}_other"][:, 0] / scale, to_other, atol=2e-6)
                for end, name, faces in (("", kind, face), ("_other", other, other_face)):
                    labels = arrays[f"lab_{side}{end}"]
                    assert (labels.dtype, labels.shape) == (np.int32, (len(points), 4))
                    if name == "obj":
                        assert not labels.any()
                        continue
                    parts = load_hand("right").part[meshes["hand"].faces[faces]]  # MANO's joints of the corners
                    assert (labels[:, 1, None] == parts).any(1).mean() > 0.99
                    assert set(labels[:, 0]) <= set(range(6))


def test_points_are_about_both_surfaces_in_the_unit_ball(root: Path) -> None:
    for sample in samples(root, "train"):
        scale, offset = sample.array("sdf_scale"), sample.array("sdf_offset")
        both_meshes = np.concatenate([sample.mesh(kind).vertices for kind in ("hand", "obj")])
        reach = np.linalg.norm((both_meshes + offset) * scale, axis=1).max()
        assert reach == pytest.approx(1 / 1.03, abs=1e-5)
        for kind in ("hand", "obj"):
            arrays = sample.sdf(kind)
            points = np.concatenate([arrays["pos"], arrays["neg"]])
            assert np.abs(points[:, :3]).max() < 1.4
            assert (np.abs(points[:, 3]) < 0.25).mean() > 0.9  # 47 in 50 are noise of variance 0.005 and 0.0005
            assert (np.abs(points[:, 3]) < 0.06).mean() > 0.5
            assert min(len(arrays["pos"]), len(arrays["neg"])) > 0.04 * POINTS
        with np.load(sample.path("norm", "npz")) as norm:
            np.testing.assert_array_equal(norm["scale"], scale)
            np.testing.assert_array_equal(norm["offset"], offset)


def test_trimesh_agrees_on_the_signs(root: Path) -> None:
    sample = next(samples(root, "train"))
    obj, arrays = sample.mesh("obj"), sample.sdf("obj")
    hull = trimesh.convex.convex_hull(obj.vertices)  # box and cylinder are convex: inside is behind every plane
    for side, sign in (("pos", 1), ("neg", -1)):
        points = arrays[side][:, :3] / sample.array("sdf_scale") - sample.array("sdf_offset")
        planes = np.einsum("nfk,fk->nf", points[:, None] - hull.triangles[None, :, 0], hull.face_normals).max(1)
        clear = np.abs(planes) > 1e-6
        assert (np.sign(planes[clear]) == sign).all()


def test_meta_for_alignsdf(root: Path, pairs: list[Record]) -> None:
    flip = np.array([1, -1, -1])
    for sample, record in both(root, pairs):
        meta = sample.meta()
        np.testing.assert_allclose(meta["coords_3d"] * flip, sample.array("hand_joints_3d"), atol=1e-6)
        np.testing.assert_allclose(meta["verts_3d"] * flip, sample.mesh("hand").vertices, atol=1e-6)
        assert meta["obj_corners_3d"].shape == meta["obj_rest_corners_3d"].shape == (9, 3)
        np.testing.assert_allclose(meta["obj_corners_3d"][0] * flip, sample.array("obj_center_3d"), atol=1e-6)
        np.testing.assert_allclose(meta["obj_corners_3d"][1:] * flip, sample.array("obj_corners_3d"), atol=1e-6)
        np.testing.assert_allclose(meta["obj_rest_corners_3d"][1:], sample.array("obj_rest_corners_3d"), atol=1e-6)
        assert meta["side"] == "right"
        assert meta["hoi_annotate"]["provenance"] == record.provenance


def test_equal_records_give_equal_bytes(root: Path, pairs: list[Record], tmp_path: Path) -> None:
    camera = manifest.read(root)["options"]["camera"]
    GsdfFormat().write(reversed(pairs), tmp_path / "out", camera=camera, points=POINTS, split=SPLIT)
    paths = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert paths == sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*") if p.is_file())
    for path in paths:
        assert (root / path).read_bytes() == (tmp_path / "out" / path).read_bytes(), path


def test_zero_records(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert GsdfFormat().write([], out).count == 0
    assert GsdfFormat().check(out, manifest.read(out)) == []
    assert json.loads((out / "splits" / "train_87k.json").read_text()) == []
    assert list(samples(out)) == []


def test_names_in_any_script(tmp_path: Path) -> None:
    provenance = {"source": "Юлия | фото\nархив", "object_id": "чашка"}
    record = make_record(7, photo_name="手 \udcff.jpg", pair_id="пара/7 ä", provenance=provenance)
    out = tmp_path / "выгрузка"
    assert GsdfFormat().write([record], out, points=200, split="val=1").count == 1
    assert GsdfFormat().check(out, manifest.read(out)) == []
    (sample,) = samples(out, "val")
    assert sample.annotation["hoi_annotate"]["pair_id"] == "пара/7 ä"
    assert sample.meta()["hoi_annotate"]["photo"]["name"] == "手 \udcff.jpg"
    assert len(sample.sdf("hand")["pos"]) + len(sample.sdf("hand")["neg"]) == 200


@pytest.mark.parametrize(
    "options", [{"points": 50}, {"points": 20001}, {"points": "many"}, {"camera": "magic"}, {"split": "dev=1"}]
)
def test_bad_options_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ExportError):
        GsdfFormat().write([], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_left_hands_are_mirrored_on_demand(tmp_path: Path) -> None:
    left = make_record(1, "left")
    summary = GsdfFormat().write([left], tmp_path / "a", points=200)
    assert summary.count == 0
    assert "--mirror-left" in summary.skipped[0][1]
    assert GsdfFormat().write([left], tmp_path / "b", points=200, split="train=1", mirror_left=True).count == 1
    assert GsdfFormat().check(tmp_path / "b", manifest.read(tmp_path / "b")) == []


def test_unsuitable_records_are_left_out_with_a_reason(tmp_path: Path) -> None:
    good, box = make_record(0), box_mesh()
    made = good.reconstruction
    opened = Mesh(box.vertices, box.faces[:-2], box.uv, box.texture)
    inverted = Mesh(box.vertices, box.faces[:, ::-1].copy(), box.uv, box.texture)
    given = {
        "model": replace(made, estimate=replace(made.estimate, model="someone's hand")),
        "verts": replace(made, hand_verts=made.hand_verts + 0.01),
        "behind": replace(made, hand_verts=made.hand_verts - [0, 0, 1]),
    }
    records = [replace(good, pair_id=name, reconstruction=changed) for name, changed in given.items()]
    records += [
        make_record(3, mesh=opened, pair_id="open"),
        make_record(3, provenance={"when": object()}, pair_id="provenance"),
        make_record(3, mesh=inverted, pair_id="inverted"),
    ]
    summary = GsdfFormat().write([good, *records], tmp_path / "out", points=200, split="train=1")
    reasons = dict(summary.skipped)
    assert summary.count == 2  # an object that is inside out is turned
    expected = {"model": "someone's hand", "verts": "mm", "behind": "behind", "open": "closed", "provenance": "JSON"}
    assert {name: text in reasons[name] for name, text in expected.items()} == dict.fromkeys(expected, True)
    assert GsdfFormat().check(tmp_path / "out", manifest.read(tmp_path / "out")) == []
    for sample in samples(tmp_path / "out", "train"):
        assert sample.mesh("obj").volume > 0


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    number=st.integers(0, 99),
    x=st.floats(-0.15, 0.15),
    z=st.floats(0.35, 1.5),
    focal=st.floats(400, 1500),
    camera=st.sampled_from(["refit", "exact"]),
)
def test_any_pair(number: int, x: float, z: float, focal: float, camera: str) -> None:
    record = make_record(number, centre=(x * z, 0.0, z), focal=focal)
    gsdf = GsdfFormat()
    options = gsdf.parse({"camera": camera, "points": 100})
    sample = gsdf.sample(record, Place("00000001", "train"), options)
    entry = sample.row
    assert gsdf.sample(record, Place("00000001", "train"), options) == sample
    joints = np.array(entry["hand_joints_3d"])
    made = record.reconstruction.hand_joints
    np.testing.assert_allclose(
        np.linalg.norm(joints[:, None] - joints, axis=-1), np.linalg.norm(made[:, None] - made, axis=-1), atol=2e-6
    )
    assert project(joints).min() > -128
    assert project(joints).max() < 384
    text = sample.files["data/train/mesh_obj/00000001.obj"].decode()
    obj = np.array([line.split()[1:] for line in text.splitlines() if line.startswith("v ")], float)
    corners = np.array(entry["obj_corners_3d"])
    assert np.abs(obj.mean(0) - corners.mean(0)).max() < 0.05
    rest = (obj - entry["obj_center_3d"]) @ np.array(entry["obj_transform"])[:3, :3]
    np.testing.assert_allclose(np.array(entry["obj_rest_corners_3d"]).max(0), rest.max(0), atol=2e-6)


# Every way to break an export is found, and the broken file named.


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gsdf-check") / "out"
    records = [make_record(i) for i in range(2)]
    assert GsdfFormat().write(records, out, points=200, split=SPLIT, seed=SEED).count == 2
    return out


SEED = 1  # one pair in each of train and test


@pytest.fixture
def export(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def check(export: Path) -> list[str]:
    return GsdfFormat().check(export, manifest.read(export))


def named(found: list[str], name: str, *words: str) -> bool:
    return any(line.startswith(f"{name}: ") and all(word in line for word in words) for line in found)


def only(export: Path, pattern: str) -> tuple[Path, str]:
    (path,) = export.glob(pattern)
    return path, path.relative_to(export).as_posix()


def test_pristine(pristine: Path) -> None:
    assert check(pristine) == []
    assert [len(list(samples(pristine, stage))) for stage in ("train", "test")] == [1, 1]


ANNOTATION = [
    "bbox", "hand_joints_3d", "hand_poses", "obj_transform", "obj_center_3d", "obj_corners_3d", "obj_rest_corners_3d",
    "sdf_scale", "sdf_offset", "hoi_annotate", "id", "image_id",
]  # fmt: skip


def wrong(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, list):
        return [wrong(v) for v in value]
    return {**value, "pair_id": "x"} if isinstance(value, dict) else value + type(value)(1)


@pytest.mark.parametrize("change", ["missing", "type", "none", "shape", "nan", "huge", "value"])
@pytest.mark.parametrize("key", ANNOTATION)
def test_each_key_of_an_annotation(key: str, change: str, export: Path) -> None:
    path = export / "obman_train.json"
    content = json.loads(path.read_text())
    entry = content["annotations"][0]
    value = entry[key]
    if change == "missing":
        del entry[key]
    elif change == "shape":
        entry[key] = value[:-1] if isinstance(value, list) and len(value) > 1 else [value]
    elif change == "huge":
        entry[key] = np.full(np.shape(value), 10**400, dtype=object).tolist()
    elif change == "nan":
        entry[key] = np.full(np.shape(value), np.nan).tolist()
    else:
        entry[key] = {"type": "word", "none": None, "value": wrong(value)}[change]
    path.write_text(json.dumps(content))
    found = check(export)
    # distances are compared with the meshes under scale and offset: either may be wrong
    assert any(line.startswith(("obman_train.json: ", "data/train/norm/")) for line in found), found


META = [
    "coords_2d", "coords_3d", "verts_3d", "hand_pose", "pca_pose", "affine_transform", "obj_corners_3d",
    "obj_rest_corners_3d", "obj_scale", "side", "class_id", "sample_id", "hoi_annotate",
]  # fmt: skip


@pytest.mark.parametrize("key", META)
def test_each_key_of_a_meta(key: str, export: Path) -> None:
    path, name = only(export, "data/train/meta/*.pkl")
    good = pickle.loads(path.read_bytes())
    value = good[key]
    broken: list[Any] = [None, 3, [1.5]]
    if isinstance(value, np.ndarray):
        broken += [value[:-1], value.astype(np.float64), value * np.nan, value + np.float32(0.1)]
    elif isinstance(value, dict):
        broken += [{}, {**value, "pair_id": "x"}]
    elif key in ("side", "obj_scale"):
        broken.append("left" if key == "side" else value * 2)
    path.write_bytes(numpy_pickle.dumps({k: v for k, v in good.items() if k != key}))
    assert named(check(export), name, f"'{key}")
    for other in broken:
        path.write_bytes(numpy_pickle.dumps({**good, key: other}))
        assert named(check(export), name), other


ARRAYS = ["pos", "neg", "pos_other", "neg_other", "lab_pos", "lab_neg", "lab_pos_other", "lab_neg_other"]


@pytest.mark.parametrize("kind", ["sdf_hand", "sdf_obj"])
@pytest.mark.parametrize("key", ARRAYS)
def test_each_array_of_distances(kind: str, key: str, export: Path) -> None:
    path, name = only(export, f"data/train/{kind}/*.npz")
    with np.load(path) as file:
        good = dict(file)
    value = good[key]
    broken = [value[:-1], value[:0], value[:, :-1], value.astype(np.float64)]
    broken += [value + 20] if key.startswith("lab") else [value * np.float32(np.nan), -value, value + np.float32(0.01)]
    np.savez(path, **{k: v for k, v in good.items() if k != key})
    assert named(check(export), name)
    for other in broken:
        np.savez(path, **{**good, key: other})
        assert named(check(export), name), (key, other.shape, other.dtype)
    if key in ("pos", "neg"):
        many = {k: np.repeat(v, 20_001 // len(value) + 1, 0) if key in k else v for k, v in good.items()}
        np.savez(path, **many)
        assert named(check(export), name, "lmdb")


@pytest.mark.parametrize("key", ["scale", "offset"])
def test_each_array_of_norm(key: str, export: Path) -> None:
    path, name = only(export, "data/train/norm/*.npz")
    with np.load(path) as file:
        good = dict(file)
    for other in (good[key] * 2, good[key].astype(np.float64), good[key] * np.float32(np.nan), good[key][:0]):
        np.savez(path, **{**good, key: other})
        assert named(check(export), name)
    del good[key]
    np.savez(path, **good)
    assert named(check(export), name)


@pytest.mark.parametrize("kind", ["mesh_hand", "mesh_obj"])
def test_each_mesh(kind: str, export: Path) -> None:
    for stage in ("train", "test"):
        path, name = only(export, f"data/{stage}/{kind}/*.obj")
        text = path.read_text()
        last = text.rstrip().rpartition("\n")[0] + "\n"
        for old, new in (("\nf ", "\nf 9999/1/9999 "), ("\nf ", "\ng "), ("v ", "v nan "), ("v ", "v x"), ("v ", "#")):
            path.write_text(text.replace(old, new, 1))
            assert named(check(export), name), (old, new)
        for broken in (last, "", "\xff"):
            path.write_text(broken, encoding="latin1")
            assert named(check(export), name)
        path.write_text("\n".join(_shifted(line) for line in text.splitlines()) + "\n")
        found = check(export)  # the mesh is elsewhere: that the others say something else is all there is to see
        assert any(path.stem in line or str(int(path.stem)) in line for line in found)
        path.write_text(text)
    assert check(export) == []


def _shifted(line: str) -> str:
    if not line.startswith("v "):
        return line
    x, y, z = (float(word) for word in line.split()[1:])
    return f"v {x + 0.02:.7f} {y:.7f} {z:.7f}"


def test_each_file(export: Path) -> None:
    for path in sorted((export / "data").rglob("*")):
        if path.is_file():
            name, good = path.relative_to(export).as_posix(), path.read_bytes()
            path.unlink()
            assert f"{name}: is missing" in check(export)
            path.write_bytes(b"\x80\x04garbage")
            assert named(check(export), name)
            path.write_bytes(good)
    for path in _lists(export):
        name, good = path.relative_to(export).as_posix(), path.read_bytes()
        other = good
        for sample in manifest.read(export)["samples"]:
            other = other.replace(sample["id"].lstrip("0").encode(), b"77")
        path.write_bytes(other)
        assert named(check(export), name) == ("val" not in name), name  # val has no samples
        path.write_bytes(good)
    assert check(export) == []


def test_each_list_that_cannot_be_read(tmp_path: Path) -> None:
    export = tmp_path / "out"
    GsdfFormat().write([], export)
    paths = _lists(export)
    assert len(paths) == 10
    for path in paths:
        name, good = path.relative_to(export).as_posix(), path.read_bytes()
        for broken in (b"", b"[1]", b"{}", b"3", b"\xff", b'["00000000"]', b'{"images": [{}], "annotations": [[]]}'):
            path.write_bytes(broken)
            assert named(check(export), name), (name, broken)
        path.unlink()
        assert named(check(export), name, "cannot be read")
        path.write_bytes(good)
    assert check(export) == []


def _lists(export: Path) -> list[Path]:
    return [path for pattern in ("obman_*.json", "alignsdf/*.json", "splits/*.json") for path in export.glob(pattern)]


def test_pictures_that_show_something_else(export: Path) -> None:
    path, name = only(export, "data/train/segm/*.png")
    picture = cv2.imread(str(path))
    cv2.imwrite(str(path), picture[..., ::-1])
    assert named(check(export), name, "differs from the meshes")
    for kind, suffix in (("rgb", "jpg"), ("segm", "png")):
        path, name = only(export, f"data/test/{kind}/*.{suffix}")
        cv2.imwrite(str(path), cv2.imread(str(path))[:100])
        assert named(check(export), name, "256x256")


def test_stray_files_and_missing_folders(export: Path) -> None:
    stray = export / "data" / "train" / "rgb" / "12345678.jpg"
    stray.write_bytes(b"x")
    assert named(check(export), "data/train/rgb/12345678.jpg", "no sample of the manifest")
    shutil.rmtree(export / "data" / "val" / "norm")
    assert "data/val/norm: folder is missing" in check(export)
    shutil.rmtree(export / "data")
    assert len(check(export)) >= 21


def test_manifest_that_says_something_else(export: Path) -> None:
    content = manifest.read(export)
    changed = [{**sample, "revision": 9} for sample in content["samples"]]
    found = GsdfFormat().check(export, {**content, "samples": changed})
    assert sum("'hoi_annotate.revision' is not what the manifest says" in line for line in found) == 2
    found = GsdfFormat().check(export, {**content, "samples": []})
    assert {"obman_train.json", "obman_test.json", "splits/train_all.json"} <= {
        line.partition(":")[0] for line in found
    }


def test_pickle_that_runs_code_is_not_run(export: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (victim,)

    path, name = only(export, "data/train/meta/*.pkl")
    path.write_bytes(pickle.dumps(Evil()))
    assert named(check(export), name, "cannot be read")
    assert not victim.exists()
