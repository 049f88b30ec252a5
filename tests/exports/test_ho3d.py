"""HO-3D: what is written is read back by the rules of `shreyashampali/ho3d` and of hassony2's loaders."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from synthetic_pairs import HAND_RGB, OBJECT_RGB, box_mesh, make_record

from exports import manifest
from exports.base import Place, Record
from exports.ho3d.format import HO3DFormat
from pipeline.geometry.camera import project
from pipeline.geometry.raster import depth_map
from pipeline.hand_model import load_hand
from pipeline.types import Camera, Completion, Masks, Mesh, Photo

FLIP = np.array([1, -1, -1])  # OpenGL <-> OpenCV
SPLIT = "train=0.5,evaluation=0.5"
TO_SIMPLE = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]  # vis_HO3D's


@dataclass
class Frame:
    """One line of train.txt or evaluation.txt, read with nothing of ours."""

    root: Path
    split: str
    line: str

    def file(self, kind: str, suffix: str) -> Path:
        sequence, frame = self.line.split("/")
        return self.root / self.split / sequence / kind / f"{frame}.{suffix}"

    @property
    def meta(self) -> dict[str, Any]:
        with self.file("meta", "pkl").open("rb") as file:
            return pickle.load(file, encoding="latin1")

    def rgb(self) -> np.ndarray:
        (path,) = self.file("rgb", "png").parent.iterdir()
        return cv2.imread(str(path))

    def depth(self) -> np.ndarray:
        picture = cv2.imread(str(self.file("depth", "png"))).astype(np.uint16)
        return (picture[:, :, 2] + picture[:, :, 1] * 256) * 0.00012498664727900177

    def joints(self) -> np.ndarray:
        """OpenCV camera, simple order."""
        return self.meta["handJoints3D"][TO_SIMPLE] * FLIP

    def object(self) -> tuple[np.ndarray, np.ndarray]:
        """Vertices in the OpenCV camera and faces, as read_obj and Rodrigues give them."""
        meta = self.meta
        rows = [line.split() for line in (self.root / "models" / meta["objName"] / "textured_simple.obj").open()]
        vertices = np.array([row[1:4] for row in rows if row[0] == "v"], float)
        faces = np.array([[corner.split("/")[0] for corner in row[1:4]] for row in rows if row[0] == "f"], int) - 1
        return (vertices @ cv2.Rodrigues(meta["objRot"])[0].T + meta["objTrans"]) * FLIP, faces


def frames(root: Path) -> Iterator[Frame]:
    for split in ("train", "evaluation"):
        for line in (root / f"{split}.txt").read_text().splitlines():
            yield Frame(root, split, line)


def pairs(root: Path, records: list[Record]) -> Iterator[tuple[Frame, Record]]:
    by_id = {record.pair_id: record for record in records}
    for frame in frames(root):
        yield frame, by_id[frame.meta["hoi_annotate"]["pair_id"]]


def resized(record: Record, width: int, height: int, shift: tuple[int, int] = (0, 0)) -> Record:
    """The same pair in a photo of another size: a window of a larger or smaller one around the same camera."""
    made, image = record.reconstruction, record.photo.image
    matrix = np.array([[1.0, 0, shift[0]], [0, 1, shift[1]]])
    new = cv2.warpAffine(image, matrix, (width, height))
    K = made.camera.K.copy()
    K[:2, 2] += shift
    empty = np.zeros((height, width), bool)
    return replace(
        record,
        photo=Photo(record.photo.name, record.photo.sha256, new),
        reconstruction=replace(
            made,
            camera=Camera(K, width, height, "given"),
            masks=Masks(empty, empty, empty),
            completion=Completion(empty, new),
        ),
    )


@pytest.fixture(scope="module")
def right() -> list[Record]:
    centres = [(0.06, -0.03, 0.5), (-0.1, 0.02, 0.45), (0.0, 0.05, 0.6), (0.12, 0.06, 0.7), (0.0, 0.0, 0.4)]
    records = [make_record(i, "right", centre=centre) for i, centre in enumerate(centres)]
    return [*records[:3], resized(records[3], 900, 1300, (200, 500)), resized(records[4], 300, 410, (-170, -20))]


@pytest.fixture(scope="module", params=["v2", "v3"])
def root(request: pytest.FixtureRequest, right: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ho3d") / request.param
    summary = HO3DFormat().write(right, out, version=request.param, split=SPLIT, evaluation_joints="all")
    assert (summary.count, summary.skipped) == (5, [])
    return out


def test_layout(root: Path, right: list[Record]) -> None:
    version = json.loads((root / "manifest.json").read_text())["options"]["version"]
    seen = list(frames(root))
    assert {frame.split for frame in seen} == {"train", "evaluation"}
    for frame in seen:
        assert frame.file("rgb", {"v2": "png", "v3": "jpg"}[version]).is_file()
        assert frame.file("seg", {"v2": "jpg", "v3": "png"}[version]).is_file()
        assert frame.rgb().shape == (480, 640, 3)
    assert HO3DFormat().check(root, manifest.read(root)) == []


def test_joints_and_corners_project_to_where_the_photo_has_them(root: Path, right: list[Record]) -> None:
    """With camMat alone. Readers count the first pixel's centre as 0, we as 0.5."""
    for frame, record in pairs(root, right):
        meta, made = frame.meta, record.reconstruction
        x, y, width, height = meta["hoi_annotate"]["window"]
        assert width * 3 == height * 4
        scale = 640 / width
        corners = meta["objCorners3D"] * FLIP
        pose, mesh = made.object_pose, made.object.mesh
        box = np.array([mesh.vertices.min(0), mesh.vertices.max(0)])
        truth = pose.place(
            np.array([[box[i, 0], box[j, 1], box[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        )
        for points, true in ((frame.joints(), made.hand_joints), (corners, truth)):
            seen = points @ meta["camMat"].T
            seen = seen[:, :2] / seen[:, 2:] + 0.5
            assert np.abs(seen - (project(true, made.camera.K) - [x, y]) * scale).max() < 0.02


def test_picture_shows_the_pair_where_the_numbers_say(root: Path, right: list[Record]) -> None:
    """The photo was drawn in flat colours; the written mesh is drawn with the written numbers."""
    for frame, record in pairs(root, right):
        picture = frame.rgb()[..., ::-1].astype(int)
        K = frame.meta["camMat"].copy()
        K[:2, 2] += 0.5
        vertices, faces = frame.object()
        hand = depth_map(record.reconstruction.hand_verts, load_hand("right").faces, K, 480, 640)
        obj = depth_map(vertices, faces, K, 480, 640)
        for colour, drawn in ((HAND_RGB, hand < obj), (OBJECT_RGB, (obj <= hand) & np.isfinite(obj))):
            shown = np.abs(picture - colour).sum(-1) < 60
            photo = np.abs(record.photo.image.astype(int) - colour).sum(-1) < 60
            if photo[0].any() or photo[-1].any() or photo[:, 0].any() or photo[:, -1].any():
                continue  # cut off by the photo's border
            assert (shown & drawn).sum() / (shown | drawn).sum() > 0.93


def test_depth_is_the_reconstructions(root: Path, right: list[Record]) -> None:
    for frame, record in pairs(root, right):
        made, depth = record.reconstruction, frame.depth()
        K = frame.meta["camMat"].copy()
        K[:2, 2] += 0.5
        z = [
            depth_map(made.hand_verts, load_hand("right").faces, K, 480, 640),
            depth_map(made.object_pose.place(made.object.mesh.vertices), made.object.mesh.faces, K, 480, 640),
        ]
        nearest = np.minimum(*z)
        both = np.isfinite(nearest) & (depth > 0)
        assert (np.isfinite(nearest) != (depth > 0)).mean() < 1e-3
        assert np.quantile(np.abs(depth - nearest)[both], 0.995) < 1e-4
        seg = cv2.imread(str(next(frame.file("seg", "png").parent.iterdir())))
        hand_channel, object_channel = (2, 0) if "v2" in str(root) else (0, 2)
        hand, obj = (
            cv2.resize(seg[..., c], (640, 480), interpolation=cv2.INTER_NEAREST) > 200
            for c in (hand_channel, object_channel)
        )
        assert not (hand & obj).any()
        for mask, true in ((hand, z[0] < z[1]), (obj, np.isfinite(nearest) & (z[0] >= z[1]))):
            near = np.ones((7, 7), np.uint8)  # a quarter of the size: three pixels either way
            assert not (mask & (cv2.dilate(true.astype(np.uint8), near) == 0)).any()
            assert not (~mask & (cv2.erode(true.astype(np.uint8), near) == 1)).any()
            assert mask.any()


def test_model_is_metric_and_where_the_object_is(root: Path, right: list[Record]) -> None:
    for frame, record in pairs(root, right):
        made = record.reconstruction
        vertices, _ = frame.object()
        truth = made.object_pose.place(made.object.mesh.vertices)
        assert cKDTree(vertices).query(truth)[0].max() < 3e-6
        assert cKDTree(truth).query(vertices)[0].max() < 3e-6
        meta = frame.meta
        placed = meta["objCorners3DRest"] @ cv2.Rodrigues(meta["objRot"])[0].T + meta["objTrans"]
        np.testing.assert_allclose(placed, meta["objCorners3D"], atol=1e-8)
        folder = root / "models" / meta["objName"]
        loaded = trimesh.load(folder / "textured_simple.obj", force="mesh")
        np.testing.assert_allclose(loaded.bounds, [meta["objCorners3DRest"][0], meta["objCorners3DRest"][7]], atol=1e-6)
        assert loaded.visual.material.image.size == made.object.mesh.texture.shape[1::-1]
        welded = trimesh.Trimesh(loaded.vertices, loaded.faces)
        welded.merge_vertices(merge_tex=True, merge_norm=True)
        assert welded.is_watertight
        assert welded.volume > 0
        cloud = np.array(trimesh.load(folder / "points.xyz").vertices)
        np.testing.assert_allclose([cloud.min(0), cloud.max(0)], loaded.bounds, atol=1e-6)
        assert trimesh.proximity.closest_point_naive(loaded, cloud[:50])[1].max() < 2e-6


def test_corner_order_draws_a_box(root: Path) -> None:
    edges = [(0, 1), (1, 3), (3, 2), (2, 0), (4, 5), (5, 7), (7, 6), (6, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
    for frame in frames(root):
        rest = frame.meta["objCorners3DRest"]
        assert all((np.abs(rest[a] - rest[b]) > 1e-9).sum() == 1 for a, b in edges)


def test_hand_parameters_give_the_hand(root: Path, right: list[Record]) -> None:
    """As MANO's chumpy and manopth do: rotation about the wrist, flat_hand_mean=True, plus handTrans."""
    for frame, record in pairs(root, right):
        meta = frame.meta
        pose = replace(
            record.reconstruction.hand,
            global_orient=meta["handPose"][:3],
            hand_pose=meta["handPose"][3:],
            betas=meta["handBeta"],
            transl=meta["handTrans"],
        )
        verts, joints = load_hand("right").posed(pose)
        np.testing.assert_allclose(joints * FLIP, frame.joints(), atol=2e-5)
        np.testing.assert_allclose(verts * FLIP, record.reconstruction.hand_verts, atol=2e-5)
        np.testing.assert_array_equal(meta["handPose"][3:], record.reconstruction.hand.hand_pose)
        np.testing.assert_allclose(meta["hoi_annotate"]["hand_verts"], verts, atol=2e-5)


def test_contact_of_version_3(root: Path, right: list[Record]) -> None:
    for frame, record in pairs(root, right):
        meta = frame.meta
        if "v2" in str(root):
            assert "handVertContact" not in meta
            continue
        mesh = trimesh.Trimesh(*frame.object())
        mesh.merge_vertices()
        verts = record.reconstruction.hand_verts
        _, distance, _ = trimesh.proximity.closest_point_naive(mesh, verts)
        np.testing.assert_allclose(meta["handVertDist"], distance, atol=2e-6)
        clear = np.abs(distance - 0.004) > 1e-5
        np.testing.assert_array_equal(meta["handVertContact"][clear], (distance < 0.004)[clear])
        projected = meta["handVertObjSurfProj"] * FLIP
        assert trimesh.proximity.closest_point_naive(mesh, projected)[1].max() < 2e-6
        np.testing.assert_allclose(np.linalg.norm(projected - verts, axis=1), distance, atol=2e-6)
        if len(mesh.vertices) == 8:  # the box: inside is easy to tell
            local = (verts * FLIP - meta["objTrans"]) @ cv2.Rodrigues(meta["objRot"])[0]
            inside = (np.abs(local) < meta["objCorners3DRest"][7]).all(1)
            np.testing.assert_array_equal(meta["handVertIntersec"][distance > 1e-5], inside[distance > 1e-5])
            assert inside.any()


def test_evaluation_is_withheld_as_in_the_public_set(right: list[Record], tmp_path: Path) -> None:
    HO3DFormat().write(right, tmp_path / "out", split=SPLIT)
    xyz, verts = (json.loads((tmp_path / "out" / f"evaluation_{kind}.json").read_text()) for kind in ("xyz", "verts"))
    evaluation = [(f, r) for f, r in pairs(tmp_path / "out", right) if f.split == "evaluation"]
    assert len(evaluation) == len(xyz) == len(verts) > 0
    for (frame, record), joints, points in zip(evaluation, xyz, verts, strict=True):
        meta, made = frame.meta, record.reconstruction
        assert meta["handJoints3D"].shape == (3,)
        np.testing.assert_allclose(np.array(joints)[TO_SIMPLE] * FLIP, made.hand_joints, atol=1e-6)
        np.testing.assert_allclose(np.array(points) * FLIP, made.hand_verts, atol=1e-6)
        np.testing.assert_allclose(meta["handJoints3D"], joints[0], atol=1e-6)
        left, top, right_side, bottom = meta["handBoundingBox"]
        seen = project(made.hand_verts, meta["camMat"])
        assert (seen > [left, top]).all()
        assert (seen < [right_side, bottom]).all()
    assert HO3DFormat().check(tmp_path / "out", manifest.read(tmp_path / "out")) == []


def test_labels_number_the_objects(root: Path) -> None:
    found = {frame.meta["objName"]: frame.meta["objLabel"] for frame in frames(root)}
    assert [found[name] for name in sorted(found)] == list(range(1, len(found) + 1))


def test_pairs_of_one_object_share_its_model(tmp_path: Path) -> None:
    record = make_record(1, mesh=box_mesh())
    again = replace(record, pair_id="again", photo=replace(record.photo, sha256="0" * 64))
    larger = replace(
        record,
        pair_id="larger",
        photo=replace(record.photo, sha256="1" * 64),
        reconstruction=replace(
            record.reconstruction,
            object_pose=replace(record.reconstruction.object_pose, scale=record.reconstruction.object_pose.scale * 1.5),
        ),
    )
    HO3DFormat().write([record, again, larger], tmp_path / "out", split="train=1")
    assert len(list((tmp_path / "out" / "models").iterdir())) == 2


def test_left_hands_are_left_out_with_the_remedy(tmp_path: Path) -> None:
    summary = HO3DFormat().write([make_record(0), make_record(1, "left")], tmp_path / "out", split="train=1")
    assert summary.count == 1
    ((pair, reason),) = summary.skipped
    assert pair == "pair-1"
    assert "--mirror-left" in reason
    assert HO3DFormat().check(tmp_path / "out", manifest.read(tmp_path / "out")) == []


def test_unsuitable_records_are_left_out(tmp_path: Path) -> None:
    good = make_record(0)
    made = good.reconstruction
    camera = made.camera
    aside = Camera(camera.K - np.array([[0, 0, 5000], [0, 0, 0], [0, 0, 0]]), 640, 480, "given")
    cases = {
        "model": replace(made, estimate=replace(made.estimate, model="someone's hand")),
        "verts": replace(made, hand_verts=made.hand_verts + 0.01),
        "behind": replace(made, object_pose=replace(made.object_pose, transl=made.object_pose.transl - [0, 0, 1])),
        "far": make_record(0, centre=(0.0, 0.0, 9.0)).reconstruction,
        "aside": replace(made, camera=aside),
        "size": replace(made, object_pose=replace(made.object_pose, scale=float("nan"))),
        "mesh": replace(
            made,
            object=replace(
                made.object,
                mesh=Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]), np.zeros((3, 2)), np.zeros((2, 2, 3), np.uint8)),
            ),
        ),
    }
    records = [
        replace(good, pair_id=name, reconstruction=case, photo=replace(good.photo, sha256=f"{i}" * 64))
        for i, (name, case) in enumerate(cases.items())
    ]
    records.append(make_record(3, provenance={"when": object()}, pair_id="provenance"))
    summary = HO3DFormat().write([good, *records], tmp_path / "out", split="train=1")
    reasons = dict(summary.skipped)
    assert summary.count == 1
    assert set(reasons) == {*cases, "provenance"}
    expected = {
        "model": "someone",
        "verts": "mm",
        "behind": "behind",
        "far": "8.19 m",
        "aside": "outside",
        "mesh": "point",
    }
    for name, word in expected.items():
        assert word in reasons[name]


def test_names_in_any_script(tmp_path: Path) -> None:
    record = make_record(7, photo_name="чашка 手 \udcff.jpg", provenance={"subject": "Zoë", "object_id": "чашка 1"})
    out = tmp_path / "выгрузка 1"
    assert HO3DFormat().write([record], out, split="train=1").count == 1
    assert HO3DFormat().check(out, manifest.read(out)) == []
    (frame,) = frames(out)
    assert frame.meta["hoi_annotate"]["photo"]["name"] == "чашка 手 \udcff.jpg"
    assert frame.meta["hoi_annotate"]["provenance"]["object_id"] == "чашка 1"
    assert frame.meta["objName"].isascii()


def test_equal_records_give_equal_bytes(right: list[Record], tmp_path: Path) -> None:
    first = HO3DFormat().write(right, tmp_path / "a", split=SPLIT)
    second = HO3DFormat().write(reversed(right), tmp_path / "b", split=SPLIT)
    assert first.digest == second.digest


def test_zero_records(tmp_path: Path) -> None:
    assert HO3DFormat().write([], tmp_path / "out", split="train=1").count == 0
    assert list(frames(tmp_path / "out")) == []
    assert json.loads((tmp_path / "out" / "evaluation_xyz.json").read_text()) == []
    assert HO3DFormat().check(tmp_path / "out", manifest.read(tmp_path / "out")) == []


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    number=st.integers(0, 10_000),
    centre=st.tuples(st.floats(-0.15, 0.15), st.floats(-0.1, 0.1), st.floats(0.35, 1.2)),
    focal=st.floats(450, 1500),
    size=st.tuples(st.integers(200, 1500), st.integers(200, 1500)),
)
def test_any_pair_in_any_photo(
    number: int, centre: tuple[float, float, float], focal: float, size: tuple[int, int]
) -> None:
    """The window holds all that the photo shows of the pair, and camMat projects into it what the photo's K does."""
    record = resized(make_record(number, centre=centre, focal=focal), *size)
    made = record.reconstruction
    seen = project(np.concatenate([made.hand_verts, made.object_pose.place(made.object.mesh.vertices)]), made.camera.K)
    if (np.maximum(seen.min(0), 0) >= np.minimum(seen.max(0), size)).any():
        return  # outside the photo: left out, as another test has it
    options = HO3DFormat().parse({})
    sample = HO3DFormat().sample(record, Place("00000001", "train"), options)
    meta = pickle.loads(sample.files["train/00000001/meta/0000.pkl"])
    x, y, width, height = meta["hoi_annotate"]["window"]
    in_photo = ((seen >= 0) & (seen <= size)).all(1)
    assert (seen[in_photo] >= [x - 1e-9, y - 1e-9]).all()
    assert (seen[in_photo] <= [x + width, y + height]).all()
    K = meta["camMat"] + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    joints = meta["handJoints3D"][TO_SIMPLE] * FLIP
    expected = (project(made.hand_joints, made.camera.K) - [x, y]) * 640 / width
    assert np.abs(project(joints, K) - expected).max() < 0.01 * max(1.0, np.abs(expected).max() / 640)
    picture = cv2.imdecode(np.frombuffer(sample.files["train/00000001/rgb/0000.jpg"], np.uint8), 1)
    assert picture.shape == (480, 640, 3)
