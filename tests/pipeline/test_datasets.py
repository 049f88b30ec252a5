"""Every reader on a fake of its data set: the same known scene must come out of each layout, unit and frame."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_datasets as fake
import numpy as np
import pytest
from scipy.spatial import cKDTree
from test_benchmark import folder as grasp_folder  # noqa: F401

from pipeline.evaluate.datasets import DATASETS, BadDataset, Case, NotHeld, reader
from pipeline.evaluate.datasets import files as dataset_files
from pipeline.evaluate.datasets.case import true_hand
from pipeline.hand_model.model import ASSETS
from pipeline.types import Side

WRITERS: dict[str, Callable[[Path], str]] = {
    "dexycb": fake.dexycb,
    "ho3d": fake.ho3d,
    "oakink": fake.oakink,
    "arctic": fake.arctic,
    "obman": fake.obman,
}
COUNTS = {"dexycb": 2, "ho3d": 3, "oakink": 1, "arctic": 2 * 8 * 2, "obman": 1}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Tests rewrite files that the readers keep."""
    yield
    for cached in (dataset_files.json_file, dataset_files.yaml_file, dataset_files.solid, dataset_files.solid_parts):
        cached.cache_clear()
    from pipeline.evaluate.datasets import arctic, oakink
    from pipeline.evaluate.grasps import load_mesh

    for kept in (arctic._mano, arctic._processed, oakink._object, load_mesh):
        kept.cache_clear()


@pytest.fixture
def mano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The open hand in the place of the user's MANO."""
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "mano").mkdir(parents=True)
    for side in ("RIGHT", "LEFT"):
        shutil.copy(ASSETS / f"OPEN_HAND_{side}.npz", tmp_path / "cache" / "mano" / f"MANO_{side}.npz")


@pytest.fixture
def no_mano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "empty"))


def assert_is_the_truth(case: Case, side: Side = "right", lid: bool = False) -> None:
    truth = fake.truth(side)
    assert case.side == side
    np.testing.assert_allclose(case.joints, truth.joints, atol=2e-6)
    expected = np.concatenate([truth.placed, fake.arctic_lid()]) if lid else truth.placed
    away = cKDTree(case.placed).query(expected)[0]
    assert away.max() < 3e-6, f"the object is {away.max() * 1e3:.2f} mm from where it is"
    assert len(case.placed) == len(expected)
    assert case.pose.scale == 1.0
    assert case.photo_file is not None
    assert case.photo_file.is_file()


@pytest.mark.usefixtures("mano")
@pytest.mark.parametrize("dataset", WRITERS)
def test_the_known_scene_comes_out_of_every_layout(dataset: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    name = WRITERS[dataset](root)
    read = reader(dataset)
    listed = list(read.names(root))
    assert name in listed
    assert len(listed) == len(set(listed)) == COUNTS[dataset]
    case = read.load(root, name)
    assert_is_the_truth(case, lid=dataset == "arctic")
    assert case.hand is not None
    np.testing.assert_allclose(case.hand.vertices, fake.truth().verts, atol=3e-6)
    assert true_hand(case)[1] is None


@pytest.mark.usefixtures("no_mano")
@pytest.mark.parametrize("dataset", ["dexycb", "ho3d", "oakink", "obman"])
def test_without_mano_joints_are_read_and_the_open_hand_stands_in(dataset: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    case = reader(dataset).load(root, WRITERS[dataset](root))
    assert_is_the_truth(case)
    assert case.hand is None
    hand, residual = true_hand(case)
    assert residual is not None
    assert residual < 4
    assert np.linalg.norm(hand.vertices - fake.truth().verts, axis=1).mean() < 0.008


@pytest.mark.usefixtures("no_mano")
def test_a_left_hand_is_stood_in_for_by_a_left_one(tmp_path: Path) -> None:
    case = reader("obman").load(tmp_path, fake.obman(tmp_path, "left"))
    assert_is_the_truth(case, "left")
    hand, residual = true_hand(case)
    assert residual is not None
    assert residual < 4
    assert np.linalg.norm(hand.vertices - fake.truth("left").verts, axis=1).mean() < 0.008


def test_arctic_without_mano_needs_its_processed_joints(tmp_path: Path, no_mano: None) -> None:
    name = fake.arctic(tmp_path / "bare")
    with pytest.raises(BadDataset, match=r"processed_seqs.*missing; .*models add-mano"):
        reader("arctic").load(tmp_path / "bare", name)
    name = fake.arctic(tmp_path / "made" / "arctic_data" / "data", processed=True)
    case = reader("arctic").load(tmp_path / "made", name)  # the folder around the data does as well
    assert_is_the_truth(case, lid=True)
    assert case.hand is None


def test_arctic_left_hand(tmp_path: Path, mano: None) -> None:
    case = reader("arctic").load(tmp_path / "data", fake.arctic(tmp_path / "data", "left"))
    assert case.side == "left"
    np.testing.assert_allclose(case.joints, fake.truth("left").joints, atol=2e-6)


def test_intrinsics_and_masks(tmp_path: Path, no_mano: None) -> None:
    """Calibrations count from the middle of the first pixel, this project and ObMan's renderer from its corner."""
    expected = {"dexycb": (318.7, 240.6), "ho3d": (320.8, 242.4), "oakink": (425.0, 240.0), "obman": (128.0, 128.0)}
    for dataset, centre in expected.items():
        root = tmp_path / dataset
        case = reader(dataset).load(root, WRITERS[dataset](root))
        np.testing.assert_allclose(case.camera.K[:2, 2], centre, atol=1e-4)
    dexycb = reader("dexycb").load(tmp_path / "dexycb", "20200709-weiy/20200709_141754/836212060125/000001")
    assert dexycb.hand_mask is not None
    assert dexycb.object_mask is not None
    assert (dexycb.hand_mask.sum(), dexycb.object_mask.sum()) == (100 * 100, 50 * 100)  # not the other object's
    obman = reader("obman").load(tmp_path / "obman", "test/00000007")
    assert obman.hand_mask is not None
    assert obman.object_mask is not None
    assert (obman.hand_mask.sum(), obman.object_mask.sum()) == (70 * 40, 10 * 40)


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_both_versions_of_ho3d_and_its_evaluation_split(version: str, tmp_path: Path, mano: None) -> None:
    fake.ho3d(tmp_path / "data", version)
    read = reader("ho3d")
    for name in ("train/ABF10/0001", "evaluation/ABF10/0002"):
        case = read.load(tmp_path / "data", name)
        assert_is_the_truth(case)
        assert case.hand is not None
        np.testing.assert_allclose(case.hand.vertices, fake.truth().verts, atol=3e-6)
        assert case.hand_mask is not None
        assert case.object_mask is not None
        assert case.hand_mask.shape == (480, 640)
        assert abs(int(case.hand_mask.sum()) - 80 * 80) < 400
        assert case.hand_mask[100, 100]
        assert case.object_mask[280, 100]
    (tmp_path / "data" / "evaluation_xyz.json").unlink()
    assert list(read.names(tmp_path / "data")) == ["train/ABF10/0000", "train/ABF10/0001"]
    with pytest.raises(BadDataset, match=r"has the wrist only, and evaluation_xyz\.json"):
        read.load(tmp_path / "data", "evaluation/ABF10/0002")


def test_a_frame_without_a_hand_is_passed_over(tmp_path: Path, no_mano: None) -> None:
    fake.dexycb(tmp_path / "dexycb")
    with pytest.raises(NotHeld, match=r"labels_000000.npz: shows no hand"):
        reader("dexycb").load(tmp_path / "dexycb", "20200709-weiy/20200709_141754/836212060125/000000")
    fake.ho3d(tmp_path / "ho3d")
    with pytest.raises(NotHeld, match=r"0000.pkl: has no annotation"):
        reader("ho3d").load(tmp_path / "ho3d", "train/ABF10/0000")


@pytest.mark.parametrize("dataset", DATASETS)
def test_another_folder_is_refused_in_one_line_that_names_it(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(BadDataset) as refused:
        list(reader(dataset).names(tmp_path))
    assert str(tmp_path) in str(refused.value)
    assert "expected" in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(BadDataset):
        reader(dataset).load(tmp_path, "no/such/case/at/all")


@pytest.mark.usefixtures("no_mano")
@pytest.mark.parametrize(
    ("dataset", "lost"),
    [
        ("dexycb", "models/010_potted_meat_can/textured_simple.obj"),
        ("dexycb", "20200709-weiy/20200709_141754/836212060125/color_000001.jpg"),
        ("dexycb", "calibration/intrinsics/836212060125_640x480.yml"),
        ("ho3d", "train/ABF10/meta/0001.pkl"),
        ("ho3d", "models/010_potted_meat_can/textured_simple.obj"),
        ("oakink", "image/anno/cam_intr/A01001_0001_0000__2021-09-26-19-59-58__0__33__1.pkl"),
        ("oakink", "image/stream_release_v2/A01001_0001_0000/2021-09-26-19-59-58/south_east_color_33.png"),
        ("obman", "ShapeNetCore.v2/02876657/1071fa4cddb2da2fc8724d5673a063a6/models/model_normalized.obj"),
        ("obman", "test/rgb/00000007.jpg"),
    ],
)
def test_a_missing_file_is_named(dataset: str, lost: str, tmp_path: Path) -> None:
    name = WRITERS[dataset](tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(BadDataset, match=rf"{Path(lost).name.replace('.', '[.]')}: missing"):
        reader(dataset).load(tmp_path, name)


def _oakink_in(tmp_path: Path, **changed: Callable[[Any], Any]) -> tuple[Path, str]:
    name = fake.oakink(tmp_path)
    for kind, change in changed.items():
        file = tmp_path / "image" / "anno" / kind / f"{name}.pkl"
        file.write_bytes(pickle.dumps(change(pickle.loads(file.read_bytes()))))
    return tmp_path, name


@pytest.mark.usefixtures("no_mano")
def test_wrong_units_and_frames_are_noticed(tmp_path: Path) -> None:
    flip = np.diag([1, -1, -1]).astype(np.float32)
    for number, (change, said) in enumerate(
        [
            ({"hand_j": lambda j: j * 1000}, r"hand_j.*joints seem to be in millimetres"),
            ({"hand_j": lambda j: j * 100}, r"joints seem to be in centimetres"),
            ({"hand_j": lambda j: j @ flip}, r"the hand lies behind the camera"),
            ({"hand_j": lambda j: j[:16]}, r"the joints is \(16, 3\), not \(21, 3\)"),
            ({"hand_j": lambda j: j * np.nan}, r"the joints is \(21, 3\), not \(21, 3\) finite"),
            (
                {"obj_transf": lambda m: np.diag([1000, 1000, 1000, 1]) @ m},
                r"obj_transf.*does not begin with a rotation",
            ),
            ({"obj_transf": lambda m: m + np.outer([5, 0, 0, 0], [0, 0, 0, 1])}, r"hand and object are .* m apart"),
            ({"obj_transf": lambda m: m[:3]}, r"\(3, 4\), not \(4, 4\)"),
            ({"cam_intr": lambda K: "not numbers"}, r"holds no numbers"),
        ]
    ):
        root, name = _oakink_in(tmp_path / str(number), **change)
        with pytest.raises(BadDataset, match=said):
            reader("oakink").load(root, name)


def test_an_object_in_millimetres_is_noticed(tmp_path: Path, no_mano: None) -> None:
    name = fake.dexycb(tmp_path)
    fake.write_mesh(tmp_path / "models/010_potted_meat_can/textured_simple.obj", fake.truth().mesh, 1000)
    with pytest.raises(BadDataset, match=r"the object '010_potted_meat_can' seem to be in millimetres"):
        reader("dexycb").load(tmp_path, name)


def test_hand_parameters_in_another_frame_are_noticed(tmp_path: Path, mano: None) -> None:
    name = fake.dexycb(tmp_path / "data")
    file = tmp_path / "data/20200709-weiy/20200709_141754/836212060125/labels_000001.npz"
    with np.load(file) as label:
        arrays = dict(label)
    arrays["pose_m"][0, :3] += 0.8
    np.savez(file, **arrays)
    with pytest.raises(BadDataset, match="MANO puts the joints"):
        reader("dexycb").load(tmp_path / "data", name)


def test_a_pickle_that_runs_something_is_refused(tmp_path: Path, no_mano: None) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (exec, ("raise SystemExit('ran')",))

    root, name = _oakink_in(tmp_path)
    file = root / "image" / "anno" / "hand_j" / f"{name}.pkl"
    file.write_bytes(pickle.dumps({"joints": Trap()}))
    with pytest.raises(BadDataset, match=r"\.pkl: it asks for 'builtins' 'exec'"):
        reader("oakink").load(root, name)


@pytest.mark.parametrize(
    ("dataset", "entry"),
    [
        ("dexycb", "/data/DexYCB/20200709-weiy/20200709_141754/836212060125/color_000001.jpg"),
        ("ho3d", "HO3D_v3/train/ABF10/rgb/0001.jpg"),
        ("oakink", "x/stream_release_v2/A01001_0001_0000/2021-09-26-19-59-58/south_east_color_33.png"),
        ("oakink", ["A01001_0001_0000/2021-09-26-19-59-58", 0, 33, 1]),  # as in the set's own split files
        ("arctic", "./arctic_data/data/images/s05/box_grab_01/3/00008.jpg"),
        ("obman", "obman/test/rgb/00000007.jpg"),
    ],
)
def test_published_lists_name_the_same_cases(dataset: str, entry: Any, tmp_path: Path) -> None:
    expected = WRITERS[dataset](tmp_path)
    assert expected in reader(dataset).named(entry)
    assert reader(dataset).named(expected) == [expected]


def test_rendered_scenes(grasp_folder: Path) -> None:  # noqa: F811
    for kind, pattern in (("grasps", "*.npz"), ("meshes", "*.obj")):
        (grasp_folder / kind).mkdir()
        for file in grasp_folder.glob(pattern):
            shutil.copy(file, grasp_folder / kind)
    read = reader("rendered")
    assert list(read.names(grasp_folder)) == ["00000-ball", "00001-ball"]
    case = read.load(grasp_folder, "00001-ball")
    assert case.photo_file is None
    assert case.scene is not None
    np.testing.assert_array_equal(case.joints, case.scene.hand_joints)
    np.testing.assert_allclose(case.placed, case.scene.object_pose.place(case.scene.solid[0]))
    with pytest.raises(BadDataset, match="'00009-ball' is none of its 2 grasps"):
        read.load(grasp_folder, "00009-ball")


def test_an_unknown_data_set() -> None:
    with pytest.raises(BadDataset, match="dataset 'grab': not known; use one of arctic, oakink"):
        reader("grab")


@pytest.mark.usefixtures("mano")
def test_a_file_that_is_too_short_is_one_line(tmp_path: Path) -> None:
    name = fake.arctic(tmp_path / "arctic")
    file = tmp_path / "arctic/raw_seqs/s05/box_grab_01.mano.npy"
    hand = np.load(file, allow_pickle=True).item()
    np.save(file, {side: {**values, "rot": values["rot"][:1]} for side, values in hand.items()})
    with pytest.raises(BadDataset, match=r"box_grab_01.mano.npy: 'rot' has no entry 1"):
        reader("arctic").load(tmp_path / "arctic", name)
    object_file = tmp_path / "arctic/raw_seqs/s05/box_grab_01.object.npy"
    object_file.write_bytes(b"")
    with pytest.raises(BadDataset, match=r"box_grab_01.object.npy: not a plain array"):
        list(reader("arctic").names(tmp_path / "arctic"))

    name = fake.dexycb(tmp_path / "dexycb")
    meta = next((tmp_path / "dexycb").glob("*/*/meta.yml"))
    meta.write_text(meta.read_text().replace("ycb_grasp_ind: ", "ycb_grasp_ind: 7"))
    with pytest.raises(BadDataset, match=r"meta.yml: 'ycb_ids' has no entry 7"):
        reader("dexycb").load(tmp_path / "dexycb", name)


def test_arctic_is_listed_as_far_as_its_photos_are_there(tmp_path: Path) -> None:
    name = fake.arctic(tmp_path)
    for kind in ("object", "mano"):
        shutil.copy(tmp_path / f"raw_seqs/s05/box_grab_01.{kind}.npy", tmp_path / f"raw_seqs/s05/box_use_02.{kind}.npy")
    listed = list(reader("arctic").names(tmp_path))
    assert name in listed
    assert len(listed) == COUNTS["arctic"]
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(BadDataset, match=r"images: has no photos of any sequence"):
        list(reader("arctic").names(tmp_path))
