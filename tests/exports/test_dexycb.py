"""DexYCB: what is written is read back by the rules of `NVlabs/dex-ycb-toolkit`, with nothing of ours."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from synthetic_pairs import box_mesh, make_record
from test_ho3d import resized

from exports import manifest
from exports.base import Place, Record
from exports.dexycb.card import TOOLKIT_CODE
from exports.dexycb.format import DexYCBFormat
from exports.dexycb.label import segmentation
from exports.dexycb.layout import numbers
from pipeline.geometry.camera import project
from pipeline.geometry.raster import depth_map
from pipeline.hand_model import load_hand

SPLIT = "train=0.5,test=0.5"


@dataclass
class Sequence:
    """A folder with a meta.yml, as the toolkit's SequenceLoader takes it."""

    root: Path
    folder: Path

    def __post_init__(self) -> None:
        self.meta = self.yaml(self.folder / "meta.yml")
        (self.serial,) = self.meta["serials"]
        color = self.yaml(self.root / "calibration" / "intrinsics" / f"{self.serial}_640x480.yml")["color"]
        self.K = np.array([[color["fx"], 0, color["ppx"]], [0, color["fy"], color["ppy"]], [0, 0, 1]])
        self.label = np.load(self.folder / self.serial / "labels_000000.npz")
        self.own = json.loads((self.folder / "hoi_annotate.json").read_text())

    @staticmethod
    def yaml(path: Path) -> dict[str, Any]:
        with path.open() as file:
            return yaml.load(file, Loader=yaml.FullLoader)

    def image(self) -> np.ndarray:
        return cv2.imread(str(self.folder / self.serial / "color_000000.jpg"))

    def depth(self) -> np.ndarray:
        return cv2.imread(str(self.folder / self.serial / "aligned_depth_to_color_000000.png"), cv2.IMREAD_ANYDEPTH)

    def extrinsics(self) -> dict[str, Any]:
        return self.yaml(self.root / "calibration" / f"extrinsics_{self.meta['extrinsics']}" / "extrinsics.yml")

    def betas(self) -> np.ndarray:
        name = f"mano_{self.meta['mano_calib'][0]}"
        return np.array(self.yaml(self.root / "calibration" / name / "mano.yml")["betas"], np.float32)

    def model(self) -> Path:
        classes = json.loads((self.root / "dataset.json").read_text())["ycb_classes"]
        return self.root / "models" / classes[str(self.meta["ycb_ids"][self.meta["ycb_grasp_ind"]])]

    def object(self) -> tuple[np.ndarray, np.ndarray]:
        """Vertices in the camera and faces, by a strict OBJ reader: v, vt, vn of every corner, v = vn."""
        rows = [line.split() for line in (self.model() / "textured_simple.obj").open()]
        corners = np.array([[c.split("/") for c in row[1:]] for row in rows if row[0] == "f"], int)
        assert (corners[..., 0] == corners[..., 2]).all()
        assert sum(row[0] == "usemtl" for row in rows) == 1
        vertices = np.array([row[1:4] for row in rows if row[0] == "v"], float)
        (pose,) = self.label["pose_y"]
        return vertices @ pose[:, :3].T + pose[:, 3], corners[..., 0] - 1


def sequences(root: Path) -> Iterator[Sequence]:
    for path in sorted(root.glob("*/*/meta.yml")):
        yield Sequence(root, path.parent)


def pairs(root: Path, records: list[Record]) -> Iterator[tuple[Sequence, Record]]:
    by_id = {record.pair_id: record for record in records}
    for sequence in sequences(root):
        yield sequence, by_id[sequence.own["pair_id"]]


@pytest.fixture(scope="module")
def both() -> list[Record]:
    """Six pairs, both sides, three sizes of photo."""
    records = [make_record(i, "right" if i % 2 else "left", centre=(0.03 * i - 0.05, 0.02, 0.5)) for i in range(6)]
    return [*records[:4], resized(records[4], 900, 1300, (200, 500)), resized(records[5], 300, 410, (-170, -20))]


@pytest.fixture(scope="module")
def root(both: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dexycb") / "out"
    summary = DexYCBFormat().write(both, out, split=SPLIT)
    assert (summary.count, summary.skipped) == (6, [])
    return out


def test_pristine(root: Path) -> None:
    assert len(list(sequences(root))) == 6
    assert DexYCBFormat().check(root, manifest.read(root)) == []


def test_arrays(root: Path, both: list[Record]) -> None:
    shapes = {"pose_y": (1, 3, 4), "pose_m": (1, 51), "joint_3d": (1, 21, 3), "joint_2d": (1, 21, 2)}
    for sequence, record in pairs(root, both):
        assert sequence.label["seg"].dtype == np.uint8
        assert sequence.label["seg"].shape == sequence.depth().shape == (480, 640)
        assert sequence.image().shape == (480, 640, 3)
        assert sequence.depth().dtype == np.uint16
        for key, shape in shapes.items():
            assert (sequence.label[key].shape, sequence.label[key].dtype) == (shape, np.float32)
        assert sequence.meta["mano_sides"] == [record.reconstruction.hand.side]
        assert sequence.meta["num_frames"] == 1
        assert isinstance(sequence.meta["extrinsics"], str)
        assert isinstance(sequence.serial, str)
        assert len(sequence.serial) == 12


def test_joints_project_to_where_the_photo_has_them(root: Path, both: list[Record]) -> None:
    for sequence, record in pairs(root, both):
        made = record.reconstruction
        x, y, width, _ = sequence.own["window"]
        seen = project(sequence.label["joint_3d"][0].astype(float), sequence.K)
        expected = (project(made.hand_joints, made.camera.K) - [x, y]) * 640 / width
        assert np.abs(seen + 0.5 - expected).max() < 0.02  # the toolkit counts the first pixel's centre as 0
        assert np.abs(seen - sequence.label["joint_2d"][0]).max() < 0.01


def test_pose_in_components_with_mean_gives_the_hand(root: Path, both: list[Record]) -> None:
    """As manopth with flat_hand_mean=False and 45 components, but with the basis that lies beside the data."""
    for sequence, record in pairs(root, both):
        side, made = sequence.meta["mano_sides"][0], record.reconstruction
        basis = np.load(root / "hand_models" / sequence.meta["hand_model"] / f"{side}.npz")
        (values,) = sequence.label["pose_m"].astype(float)
        hand_pose = basis["mean"] + values[3:48] @ basis["components"]
        np.testing.assert_allclose(hand_pose, made.hand.hand_pose, atol=1e-5)
        pose = replace(
            made.hand, global_orient=values[:3], hand_pose=hand_pose, betas=sequence.betas(), transl=values[48:]
        )
        verts, joints = load_hand(side).posed(pose)
        np.testing.assert_allclose(verts, made.hand_verts, atol=2e-5)
        np.testing.assert_allclose(joints, sequence.label["joint_3d"][0], atol=2e-5)
        np.testing.assert_allclose(verts, sequence.label["hand_verts"][0], atol=2e-5)
        np.testing.assert_array_equal(basis["faces"], load_hand(side).faces)


def test_object_is_where_it_was(root: Path, both: list[Record]) -> None:
    for sequence, record in pairs(root, both):
        pose, mesh = record.reconstruction.object_pose, record.reconstruction.object.mesh
        vertices, _ = sequence.object()
        assert cKDTree(vertices).query(pose.place(mesh.vertices))[0].max() < 3e-6
        world = np.load(sequence.folder / "pose.npz")
        quaternion, shift = world["pose_y"][0, 0, :4], world["pose_y"][0, 0, 4:]
        (label,) = sequence.label["pose_y"]
        np.testing.assert_allclose(Rotation.from_quat(quaternion).as_matrix(), label[:, :3], atol=1e-5)
        np.testing.assert_allclose(shift, label[:, 3], atol=1e-6)
        np.testing.assert_array_equal(world["pose_m"][0], sequence.label["pose_m"])
        loaded = trimesh.load(sequence.model() / "textured_simple.obj", force="mesh")
        assert loaded.visual.material.image.size == mesh.texture.shape[1::-1]


def test_depth_and_segmentation_are_the_reconstructions(root: Path, both: list[Record]) -> None:
    for sequence, record in pairs(root, both):
        made = record.reconstruction
        K = sequence.K + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
        hand = depth_map(made.hand_verts, load_hand(made.hand.side).faces, K, 480, 640)
        obj = depth_map(made.object_pose.place(made.object.mesh.vertices), made.object.mesh.faces, K, 480, 640)
        nearest, depth, seg = np.minimum(hand, obj), sequence.depth() / 1000, sequence.label["seg"]
        assert ((depth > 0) == (seg > 0)).all()
        assert (np.isfinite(nearest) != (depth > 0)).mean() < 1e-3
        both_seen = np.isfinite(nearest) & (depth > 0)
        assert np.quantile(np.abs(depth - nearest)[both_seen], 0.995) <= 6e-4
        number = sequence.meta["ycb_ids"][0]
        assert set(np.unique(seg)) <= {0, number, 255}
        assert ((seg == 255) != (hand < obj)).mean() < 1e-3
        assert ((seg == number) != (np.isfinite(obj) & (obj <= hand))).mean() < 1e-3
        assert (seg == 255).any()


def test_cloud_from_depth_lies_on_the_pair_in_the_viewers_box(root: Path, both: list[Record]) -> None:
    """SequenceLoader: K^-1 (x, y, 1) of whole pixel numbers, extrinsics, then the tag's frame and its limits."""
    for sequence, record in pairs(root, both):
        extrinsics = sequence.extrinsics()
        assert extrinsics["master"] == sequence.serial
        world, tag = (np.array(extrinsics["extrinsics"][key]).reshape(3, 4) for key in (sequence.serial, "apriltag"))
        depth = sequence.depth().astype(float) / 1000
        y, x = np.nonzero(depth)
        rays = np.linalg.inv(sequence.K) @ np.stack([x, y, np.ones_like(x)])
        points = (world[:, :3] @ (rays * depth[y, x]) + world[:, 3:]).T
        in_tag = (points - tag[:, 3]) @ np.linalg.inv(tag[:, :3]).T
        assert (in_tag > [0, -0.1, -0.1]).all()
        assert (in_tag < [1.2, 0.7, 0.7]).all()
        vertices, faces = sequence.object()
        solid = trimesh.util.concatenate(
            trimesh.Trimesh(record.reconstruction.hand_verts, load_hand(record.reconstruction.hand.side).faces),
            trimesh.Trimesh(vertices, faces),
        )
        some = points[:: max(1, len(points) // 60)]
        assert np.quantile(trimesh.proximity.closest_point_naive(solid, some)[1], 0.95) < 1e-3


def test_splits_and_subjects(tmp_path: Path) -> None:
    names = ["anna", "anna", "Жанна 1", "", "", "../up"]
    records = [make_record(i, provenance={"subject": name}) for i, name in enumerate(names)]
    out = tmp_path / "out"
    DexYCBFormat().write(records, out, split=SPLIT)
    lists = json.loads((out / "dataset.json").read_text())
    found = {sequence.own["pair_id"]: sequence.folder for sequence in sequences(out)}
    assert found["pair-0"].parent == found["pair-1"].parent == out / "subject-anna"
    assert len({found[f"pair-{i}"].parent for i in (0, 2, 5)}) == 3
    assert {folder.parent.name for folder in found.values()} == set(lists["subjects"])
    listed = [sequence for split in lists["splits"].values() for sequence in split]
    assert sorted(listed) == sorted(folder.relative_to(out).as_posix() for folder in found.values())
    by_id = {sample["id"]: sample["split"] for sample in manifest.read(out)["samples"]}
    for split, members in lists["splits"].items():
        assert {by_id[member.split("/")[1]] for member in members} == {split}
    assert DexYCBFormat().check(out, manifest.read(out)) == []


def test_equal_cameras_share_a_serial(root: Path, both: list[Record]) -> None:
    serials: dict[str, set[bytes]] = {}
    for sequence in sequences(root):
        serials.setdefault(sequence.serial, set()).add(sequence.K.tobytes())
    assert all(len(cameras) == 1 for cameras in serials.values())
    assert len(serials) == 3


def test_card_makes_the_toolkit_read_this_folder(
    root: Path, both: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card's code, run against a stand-in that asks of the dataset class what the toolkit's __getitem__ does."""

    class DexYCBDataset:
        def __len__(self) -> int:
            return len(self._mapping)

        def __getitem__(self, index: int) -> dict[str, Any]:
            sequence, camera, frame = self._mapping[index]
            folder = Path(self._data_dir, self._sequences[sequence], self._serials[camera])
            return {
                "color_file": folder / self._color_format.format(frame),
                "depth_file": folder / self._depth_format.format(frame),
                "label_file": folder / self._label_format.format(frame),
                "intrinsics": self._intrinsics[camera],
                "mano_side": self._mano_side[sequence],
                "mano_betas": self._mano_betas[sequence],
                "object": self._obj_file[self._ycb_ids[sequence][self._ycb_grasp_ind[sequence]]],
            }

    toolkit = types.ModuleType("dex_ycb_toolkit")
    toolkit.dex_ycb = types.SimpleNamespace(DexYCBDataset=DexYCBDataset, _YCB_CLASSES={1: "002_master_chef_can"})
    toolkit.factory = types.SimpleNamespace(_sets={})
    monkeypatch.setitem(sys.modules, "dex_ycb_toolkit", toolkit)
    monkeypatch.setenv("DEX_YCB_DIR", str(root))
    assert TOOLKIT_CODE in (root / "README.md").read_text()
    exec(TOOLKIT_CODE, {})
    truth = {sequence.folder.name: sequence for sequence in sequences(root)}
    count = 0
    for name in ("train", "test"):
        dataset = toolkit.factory._sets[f"photos_{name}"]()
        for index in range(len(dataset)):
            sample = dataset[index]
            sequence = truth[sample["label_file"].parent.parent.name]
            assert all(sample[key].is_file() for key in ("color_file", "depth_file", "label_file"))
            assert sample["intrinsics"]["fx"] == sequence.K[0, 0]
            assert sample["mano_side"] == sequence.meta["mano_sides"][0]
            np.testing.assert_allclose(sample["mano_betas"], sequence.betas(), atol=1e-6)
            assert Path(sample["object"]).parent == sequence.model()
            count += 1
    assert count == len(both)


def test_many_objects_leave_out_the_hands_number() -> None:
    names = [f"o{i:04d}" for i in range(600)]
    numbered = numbers([*names, *names])
    assert list(numbered) == names
    assert sorted(numbered.values()) == [*range(1, 255), *range(256, 602)]
    hand, obj = np.array([[True, False, False]]), np.array([[False, True, False]])
    for number, dtype in ((254, np.uint8), (256, np.uint16)):
        seg = segmentation(hand, obj, number)
        assert seg.dtype == dtype
        np.testing.assert_array_equal(seg, [[255, number, 0]])


def test_pairs_of_one_object_share_its_model_and_number(tmp_path: Path) -> None:
    record = make_record(1, mesh=box_mesh(), provenance={"object_id": "box"})
    again = replace(record, pair_id="again", photo=replace(record.photo, sha256="0" * 64))
    DexYCBFormat().write([record, again, make_record(2)], tmp_path / "out", split="train=1")
    found = {sequence.own["pair_id"]: sequence.meta["ycb_ids"] for sequence in sequences(tmp_path / "out")}
    assert found["pair-1"] == found["again"] != found["pair-2"]
    assert [path.name[:4] for path in sorted((tmp_path / "out" / "models").iterdir())] == ["box_", "obje"]


def test_unsuitable_records_are_left_out(tmp_path: Path) -> None:
    good = make_record(0)
    made = good.reconstruction
    cases = {
        "model": replace(made, estimate=replace(made.estimate, model="someone's hand")),
        "far": make_record(0, centre=(0.0, 0.0, 80.0), focal=90_000.0).reconstruction,
        "verts": replace(made, hand_verts=made.hand_verts + 0.01),
    }
    records = [
        replace(good, pair_id=name, reconstruction=case, photo=replace(good.photo, sha256=f"{i}" * 64))
        for i, (name, case) in enumerate(cases.items())
    ]
    records.append(make_record(3, provenance={"when": object()}, pair_id="provenance"))
    summary = DexYCBFormat().write([good, *records], tmp_path / "out", split="train=1")
    reasons = dict(summary.skipped)
    assert summary.count == 1
    assert set(reasons) == {*cases, "provenance"}
    for name, word in {"model": "someone", "far": "65 m", "verts": "mm", "provenance": "JSON"}.items():
        assert word in reasons[name]


def test_names_in_any_script(tmp_path: Path) -> None:
    record = make_record(7, photo_name="чашка 手 \udcff.jpg", provenance={"subject": "Zoë", "object_id": "чашка 1"})
    out = tmp_path / "выгрузка 1"
    assert DexYCBFormat().write([record], out, split="train=1").count == 1
    assert DexYCBFormat().check(out, manifest.read(out)) == []
    (sequence,) = sequences(out)
    assert sequence.own["photo"]["name"] == "чашка 手 \udcff.jpg"
    assert sequence.own["provenance"]["object_id"] == "чашка 1"
    assert sequence.folder.relative_to(out).as_posix().isascii()


def test_equal_records_give_equal_bytes(both: list[Record], tmp_path: Path) -> None:
    first = DexYCBFormat().write(both, tmp_path / "a", split=SPLIT)
    second = DexYCBFormat().write(reversed(both), tmp_path / "b", split=SPLIT)
    assert first.digest == second.digest


def test_zero_records(tmp_path: Path) -> None:
    assert DexYCBFormat().write([], tmp_path / "out").count == 0
    assert list(sequences(tmp_path / "out")) == []
    assert DexYCBFormat().check(tmp_path / "out", manifest.read(tmp_path / "out")) == []


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    number=st.integers(0, 10_000),
    side=st.sampled_from(["left", "right"]),
    centre=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(0.4, 1.2)),
    focal=st.floats(450, 900),
)
def test_any_pair(number: int, side: Any, centre: tuple[float, float, float], focal: float) -> None:
    record = make_record(number, side, centre=centre, focal=focal)
    sample = DexYCBFormat().sample(record, Place("00000001", "train"), {})
    (name,) = [path for path in sample.files if path.startswith("calibration/intrinsics/")]
    color = yaml.safe_load(sample.files[name])["color"]
    joints = record.reconstruction.hand_joints
    seen = joints[:, :2] / joints[:, 2:] * [color["fx"], color["fy"]] + [color["ppx"] + 0.5, color["ppy"] + 0.5]
    assert np.abs(seen - project(joints, record.reconstruction.camera.K)).max() < 0.01
    (mano,) = [path for path in sample.files if path.endswith("mano.yml")]
    betas = yaml.safe_load(sample.files[mano])["betas"]
    np.testing.assert_allclose(betas, record.reconstruction.hand.betas, atol=1e-8)
